"""Terms of the resource model: what a register, an adder, a choice costs on UltraScale+ (UG574, UG573)."""

import math
from dataclasses import dataclass

SRL_CYCLES = 3  # from here on a delay line without reset is a shift register in a LUT (SRL16E, SRLC32E)
SRL_LENGTH = 32  # of one LUT (SRLC32E)
URAM_WORDS, URAM_BITS = 4096, 72  # a URAM288 has this one shape (UG573)
LUT_RAMS = ((32, 14), (64, 7))  # words × bits of eight LUTs with a write and a read port: RAM32M16, RAM64M8 (UG574)
SLICE_LUTS = 8
SHALLOW_WORDS = 64  # of the deepest of them: a memory no deeper is LUTs, for block RAM is 512 deep at its widest
FACTORS = (26, 17)  # bits of the factors of a DSP48E2, signs not counted (UG579: 27 × 18)
RAM_SHAPES = ((512, 72), (1024, 36), (2048, 18), (4096, 9), (8192, 4), (16384, 2), (32768, 1))  # words × bits


@dataclass(frozen=True)
class Estimate:
    """Cells of the device."""

    lut: int = 0
    ff: int = 0
    dsp48e2: int = 0
    bram36: int = 0
    uram: int = 0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def __mul__(self, count: int) -> "Estimate":
        return Estimate(*(value * count for value in self.values()))

    def values(self) -> tuple[int, int, int, int, int]:
        """LUT, FF, DSP48E2, BRAM36, URAM288."""
        return self.lut, self.ff, self.dsp48e2, self.bram36, self.uram


@dataclass(frozen=True)
class Registers:
    """A value of ``bits`` kept for ``cycles`` cycles; only ``live`` of its bits, all by default, are needed.

    ``shifts``: a delay line without reset and without taps, which may become shift registers in LUTs.
    """

    what: str
    bits: int
    cycles: int = 1
    live: int | None = None
    shifts: bool = True

    @property
    def flip_flops(self) -> int:
        """As written in Verilog: nothing dropped, no shift registers."""
        return self.bits * self.cycles

    @property
    def estimate(self) -> Estimate:
        """After what every synthesis does: bits that do not count dropped, long delay lines in LUTs."""
        bits = self.bits if self.live is None else self.live
        if self.shifts and self.cycles >= SRL_CYCLES:
            return Estimate(lut=bits * math.ceil(self.cycles / SRL_LENGTH))
        return Estimate(ff=bits * self.cycles)


@dataclass(frozen=True)
class Logic:
    """A piece of logic; ``ff`` are registers of the device that the Verilog does not show."""

    what: str
    lut: int
    ff: int = 0


@dataclass(frozen=True)
class Module:
    """A module of the RTL under its Verilog name, ``count`` times in the whole array."""

    name: str
    count: int
    registers: tuple[Registers, ...] = ()
    logic: tuple[Logic, ...] = ()
    dsp48e2: int = 0
    bram36: int = 0

    @property
    def flip_flops(self) -> int:
        """Register bits of one such module, as written in Verilog, the modules below it not counted."""
        return sum(each.flip_flops for each in self.registers)

    @property
    def estimate(self) -> Estimate:
        """Cells of one such module."""
        lut, ff = (sum(getattr(each, cell) for each in self.logic) for cell in ("lut", "ff"))
        start = Estimate(lut, ff, self.dsp48e2, self.bram36)
        return sum((each.estimate for each in self.registers), start)


def bits_for(values: int) -> int:
    """Bits of a number in 0 … values − 1."""
    return (values - 1).bit_length()


def spread(steps: int, stages: int) -> list[int]:
    """Registers behind each of ``steps`` steps of logic that share ``stages`` cycles evenly."""
    return [(i + 1) * stages // steps - i * stages // steps for i in range(steps)]


def add(bits: int) -> int:
    """LUTs of an adder: one a bit in front of the carry chain, which also inverts or gates the operands."""
    return bits


def multiplex(bits: int) -> int:
    """LUTs of a choice of 2, 3 or 4 values: a 6-input LUT a bit."""
    return bits


def select(bits: int, values: int) -> int:
    """LUTs of a choice of ``values`` values: a tree of 4-to-1 choices."""
    return bits * math.ceil((values - 1) / 3)


def compare(bits: int) -> int:
    """LUTs of a comparison: two bits each in front of the carry chain."""
    return math.ceil(bits / 2)


def reduce(bits: int) -> int:
    """LUTs that combine ``bits`` bits into one: a tree of 6-input LUTs."""
    return math.ceil((bits - 1) / 5)


def shift(bits: int, distance_bits: int) -> int:
    """LUTs of a barrel shifter: two bits of the distance a level."""
    return bits * math.ceil(distance_bits / 2)


def leading_zeros(bits: int) -> int:
    """LUTs of a leading-zero count: halves combined level by level, about one a bit."""
    return bits


def block_rams(words: int, bits: int) -> int:
    """BRAM36 of a memory with one read and one write port, in the shape that needs the fewest."""
    return min(math.ceil(words / depth) * math.ceil(bits / width) for depth, width in RAM_SHAPES)


def ultra_rams(words: int, bits: int) -> int:
    """URAM288 of a memory with one read and one write port."""
    return math.ceil(words / URAM_WORDS) * math.ceil(bits / URAM_BITS)


def lut_rams(words: int, bits: int) -> int:
    """LUTs of a memory that is read without a clock edge, with the choice between its parts where one is too short."""
    return min(
        math.ceil(words / depth) * math.ceil(bits / width) * SLICE_LUTS + select(bits, math.ceil(words / depth))
        for depth, width in LUT_RAMS
    )


def dsp_slices(first: int, second: int) -> int:
    """DSP48E2 of a product of two numbers of so many bits, signs not counted: partial products of one slice each."""
    wide, narrow = FACTORS
    return min(math.ceil(a / wide) * math.ceil(b / narrow) for a, b in ((first, second), (second, first)))
