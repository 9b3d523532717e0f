"""Two products in one DSP48E2: what goes into its ports, and how both products come out of its result.

FP16 × FP16 (SkipOPU §4.2; the identity is derived, `packing_check` goes through every case): ``u0``, ``u1``
are the significands of the weights of an even and its odd column, ``w`` is the activation's. FP16 × INT4:
``w0`` and ``w1`` are the weights, ``u`` is the activation's significand. Significands are unsigned 11 bits,
hidden one included.
"""

from skipopu.numerics.jit import jit

PREADD_BITS = 27  # DSP48E2 (UG579): pre-adder and multiplier input, signed
RESULT_BITS = 48  # ALU, C port and result, signed
LANE = 16  # bit at which the upper operand sits
OVERLAP_BITS = 5  # of the upper product lie under the lower one and come from a multiplier of their own
LOWER_BITS = LANE + OVERLAP_BITS  # of the result belong to the lower product, less its last bit
UPPER_BITS = 17  # 22-bit product less the overlap
HIDDEN = 10  # bit of the hidden one


@jit
def in_signed(value: int, bits: int) -> bool:
    """``value`` fits a signed word of ``bits`` bits."""
    return -(1 << (bits - 1)) <= value < 1 << (bits - 1)


@jit
def wrapped(value: int) -> int:
    """Return what the 48-bit ALU keeps of ``value``, signed."""
    middle = 1 << (RESULT_BITS - 1)
    return ((value + middle) & ((1 << RESULT_BITS) - 1)) - middle


@jit
def fp16_preadd(u0: int, u1: int) -> int:
    """Pre-adder: u0 without its last bit, minus u1 without its first."""
    return (u0 >> 1) - ((u1 & ((1 << HIDDEN) - 1)) << LANE)


@jit
def fp16_auxiliary(u1: int, w: int) -> int:
    """Last five bits of u1 · w."""
    low = (1 << OVERLAP_BITS) - 1
    return ((u1 & low) * (w & low)) & low


@jit
def fp16_correction(u0: int, u1: int, w: int) -> int:
    """C port: clears the overlap, adds what u0's last bit is worth, takes u1's first bit off."""
    last = w >> 1 if u0 & 1 else 0
    first = w if u1 >> HIDDEN else 0
    return (fp16_auxiliary(u1, w) << LANE) + last - (first << (LANE + HIDDEN))


@jit
def fp16_result(u0: int, u1: int, w: int) -> int:
    """P of the DSP48E2."""
    return wrapped(fp16_preadd(u0, u1) * w + fp16_correction(u0, u1, w))


@jit
def fp16_lower(result: int, u0: int, w: int) -> int:
    """u0 · w out of P."""
    return (result & ((1 << LOWER_BITS) - 1)) << 1 | (u0 & w & 1)


@jit
def fp16_upper(result: int, u1: int, w: int) -> int:
    """u1 · w out of P."""
    high = -(result >> LOWER_BITS) & ((1 << UPPER_BITS) - 1)
    return high << OVERLAP_BITS | fp16_auxiliary(u1, w)


@jit
def int4_preadd(w0: int, w1: int) -> int:
    """Pre-adder: both weights, signed."""
    return w0 + (w1 << LANE)


@jit
def int4_result(w0: int, w1: int, u: int) -> int:
    """P of the DSP48E2; its C port is not used."""
    return wrapped(int4_preadd(w0, w1) * u)


@jit
def int4_lower(result: int) -> int:
    """w0 · u out of P: the lower lane, signed."""
    lane, sign = result & ((1 << LANE) - 1), 1 << (LANE - 1)
    return (lane ^ sign) - sign


@jit
def int4_upper(result: int) -> int:
    """w1 · u out of P: the upper lane, less the borrow of a negative lower one."""
    return (result >> LANE) + (result >> (LANE - 1) & 1)


@jit
def int4_magnitude(product: int) -> int:
    """Magnitude of a recovered product, below 2^14, as it enters alignment."""
    return abs(product)


@jit
def int4_negative(product: int, activation_negative: bool) -> bool:
    """Sign of a recovered product once the activation's sign is put to it; of zeros it has no meaning."""
    return (product < 0) != activation_negative
