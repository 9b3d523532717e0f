"""The PE array's arithmetic again, from its definition, one number at a time in integers and fractions."""

import math
import struct
from fractions import Fraction

from skipopu.numerics.arithmetic import Arithmetic

CODES = {False: ("<f", "<I", 24, -149, 0x7FC00000), True: ("<e", "<H", 11, -24, 0x7E00)}  # by "is FP16"
Product = tuple[int, int, int]  # sign, magnitude, exponent


def value_of(bits: int, fp16: bool) -> float:
    """The number that a pattern stands for."""
    code, word, *_ = CODES[fp16]
    return float(struct.unpack(code, struct.pack(word, bits))[0])


def bits_of(value: float, fp16: bool) -> int:
    """The pattern of a number that the format has; any NaN gives the canonical one."""
    code, word, _, _, nan = CODES[fp16]
    if math.isnan(value):
        return nan
    return int(struct.unpack(word, struct.pack(code, value))[0])


def rounded(exact: Fraction, fp16: bool, nearest: bool, minus: bool = False) -> int:
    """Pattern of ``exact`` rounded once; ``minus`` is the sign of a zero."""
    _, _, precision, smallest, _ = CODES[fp16]
    minus = exact < 0 or (exact == 0 and minus)
    size = abs(exact)
    leading = size.numerator.bit_length() - size.denominator.bit_length()  # all are over powers of two
    quantum = Fraction(2) ** max(leading - precision + 1, smallest)
    steps = round(size / quantum) if nearest else size // quantum  # Python rounds ties to even
    overflow = Fraction(2) ** (16 if fp16 else 128)
    found = steps * quantum
    if found < overflow:
        number = float(found)
    else:
        number = math.inf if nearest else float(overflow - overflow / 2**precision)
    return bits_of(math.copysign(number, -1 if minus else 1), fp16)


def fields(bits: int) -> tuple[int, int, int]:
    """Sign, exponent, significand of a finite FP16 number."""
    e, f = bits >> 10 & 31, bits & 1023
    return bits >> 15, max(e, 1), f + 1024 if e else f


def fp16_product(a: int, b: int, width: int) -> Product | None:
    sign_a, exponent_a, significand_a = fields(a)
    sign_b, exponent_b, significand_b = fields(b)
    if significand_a == 0 or significand_b == 0:
        return None
    return sign_a ^ sign_b, significand_a * significand_b >> 22 - width, exponent_a + exponent_b


def int4_product(a: int, w: int, width: int) -> Product | None:
    sign, exponent, significand = fields(a)
    if significand == 0 or w == 0:
        return None
    return sign ^ (w < 0), significand * abs(w) << width - 14, exponent


def aligned(magnitude: int, shift: int, nearest: bool) -> int:
    kept = Fraction(magnitude, 2**shift)
    return math.floor(kept + Fraction(1, 2)) if nearest else math.floor(kept)


def special(row: list[int], column: list[int], int4: bool) -> float | None:
    """NaN or an infinity, if an operand is one; IEEE products and sums of Python floats."""
    left = [value_of(a, True) for a in row]
    right = [float(w) if int4 else value_of(w, True) for w in column]
    if all(map(math.isfinite, left + right)):
        return None
    total = 0.0
    for a, w in zip(left, right, strict=True):
        total += 0.0 if math.isfinite(a * w) else a * w
    return total


def dot(row: list[int], column: list[int], int4: bool, arithmetic: Arithmetic) -> int:
    """Dot product of FP16 patterns ``row`` with FP16 patterns or INT4 values, as a PSUM pattern."""
    width, fp16 = arithmetic.product_bits, arithmetic.fp16_psum
    exception = special(row, column, int4)
    if exception is not None:
        return bits_of(exception, fp16)
    multiply = int4_product if int4 else fp16_product
    products = [p for a, w in zip(row, column, strict=True) if (p := multiply(a, w, width))]
    if not products:
        return 0
    largest = max(exponent for _, _, exponent in products)
    total = 0
    for sign, magnitude, exponent in products:
        m = aligned(magnitude, largest - exponent, arithmetic.nearest_alignment)
        total += -m if sign else m
    scale = largest - 25 - (width - 14) if int4 else largest - 50 + (22 - width)
    return rounded(total * Fraction(2) ** scale, fp16, arithmetic.nearest_output)


def add(a: int, b: int, fp16: bool) -> int:
    """IEEE sum to nearest even."""
    x, y = value_of(a, fp16), value_of(b, fp16)
    if not (math.isfinite(x) and math.isfinite(y)):
        return bits_of(x + y, fp16)
    both_minus = math.copysign(1, x) < 0 and math.copysign(1, y) < 0
    return rounded(Fraction(x) + Fraction(y), fp16, True, minus=both_minus)


def accumulate(dots: list[int], interleave: int, fp16: bool) -> list[int]:
    """Entries of one row and column after all K-tiles."""
    entries = [0] * min(interleave, len(dots))
    for k, bits in enumerate(dots):
        entries[k % interleave] = add(entries[k % interleave], bits, fp16)
    return entries


def drain(entries: list[int], fp16: bool) -> int:
    """FP32 pattern of the entries' pairwise sum."""
    level = [bits_of(value_of(e, True), False) if fp16 else e for e in entries]
    while len(level) > 1:
        pairs = [add(level[i], level[i + 1], False) for i in range(0, len(level) - 1, 2)]
        level = pairs + level[2 * len(pairs) :]
    return level[0]


def scaled(bits: int, scale: int) -> int:
    """FP32 pattern times FP16 pattern, in FP32."""
    x, y = value_of(bits, False), value_of(scale, True)
    if not (math.isfinite(x) and math.isfinite(y)):
        return bits_of(x * y, False)
    minus = math.copysign(1, x) != math.copysign(1, y)
    return rounded(Fraction(x) * Fraction(y), False, True, minus=minus)


def matmul(
    row: list[int], column: list[int], int4: bool, arithmetic: Arithmetic, length: int,
    scale: int | None = None, group_scales: list[int] | None = None, group: int = 0,
) -> int:  # fmt: skip
    """FP32 pattern of one element of a matrix product."""
    dots = []
    for start in range(0, len(row), length):
        found = dot(row[start : start + length], column[start : start + length], int4, arithmetic)
        dots.append(found if group_scales is None else scaled(found, group_scales[start // group]))
    entries = accumulate(dots, arithmetic.interleave, arithmetic.fp16_psum)
    total = drain(entries, arithmetic.fp16_psum)
    return total if scale is None else scaled(total, scale)
