"""What a LUT of UltraScale+ holds, and the prices at which LUTs of logic are counted, with their sources."""

from dataclasses import dataclass

LUT_INPUTS = 6  # of one function (UG574: 6-input LUT)
SHARED_INPUTS = 5  # of two functions in one LUT (UG574: outputs O5 and O6)


@dataclass(frozen=True)
class Price:
    """What a piece of logic costs; ``confidence`` as in the specification's leaves."""

    what: str
    luts: str
    source: str
    confidence: str


PRICES = (
    Price("function of up to 6 bits", "1", "UG574: 6-input LUT", "datasheet"),
    Price("function read once, with its reader no more than 6 bits", "0, part of the reader", "UG574", "derived"),
    Price("wider and, or, xor, equality, one-hot choice", "bins of 6 bits, first fit", "Chortle-crf (DAC 1991)",
          "decision"),
    Price("bit of an adder, with operands' functions up to 5 bits", "1", "UG574: CARRY8, O5 and O6 in front of it",
          "derived"),
    Price("two bits of a comparison by order", "1", "UG574: CARRY8", "derived"),
    Price("shift by two bits of distance", "1 for every bit in reach", "UG574: 4-to-1 choice in a LUT", "derived"),
    Price("product", "0, DSP48E2", "UG579: 27 × 18 bits", "derived"),
    Price("delay line of 3 … 32 cycles without reset or taps", "1 a bit", "UG574: SRL16E, SRLC32E", "derived"),
    Price("memory read without a clock edge", "8 for 32 × 14 or 64 × 7 bits", "UG574: RAM32M16, RAM64M8", "derived"),
    Price("memory of no more than 64 words, unless the Verilog asks for URAM", "the same; the word read in flip-flops",
          "UG574: RAM64M8", "decision"),
)  # fmt: skip


def shift_left(bits: int, out: int, distance_bits: int) -> int:
    """LUTs of a barrel shifter, the short ways first: a level of four places for every bit that one can reach."""
    reached = (min(out, bits + 2 ** min(2 * level, distance_bits) - 1) for level in _levels(distance_bits))
    return sum(reached)


def shift_right(bits: int, out: int, distance_bits: int) -> int:
    """LUTs of a barrel shifter, the long ways first: a level of four places for every bit that may yet be needed."""
    return sum(min(bits, out + 2 ** max(distance_bits - 2 * level, 0) - 1) for level in _levels(distance_bits))


def _levels(distance_bits: int) -> range:
    return range(1, -(-distance_bits // 2) + 1)
