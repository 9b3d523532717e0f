"""Registers: how the latency of a block, a number of `spec`, becomes flip-flops between its steps."""

from typing import Any

from amaranth.hdl import Module, Signal


def registers(steps: int, stages: int) -> list[int]:
    """Return how many registers follow each of ``steps`` steps of logic, ``stages`` in all, spread evenly.

    The last step always ends in a register; with fewer stages than steps some steps share a cycle.
    """
    return [(i + 1) * stages // steps - i * stages // steps for i in range(steps)]


def delayed(m: Module, value: Any, cycles: int, name: str) -> Any:
    """Return ``value`` as it was ``cycles`` cycles ago; the registers are called ``<name>_1``, ``<name>_2``, …

    Without reset: what is in flight is told from garbage by a valid bit of its own.
    """
    for cycle in range(1, cycles + 1):
        register = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=True)
        m.d.sync += register.eq(value)
        value = register
    return value


def named(m: Module, value: Any, name: str, shape: Any = None) -> Any:
    """Return a signal called ``name`` that carries ``value``: the Verilog keeps the name."""
    signal = Signal(value.shape() if shape is None else shape, name=name)
    m.d.comb += signal.eq(value)
    return signal
