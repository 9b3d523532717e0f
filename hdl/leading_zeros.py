"""Leading zeros of a value, for normalisation: a tree of halves."""

from amaranth.hdl import Cat, Const, Mux, Value


def leading_zeros(value: Value) -> Value:
    """Return the zeros above the highest one of ``value``, its width if there is none."""
    width = 1 << len(value).bit_length()
    return _zeros(Cat(Const(-1, width - len(value)), value))


def _zeros(value: Value) -> Value:
    """Count in a power of two of bits, at least one of them set."""
    if len(value) == 1:
        return Const(0, 0)
    half = len(value) // 2
    low, high = value[:half], value[half:]
    return Cat(Mux(high.any(), _zeros(high), _zeros(low)), ~high.any())
