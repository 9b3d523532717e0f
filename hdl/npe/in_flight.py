"""In flight: the valid bit of a pipeline, the one thing in it that reset must clear."""

from amaranth.hdl import Cat, Module, Signal, Value


def in_flight(m: Module, valid: Value, cycles: int, name: str) -> list[Value]:
    """Return ``valid`` as it was 0, 1, … ``cycles`` cycles ago; the registers are one signal ``name``."""
    if not cycles:
        return [valid]
    line = Signal(cycles, name=name)
    m.d.sync += line.eq(Cat(valid, line))
    return [valid, *line]
