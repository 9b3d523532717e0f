"""Function units of the NPE beside the numerics that define them."""

from collections.abc import Sequence

import numpy as np

from skipopu.hdl.cosim.npe_function import Case, Function, function_of
from skipopu.hdl.cosim.npe_function_operands import COUNT, FORMS, close_numbers, every_fp16, numbers
from skipopu.hdl.cosim.npe_function_tiles import TILES
from skipopu.hdl.npe.exponential import Exponential, FixedArgument, PowerBelow
from skipopu.hdl.npe.float_multiplier import FloatMultiplier
from skipopu.hdl.npe.gelu import Gelu
from skipopu.hdl.npe.narrowing import Narrowing, ResidualAddition, Widening
from skipopu.hdl.npe.reciprocal import Fp32Root, Reciprocal, ReciprocalRoot
from skipopu.hdl.npe.rotary import Rotary
from skipopu.hdl.npe.router import Router
from skipopu.hdl.npe.silu import Silu
from skipopu.hdl.npe.swiglu import Swiglu
from skipopu.numerics import exponential as exponentials
from skipopu.numerics.exponential import ARGUMENT_LIMIT, POWERS, fixed_argument, unbounded_argument
from skipopu.numerics.gelu import gelu_fp16
from skipopu.numerics.multiplication import multiply
from skipopu.numerics.narrowing import narrow, with_residual
from skipopu.numerics.normalization import root_fp32
from skipopu.numerics.psum import widen
from skipopu.numerics.reciprocal import ARGUMENT_BITS, HALF_ROOTS, RECIPROCALS, ROOTS, reciprocal, reciprocal_root
from skipopu.numerics.rotary import rotate
from skipopu.numerics.router import executes
from skipopu.numerics.silu import silu_fp16
from skipopu.numerics.softmax import power_below
from skipopu.numerics.swiglu import swiglu


def _multiplication(a_format: str, b_format: str, form: str) -> Function:
    def expected(a: int, b: int) -> Case:
        return (multiply(a, FORMS[a_format], b, FORMS[b_format], FORMS[form]),)

    def unit(stages: int) -> FloatMultiplier:
        return FloatMultiplier(a_format=a_format, b_format=b_format, format=form, stages=stages)

    name = f"multiplication {a_format} {b_format} {form}"
    return Function(name, unit, FloatMultiplier.STEPS, numbers(a_format, b_format), expected)


def _arguments(rng: np.random.Generator) -> Sequence[Case]:
    """Arguments of the exponential: all over the range, near 0, its ends."""
    wide = rng.integers(-ARGUMENT_LIMIT, ARGUMENT_LIMIT + 1, COUNT)
    ends = [sign * (end + step) for sign in (-1, 1) for end in (2048, ARGUMENT_LIMIT - 2048) for step in range(2049)]
    return [(value,) for value in (*wide.tolist(), *ends)]


def _score_pairs(rng: np.random.Generator) -> Sequence[Case]:
    """A score and a maximum that is not lower, at most a little."""
    pairs = [*numbers("fp16", "fp16")(rng), *close_numbers("fp16", 2)(rng)]
    return [(a, b) if _fixed(a) - _fixed(b) <= ARGUMENT_LIMIT else (b, a) for a, b in pairs]


def _fixed(word: int) -> int:
    return unbounded_argument(word)


def _significands(rng: np.random.Generator) -> Sequence[Case]:
    """Significands of FP32 with exponents."""
    one = 1 << ARGUMENT_BITS
    any_bits = rng.integers(one, 2 * one, COUNT)
    ends = [n for line in range(128) for n in (one + (line << 16), one + (line << 16) - 1 + (1 << 16))]
    found = np.concatenate([any_bits, ends])
    return list(zip(found.tolist(), rng.integers(-256, 256, len(found)).tolist(), strict=True))


def _residuals(rng: np.random.Generator) -> Sequence[Case]:
    """Results and residuals of any kind, and of opposite sign and nearly equal."""
    cases = list(numbers("fp32", "fp16")(rng))
    near = [(widen(b) ^ FORMS["fp32"].sign ^ a & 0x3FFF, b) for a, b in cases]
    return [*cases, *near]


def _rotations(rng: np.random.Generator) -> Sequence[Case]:
    """Any pairs and angles, and pairs whose products cancel."""
    return [*numbers(*["fp16"] * 4)(rng), *close_numbers("fp16", 4)(rng)]


def _turned(even: int, odd: int, cosine: int, sine: int) -> Case:
    vectors, cosines, sines = (np.array([word], np.uint16) for word in ([even, odd], [cosine], [sine]))
    return tuple(rotate(vectors, cosines, sines)[0].tolist())


def _gated(gate: int, up: int) -> Case:
    return (int(swiglu(np.array([gate], np.uint16), np.array([up], np.uint16))[0]),)


MULTIPLICATIONS = tuple(
    _multiplication(*formats)
    for formats in (
        ("fp32", "fp16", "fp32"),
        ("fp32", "fp16", "fp16"),
        ("fp16", "fp16", "fp32"),
        ("fp16", "fp16", "fp16"),
        ("fp32", "fp32", "fp32"),
        ("fp32", "fp32", "fp16"),
    )
)
TABLES = (
    function_of("fixed argument", FixedArgument, every_fp16, lambda x: (fixed_argument(x),)),
    function_of("exponential", Exponential, _arguments, lambda x: exponentials.exponential(x, POWERS)),
    function_of("power below", PowerBelow, _score_pairs, lambda a, b: power_below(a, b, POWERS)),
    function_of("reciprocal", Reciprocal, _significands, lambda s, e: reciprocal(s, e, RECIPROCALS)),
    function_of(
        "reciprocal root", ReciprocalRoot, _significands, lambda s, e: reciprocal_root(s, e, ROOTS, HALF_ROOTS)
    ),
    function_of("FP32 root", Fp32Root, numbers("fp32"), lambda x: (root_fp32(x, ROOTS, HALF_ROOTS),)),
)
ACTIVATIONS = (
    function_of("SiLU", Silu, every_fp16, lambda x: (silu_fp16(x, POWERS, RECIPROCALS),)),
    function_of("GELU", Gelu, every_fp16, lambda x: (gelu_fp16(x, POWERS, RECIPROCALS),)),
    function_of("SwiGLU", Swiglu, numbers("fp16", "fp16"), _gated),
)
RESULTS = (
    function_of("router", Router, close_numbers("fp32", 2), lambda a, b: (executes(a, b),)),
    function_of("narrowing", Narrowing, numbers("fp32"), lambda x: (narrow(x),)),
    function_of("widening", Widening, every_fp16, lambda x: (widen(x),)),
    function_of("residual addition", ResidualAddition, _residuals, lambda x, y: (with_residual(x, y),)),
    function_of("rotary", Rotary, _rotations, _turned),
)
FUNCTIONS = (*MULTIPLICATIONS, *TABLES, *ACTIVATIONS, *TILES, *RESULTS)
