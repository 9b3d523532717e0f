"""Cells of a memory: block RAM, URAM or LUTs, by what the Verilog asks for, how it is read and how deep it is."""

from skipopu.spec.resource_terms import SHALLOW_WORDS, Estimate, block_rams, lut_rams, ultra_rams

ULTRA = "ultra"  # of the attribute ram_style


def memory_cells(
    words: int, bits: int, *, late: int, immediate: int, addressed: int = 0, style: str = ""
) -> Estimate:  # fmt: skip
    """Return the cells of a memory with one write port; every read port beyond the first takes a copy.

    ``late``: read ports with a register, which block RAM has; ``addressed``: those of them that keep the address, not
    the word; ``immediate``: those without one, which only LUTs have. URAM where the Verilog asks for it; LUTs, with
    the words read in flip-flops, where a port has no register and where all words are in the reach of one LUT
    (SHALLOW_WORDS); block RAM otherwise.
    """
    if style == ULTRA:
        return Estimate(uram=ultra_rams(words, bits)) * late
    if immediate or words <= SHALLOW_WORDS:
        return Estimate(lut=lut_rams(words, bits)) * (late + immediate) + Estimate(ff=bits) * (late - addressed)
    return Estimate(bram36=block_rams(words, bits)) * late
