"""What the claims about the PE need to know about products: lemmas, and the terms at which they are used."""

from dataclasses import dataclass

import z3

from skipopu.hdl.dsp48e2 import B_BITS, PREADDER_BITS
from skipopu.hdl.formal import lemmas
from skipopu.hdl.formal.lemmas import Lemma
from skipopu.hdl.formal.pe_claim import UnrolledPe
from skipopu.hdl.formal.terms import Term, products
from skipopu.hdl.pe import LANE, OVERLAP
from skipopu.spec.number_format import INT4_BITS

WIDTH = PREADDER_BITS + B_BITS  # of the multiplier's result


@dataclass(frozen=True)
class Fact:
    """A lemma at terms of the design."""

    lemma: Lemma
    terms: tuple[Term, ...]

    @property
    def statement(self) -> Term:
        """What the lemma says here."""
        return self.lemma.at(*self.terms)


def facts(pe: UnrolledPe, mode: str) -> list[Fact]:
    """Return what the claims of ``mode`` follow from."""
    return _int4(pe) if mode == "int4" else _packing(pe) + _sizes(pe) + _overlap(pe)


def _packing(pe: UnrolledPe) -> list[Fact]:
    """weight0 = 2·rest0 + LSB, weight1 = 2^top·MSB + rest1, and the pre-adder forms rest0 − 2^LANE·rest1."""
    w, top = _wide(pe.activation), pe.activation.size() - 1
    lsb0, rest0 = _part(pe.weights[0], 0, 0), _part(pe.weights[0], top, 1)
    msb1, rest1 = _part(pe.weights[1], top, top), _part(pe.weights[1], top - 1, 0)
    return [
        Fact(lemmas.linear(WIDTH, -(1 << LANE)), (rest0, rest1, w)),
        Fact(lemmas.linear(WIDTH, 2), (lsb0, rest0, w)),
        Fact(lemmas.linear(WIDTH, 1 << top), (rest1, msb1, w)),
        Fact(lemmas.single_bit(WIDTH), (lsb0, w)),
        Fact(lemmas.single_bit(WIDTH), (msb1, w)),
    ]


def _sizes(pe: UnrolledPe) -> list[Fact]:
    """Neither product exceeds its width, and the claim's product is the multiplier's."""
    bits = pe.activation.size()
    pairs = [(_wide(weight), _wide(pe.activation)) for weight in pe.weights]
    used = lemmas.unsigned_bound(WIDTH, bits, bits), lemmas.low_bits(WIDTH, 2 * bits)
    return [Fact(lemma, pair) for lemma in used for pair in pairs]


def _overlap(pe: UnrolledPe) -> list[Fact]:
    """The last bits of the upper product and of every product in the RTL: the auxiliary one is among them."""
    pairs = [(_wide(pe.weights[1]), _wide(pe.activation))]
    pairs += [tuple(product.children()) for product in products(*pe.products, *pe.relation)]
    widths = (pair[0].size() for pair in pairs)
    return [Fact(lemmas.low_bits(width, OVERLAP), pair) for width, pair in zip(widths, pairs, strict=True)]


def _int4(pe: UnrolledPe) -> list[Fact]:
    """The pre-adder forms weight0 + 2^LANE·weight1; products are bounded, and those of the claim."""
    w, bits = _wide(pe.activation), INT4_BITS + pe.activation.size()
    weights = [z3.SignExt(WIDTH - INT4_BITS, z3.Extract(INT4_BITS - 1, 0, weight)) for weight in pe.weights]
    used = lemmas.signed_bound(WIDTH, INT4_BITS, pe.activation.size()), lemmas.low_bits(WIDTH, bits)
    packed = Fact(lemmas.linear(WIDTH, 1 << LANE), (*weights, w))
    return [packed, *(Fact(lemma, (weight, w)) for lemma in used for weight in weights)]


def _part(weight: Term, high: int, low: int) -> Term:
    return _wide(z3.Extract(high, low, weight))


def _wide(term: Term) -> Term:
    return z3.ZeroExt(WIDTH - term.size(), term)
