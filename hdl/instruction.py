"""Instruction: the 256-bit word of `skipopu.program.isa` as a layout."""

from amaranth.lib import data

from skipopu.program.isa import FIELDS, INSTRUCTION_BYTES, PLACES, WORD_BITS

INSTRUCTION_BITS = INSTRUCTION_BYTES * 8
INDEX_BITS = 24  # number of an instruction in its program
CYCLE_BITS = 48  # core cycles since the program began: 14 days at 225 MHz

INSTRUCTION = data.FlexibleLayout(
    INSTRUCTION_BITS,
    {
        name: data.Field(width, word * WORD_BITS + shift)
        for (name, width), (word, shift, _) in zip(FIELDS, PLACES, strict=True)
    },
)
