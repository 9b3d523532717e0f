"""Units of the NPE that take a tile of numbers, beside their numerics."""

from collections.abc import Sequence

import numpy as np

from skipopu.hdl.cosim.npe_function import Case, Function, function_of
from skipopu.hdl.cosim.npe_function_operands import COUNT, close_numbers, numbers
from skipopu.hdl.npe.maximum import Maximum
from skipopu.hdl.npe.reduction import LEAST, MOST, TERM, Reduction
from skipopu.hdl.npe.reduction_term import ReductionTerm
from skipopu.numerics.floating_point import FP16
from skipopu.numerics.reduction import TERM_BITS, Terms, new_terms, put_number, put_square, reduced
from skipopu.numerics.softmax import larger

LANES = 8
AT = {name: TERM[name].offset for name in ("magnitude", "negative", "exponent", "nan", "infinite")}
EXPONENT_BITS, TERM_SIZE = TERM["exponent"].width, TERM.size


def _term_word(magnitude: int, negative: int, exponent: int, special: int) -> int:
    """A `TERM`; ``special`` has the bits nan, infinite."""
    field = exponent & ((1 << EXPONENT_BITS) - 1)
    return int(magnitude | negative << AT["negative"] | field << AT["exponent"] | special << AT["nan"])


def _term(word: int) -> tuple[int, int, int, int]:
    """The inverse of `_term_word`."""
    exponent = word >> AT["exponent"] & ((1 << EXPONENT_BITS) - 1)
    exponent -= (exponent >> EXPONENT_BITS - 1) << EXPONENT_BITS
    return word & ((1 << TERM_BITS) - 1), word >> AT["negative"] & 1, exponent, word >> AT["nan"] & 3


def _terms_of(square: int) -> Function:
    """A lane that gives every FP16 number, or its square."""

    def cases(_: np.random.Generator) -> Sequence[Case]:
        return [(word, square) for word in range(1 << 16)]

    name = f"reduction term of a {('number', 'square')[square]}"
    return function_of(name, ReductionTerm, cases, _term_of)


def _term_of(word: int, square: int) -> Case:
    t = new_terms(1)
    (put_square if square else put_number)(t, 0, word)
    term, special = int(t.terms[0]), word & FP16.infinity == FP16.infinity
    infinite = 2 if word & (FP16.sign - 1) == FP16.infinity else 1
    negative = 0 if square else word >> 15
    return (_term_word(abs(term), negative, int(t.exponents[0]), infinite if special else 0),)


def _tile_cases(rng: np.random.Generator) -> Sequence[Case]:
    """Tiles of terms: close or far exponents, zeros, terms that cancel, now and then an infinity or a NaN."""
    shape = (COUNT, LANES)
    magnitude = rng.integers(0, 1 << TERM_BITS, shape) >> rng.choice([0, 0, 0, 11, TERM_BITS], shape)
    spread = rng.choice([0, 1, 4, 30, 100], (COUNT, 1))
    middle = rng.integers(LEAST, MOST + 1, (COUNT, 1))
    exponent = np.clip(middle + (rng.uniform(-1, 1, shape) * spread).astype(np.int64), LEAST, MOST)
    cancels, half = rng.random(COUNT) < 0.3, LANES // 2
    for whole in (magnitude, exponent):
        whole[cancels, -half:] = whole[cancels, :half]
    negative = rng.integers(0, 2, shape)
    negative[cancels, -half:] = 1 - negative[cancels, :half]
    slip = rng.random(COUNT) < 0.5
    magnitude[slip, 0] ^= rng.integers(0, 4, int(slip.sum()))
    special = rng.choice([0, 1, 2], shape, p=[0.98, 0.004, 0.016])
    fields = np.stack([magnitude, negative, exponent, special], -1).tolist()
    return [(_tile_word([_term_word(*term) for term in tile]),) for tile in fields]


def _tile_word(words: Sequence[int]) -> int:
    return sum(word << lane * TERM_SIZE for lane, word in enumerate(words))


def _reduced(word: int) -> Case:
    t = new_terms(LANES)
    for lane in range(LANES):
        _put(t, lane, *_term(word >> lane * TERM_SIZE & ((1 << TERM_SIZE) - 1)))
    return (reduced(t, LANES),)


def _put(t: Terms, lane: int, magnitude: int, negative: int, exponent: int, special: int) -> None:
    if special:
        put_number(t, lane, FP16.nan if special == 1 else FP16.infinity | negative << 15)
    t.terms[lane], t.exponents[lane] = -magnitude if negative else magnitude, exponent


def _maximum_cases(rng: np.random.Generator) -> Sequence[Case]:
    """A running maximum and a tile; NaN is not in all of them."""
    cases = [*numbers(*["fp16"] * (LANES + 1))(rng), *close_numbers("fp16", LANES + 1)(rng)]
    quiet = [tuple(_finite(word) for word in case) for case in cases[::2]]
    return [(first, sum(word << 16 * k for k, word in enumerate(tile))) for first, *tile in [*cases[::4], *quiet]]


def _finite(word: int) -> int:
    """The number, or a large finite one."""
    special = word & FP16.infinity == FP16.infinity
    return word & ~(1 << FP16.fraction_bits) if special else word


def _largest(running: int, tile: int) -> Case:
    for lane in range(LANES):
        running = larger(running, tile >> 16 * lane & 0xFFFF)
    return (running,)


TILES = (
    *(_terms_of(square) for square in (0, 1)),
    Function("reduction", lambda n: Reduction(lanes=LANES, stages=n), 12, _tile_cases, _reduced),
    Function("maximum", lambda n: Maximum(lanes=LANES, stages=n), 4, _maximum_cases, _largest),
)
