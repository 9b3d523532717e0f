"""Floating-point formats of partial sums, and the fields the hardware works on."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Const, Mux, Value


@dataclass(frozen=True)
class FloatFormat:
    """An IEEE 754 binary format."""

    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Width of a number."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def significand_bits(self) -> int:
        """Fraction with its hidden one."""
        return self.fraction_bits + 1

    @property
    def bias(self) -> int:
        """What is added to an exponent."""
        return (1 << self.exponent_bits - 1) - 1

    @property
    def special(self) -> int:
        """Exponent field of infinity and NaN."""
        return (1 << self.exponent_bits) - 1

    @property
    def infinity(self) -> int:
        """+∞ without its sign bit."""
        return self.special << self.fraction_bits

    @property
    def largest(self) -> int:
        """Largest finite number."""
        return self.infinity - 1

    @property
    def nan(self) -> Const:
        """The one NaN that is ever produced: quiet, positive."""
        return Const(self.infinity | 1 << self.fraction_bits - 1, self.bits)


FORMATS = {"fp32": FloatFormat(8, 23), "fp16": FloatFormat(5, 10)}


def leading_zeros(value: Value) -> Value:
    """Return the zeros above the highest one of ``value``, its width if there is none; a tree of halves."""
    width = 1 << len(value).bit_length()
    return _zeros(Cat(Const(-1, width - len(value)), value))


def _zeros(value: Value) -> Value:
    """Count in a power of two of bits, at least one of them set."""
    if len(value) == 1:
        return Const(0, 0)
    half = len(value) // 2
    low, high = value[:half], value[half:]
    return Cat(Mux(high.any(), _zeros(high), _zeros(low)), ~high.any())
