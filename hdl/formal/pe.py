"""Proof that the PE is exact: both products of its RTL are the plain products, for all inputs.

Proved of :class:`skipopu.hdl.pe.Pe`, ``product_bits`` W and ``multiply_stages`` L, with the behavioural model
of the DSP48E2. In every cycle t, from any state of the registers and for any inputs in the cycles before and
after t (initiation interval 1), k = 0, 1:

- FP16, ``int4[t]`` = 0: ``product<k>[t+L]`` = the top W bits of the 22 of ``weight<k>[t]``·``activation[t]``;
- INT4, ``int4[t]`` = 1: ``product<k>[t+L]`` = |signed ``weight<k>[t][3:0]``·``activation[t]``| in 14 bits,
  then W − 14 zeros; ``weight<k>[t][10:4]`` is anything.

How: the multipliers of the RTL, 27×18 and 5×5, and those of the claim become unknown functions of their
factors. The claim follows from what lemmas say of them (`lemmas`: each proved for all values by Z3;
`pe_facts`: where each is used). In the 45 bits of the DSP48E2's multiplier:

- linear: (x + c·y)·w = x·w + c·(y·w) with c = −2¹⁶ and 2¹⁶ (packing), 2 (dropped LSB), 2¹⁰ (dropped MSB);
- single bit: x·w = (x ? w : 0) for one bit x, the LSB and the MSB;
- low bits: the last 5 bits of a product come from the last 5 of its factors (the overlap; also in the 10 bits
  of the auxiliary multiplier); the last 22 and 15 alike, so that the 45-bit products are the claim's;
- bounds: significand·significand < 2²², |INT4·significand| < 2¹⁴: no product runs into the other.

The RTL is taken from RTLIL, out of which the Verilog is written (:func:`pe_claim.pe_of_rtlil`), or from the
emitted Verilog as Yosys' own reader and translator understand it (:func:`pe_claim.pe_of_verilog`). Not in the
proof: that the vendor's primitive does what the model does. :func:`split` proves the same without lemmas, one
activation after another.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping

from skipopu.hdl.formal.abstraction import consistent, follows, suspect
from skipopu.hdl.formal.pe_claim import Claim, UnrolledPe, pe_of_rtlil, pe_of_verilog
from skipopu.hdl.formal.pe_facts import facts
from skipopu.hdl.formal.search import counterexample

SHIPPED = ((22, 4), (15, 4))  # product_bits, multiply_stages
OTHERS = tuple((bits, stages) for bits in (22, 15) for stages in (1, 2, 3, 5))

TELLING = (2047, 1365, 1024, 31, 1)  # activations: all bits, every other, the MSB, the overlap, the LSB


def proved(pe: UnrolledPe, claim: Claim) -> bool:
    """Return whether the claim is proved: the lemmas hold, contradict nothing, and it follows from them."""
    known = facts(pe, claim.mode)
    statements = [fact.statement for fact in known]
    if not all(lemma.proved() for lemma in {fact.lemma for fact in known}):
        return False
    return consistent(claim.given, statements) and follows(claim.statement, claim.given, statements)


def refuted(pe: UnrolledPe, claim: Claim) -> Mapping[str, int] | None:
    """Return a counterexample if a quick search finds one: with the activation at which the proof stops."""
    statements = [fact.statement for fact in facts(pe, claim.mode)]
    first = suspect(claim.statement, claim.given, statements, pe.activation)
    return split(pe, claim, [*([] if first is None else [first]), *TELLING])


def split(pe: UnrolledPe, claim: Claim, activations: Iterable[int]) -> Mapping[str, int] | None:
    """Return a counterexample with one of these activations, None where there is none.

    It has a value for each input, ``<port>@<cycle>``, and register that matters; the others may be anything.
    """
    return counterexample(claim.statement, claim.given, pe.activation, activations)


def report(*, verilog: bool, every_activation: bool) -> Iterator[str]:
    """Yield a line for each claim: what, proved or not, and the seconds that it took."""
    for bits, stages in (*SHIPPED, *OTHERS):
        yield from _proofs(pe_of_rtlil(bits, stages), "RTLIL")
        if verilog:
            yield from _proofs(pe_of_verilog(bits, stages), "Verilog")
    if every_activation:
        yield from _splits(pe_of_rtlil(*SHIPPED[0]))


def _proofs(pe: UnrolledPe, source: str) -> Iterator[str]:
    for claim in pe.claims:
        start = time.perf_counter()
        answer = "proved" if proved(pe, claim) else f"NOT PROVED, counterexample {refuted(pe, claim)}"
        yield _line(pe, f"{claim.name}, {source}", answer, start)


def _splits(pe: UnrolledPe) -> Iterator[str]:
    for claim in pe.claims:
        start = time.perf_counter()
        found = split(pe, claim, range(1 << pe.activation.size()))
        answer = "proved" if found is None else f"WRONG at {dict(found)}"
        yield _line(pe, f"{claim.name}, without lemmas", answer, start)


def _line(pe: UnrolledPe, what: str, answer: str, start: float) -> str:
    design = f"product_bits {pe.product_bits}, multiply_stages {pe.stages}"
    return f"{design}: {what}: {answer} ({time.perf_counter() - start:.1f} s)"


def main(arguments: list[str]) -> int:
    """Print what is proved; return 1 where a proof fails.

    ``--verilog`` adds the emitted Verilog, ``--split`` the proof without lemmas (half an hour).
    """
    failed = False
    for line in report(verilog="--verilog" in arguments, every_activation="--split" in arguments):
        print(line, flush=True)
        failed |= ": proved (" not in line
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
