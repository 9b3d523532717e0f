"""The audit of the retire stream: every instruction once, each engine in order, every step to its end."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skipopu.results.check import Check, at_most, equal
from skipopu.sim.run import Run
from skipopu.spec.ledger import Block

if TYPE_CHECKING:
    from skipopu.trace import Trace

COLUMNS = ("engine", "opcode", "step", "layer", "issue", "first", "last")


def retired_once(run: Run) -> Check:
    """State that every column of the retire stream has an entry for every instruction."""
    lengths = [len(getattr(run.retired, name)) for name in COLUMNS]
    return equal("retired.once", "most entries of a column", max(lengths), "fewest", min(lengths))


def retirement(run: Run, trace: "Trace") -> Iterator[Check]:
    """Yield the checks of the retire stream, given that it passed `retired_once`."""
    yield from _cycles(run)
    yield from _engine_order(run)
    yield from _steps(run, trace)


def _cycles(run: Run) -> Iterator[Check]:
    r = run.retired
    total, last = len(r.issue), int(r.last.max(initial=0))
    yield equal("retired.issue_first", "issued", total, "begun at or after issue", _count(r.issue <= r.first))
    yield equal("retired.first_last", "begun", total, "ended at or after it", _count(r.first <= r.last))
    yield at_most("retired.last", "last cycle of work", last, "core cycles", run.core_cycles)


def _engine_order(run: Run) -> Iterator[Check]:
    """An engine takes, begins and ends its instructions in program order."""
    for engine in np.unique(run.retired.engine):
        mine = run.retired.engine == engine
        for name in ("issue", "first", "last"):
            cycles = getattr(run.retired, name)[mine]
            ordered = 1 + _count(np.diff(cycles) >= 0)
            check = f"order.{Block(engine).label}.{name}"
            yield equal(check, "instructions", len(cycles), "in program order", ordered)


def _steps(run: Run, trace: "Trace") -> Iterator[Check]:
    """Every step of the trace has instructions, and none of them works after the step has ended."""
    step, ends, steps = run.retired.step, run.step_end, len(trace.steps)
    retired = len(np.unique(step))
    yield equal("steps.retired", "steps of the trace", steps, "steps with instructions", retired)
    yield equal("steps.ended", "steps of the trace", steps, "steps ended", len(ends))
    if steps == retired == len(ends) == int(step.max()) + 1:
        late = np.zeros(steps, dtype=np.int64)
        np.maximum.at(late, step, run.retired.last)
        yield equal("steps.end", "steps", steps, "that end with their last work", _count(ends >= late))
        yield equal("steps.order", "steps", steps, "that end in order", 1 + _count(np.diff(ends) >= 0))
        yield at_most("steps.last", "last step ends", int(ends.max()), "core cycles", run.core_cycles)


def _count(holds: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(holds))
