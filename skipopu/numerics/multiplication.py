"""IEEE multiplication on bits, the factors in formats of their own: FP32 by an FP16 scale, rounded once."""

from skipopu.numerics.conversion import round_magnitude
from skipopu.numerics.floating_point import Format, exponent_of, is_infinite, is_nan, sign_of, significand_of
from skipopu.numerics.jit import jit


@jit
def multiply(a: int, a_form: Format, b: int, b_form: Format, form: Format) -> int:
    """Return a · b in ``form``, to nearest even; exact zero and subnormals keep the sign, NaN is canonical.

    The significands have at most 48 bits together.
    """
    negative = sign_of(a, a_form) != sign_of(b, b_form)
    product = significand_of(a, a_form) * significand_of(b, b_form)
    infinite = is_infinite(a, a_form) or is_infinite(b, b_form)
    if is_nan(a, a_form) or is_nan(b, b_form) or (infinite and product == 0):
        return form.nan
    if infinite:
        return form.infinity | (form.sign if negative else 0)
    scale = _weight(a, a_form) + _weight(b, b_form)
    return round_magnitude(negative, product, scale, True, form)


@jit
def _weight(bits: int, form: Format) -> int:
    """Exponent of two that the significand's last bit stands for."""
    return exponent_of(bits, form) - form.bias - form.fraction_bits
