"""Number formats of operands, products and partial sums: IEEE 754 and UG579 facts that no overlay can change."""

from dataclasses import dataclass


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
    def infinity(self) -> int:
        """+∞ without its sign bit."""
        return ((1 << self.exponent_bits) - 1) << self.fraction_bits

    @property
    def largest(self) -> int:
        """Largest finite number."""
        return self.infinity - 1

    @property
    def nan(self) -> int:
        """The one NaN that is ever produced: quiet, positive."""
        return self.infinity | 1 << self.fraction_bits - 1


FORMATS = {"fp32": FloatFormat(8, 23), "fp16": FloatFormat(5, 10)}
FP16 = FORMATS["fp16"]
INT4_BITS = 4
PRODUCT_BITS = 2 * FP16.significand_bits  # of two significands
INT4_PRODUCT_BITS = FP16.significand_bits + INT4_BITS - 1  # magnitude of a significand times −8 … 7
COLUMNS_PER_DSP = 2  # two products share a DSP48E2 (SkipOPU §4.2)
