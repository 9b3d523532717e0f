"""Cells of a memory: block RAM, URAM or LUTs, by how it is read (UG573, UG574)."""

from skipopu.spec.resource_terms import Estimate, block_rams, lut_rams, ultra_rams

ULTRA = "ultra"  # of the attribute ram_style


def memory_cells(words: int, bits: int, *, late: int, immediate: int, style: str = "") -> Estimate:
    """Return the cells of a memory with one write port; every read port beyond the first takes a copy.

    ``late``: read ports with a register, which block RAM has; ``immediate``: those without, which only LUTs have.
    """
    if immediate:
        return Estimate(lut=lut_rams(words, bits)) * (late + immediate)
    if style == ULTRA:
        return Estimate(uram=ultra_rams(words, bits)) * late
    return Estimate(bram36=block_rams(words, bits)) * late
