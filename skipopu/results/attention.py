"""The attention module of runs side by side: cycles of the PE array by part and cause, speed-ups over the first."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from skipopu.results.aligned import aligned
from skipopu.results.quantity import number, times
from skipopu.sim.run import Ints
from skipopu.spec.ledger import Cause, Part, Phase

PASSES = (Part.NORM, Part.SOFTMAX)  # the NPE works alone
PRODUCTS = tuple(part for part in Part if part.is_attention and part not in PASSES)


@dataclass(frozen=True)
class Attention:
    """``parts`` [Phase, Part, Cause]: cycles of the PE array in one run, see `skipopu.sim.run.Run`."""

    label: str
    parts: Ints

    def cycles(self, phase: Phase) -> int:
        """Cycles of all attention modules: at work, or waiting with an attention instruction next."""
        return sum(int(self.parts[phase, part].sum()) for part in Part if part.is_attention)

    def rows(self, phase: Phase) -> dict[str, int]:
        """Name → cycles; every cycle of the module is in one of them."""
        own = self.parts[phase]
        found = {f"{part.label}, busy": int(own[part, Cause.BUSY]) for part in PRODUCTS}
        found |= {f"{part.label}, NPE alone": int(own[part, Cause.IDLE]) for part in PASSES}
        waits = {cause: own[: Part.OUTPUT + 1, cause].sum() for cause in Cause if cause != Cause.BUSY}
        waits[Cause.IDLE] -= own[list(PASSES), Cause.IDLE].sum()
        return found | {f"waiting: {cause.label}": int(cycles) for cause, cycles in waits.items()}


def speed_ups(table: Sequence[Sequence[Attention]], names: Sequence[str]) -> str:
    """Return a line for each trace and phase of ``table`` [trace][dataflow]: cycles, and speed-up over the first."""
    lines = [["", *names]]
    for row in table:
        for phase in _phases(row):
            cycles = [found.cycles(phase) for found in row]
            gains = [f"{number(c)} ({times(cycles[0] / c if c else None)})" for c in cycles[1:]]
            lines.append([f"{row[0].label}, {phase.label}", number(cycles[0]), *gains])
    return aligned(lines)


def breakdown(row: Sequence[Attention], names: Sequence[str]) -> str:
    """Return where the cycles of one trace went in each dataflow; what is nothing in all of them is left out."""
    lines: list[list[str]] = []
    for phase in _phases(row):
        lines.append([f"{row[0].label}, {phase.label}", *names])
        lines += _lines(row, phase)
    return aligned(lines)


def _lines(row: Sequence[Attention], phase: Phase) -> Iterator[list[str]]:
    columns = [found.rows(phase) for found in row]
    total = row[0].cycles(phase)
    for name, first in columns[0].items():
        values = [column[name] for column in columns]
        if any(values):
            yield [name, number(first), *(f"{number(v)} ({_change(v - first, total)})" for v in values[1:])]
    sums = [sum(column.values()) for column in columns]
    yield ["sum", number(sums[0]), *(f"{number(s)} ({_change(s - total, total)})" for s in sums[1:])]


def _change(difference: int, total: int) -> str:
    return f"{difference / total:+.1%}" if total else "–"


def _phases(row: Sequence[Attention]) -> list[Phase]:
    return [phase for phase in Phase if any(found.cycles(phase) for found in row)]
