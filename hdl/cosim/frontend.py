"""Co-simulation of the frontend: every instruction's issue, first and last cycle, every request, every cause."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.frontend_model import LONGEST, REQUEST, TRACE, expected
from skipopu.hdl.cosim.frontend_shell import SEEN, FrontendShell
from skipopu.hdl.cosim.frontend_stimulus import FrontendWork, frontend_work
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.program.instruction_check import ENGINE_OF_CODE
from skipopu.program.isa import unpack
from skipopu.program.status import Condition, Status
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.frontend_bench"
RETIRED = ("index", "engine", "issue", "first", "last")
WATCHDOG = 1000  # cycles: longer than any instruction of a legal program here
NEVER = np.array([-1, 0])
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FrontendRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    programs: int
    instructions: int
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


@dataclass(frozen=True)
class Seen:
    """A run of one program in the RTL, as tables."""

    trace: Ints  # [cycle, TRACE], while it ran
    requests: Ints  # [burst, REQUEST]
    retired: Ints  # [instruction, RETIRED], by index
    status: Status
    count: int  # instructions retired
    cycles: int
    lost: bool


def cosimulate(
    overlay: Overlay, programs: int, instructions: int, seed: int, *, waves: Path | None = None
) -> FrontendRun:
    """Run random legal programs through RTL and simulator."""
    testbench = Testbench(FrontendShell(overlay=overlay, watchdog=WATCHDOG), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    works = [frontend_work(overlay, int(rng.integers(1, instructions + 1)), rng) for _ in range(programs)]
    seen = outputs(testbench, works, overlay)
    pairs = zip(works, seen, strict=True)
    differences = [found for work, each in pairs if (found := _compare(work, each, overlay))]
    return FrontendRun(
        overlay.name, programs, sum(len(work.words) for work in works), sum(each.cycles for each in seen),
        testbench.build_seconds, testbench.run_seconds, differences[0] if differences else None,
    )  # fmt: skip


def outputs(
    testbench: Testbench, works: Sequence[FrontendWork], overlay: Overlay, *, error: Ints = NEVER, most: int = LONGEST
) -> list[Seen]:
    """Run ``works``, ``most`` cycles each at most; ``error``: cycle and bits of a memory's error."""
    given: dict[str, Any] = {"programs": len(works), "crossing": overlay.dma.crossing_stages, "most": most}
    for number, work in enumerate(works):
        arrays = ("words", "address", "latency", "gap", "ready", "taken")
        given |= {f"{number}_{name}": getattr(work, name) for name in arrays}
        given[f"{number}_error"] = error
    found = testbench.outputs(given)
    parts = np.split(found["seen"], np.cumsum(found["lengths"])[:-1])
    return [_tables(part, work) for part, work in zip(parts, works, strict=True)]


def _compare(work: FrontendWork, seen: Seen, overlay: Overlay) -> Difference | None:
    """Requests first: what comes too late makes all else late."""
    trace, requests, cycles = expected(work, overlay)
    fields, _ = unpack(work.words)
    retired = np.column_stack([np.arange(len(cycles)), ENGINE_OF_CODE[fields[:, 0]] + 1, cycles])
    end = np.array([[Condition.OK, len(trace), len(cycles), 0]])
    found = np.array([[seen.status.code, seen.cycles, seen.count, seen.lost]])
    return (
        first_difference("burst", requests, seen.requests, REQUEST)
        or first_difference("cycle", trace, seen.trace, TRACE)
        or first_difference("instruction", retired, seen.retired, RETIRED)
        or first_difference("end", end, found, ("status", "cycles", "retired", "lost"))
    )


def _tables(rows: NDArray[np.uint8], work: FrontendWork) -> Seen:
    words = [int.from_bytes(row.tobytes(), "little") for row in rows]
    running, cycles = _column(words, "running"), np.arange(len(words))
    may_ask = np.resize(work.ready, len(words)) & _column(words, "burst_valid")
    trace = np.column_stack([_column(words, name) for name in ("cause", "blocked", "at_work")])
    requests = np.column_stack([cycles, _column(words, "burst", "address"), _column(words, "burst", "beats")])
    moved = np.resize(work.taken, len(words)) & _column(words, "retired_valid")
    retired = np.column_stack([_column(words, "retired", name) for name in RETIRED])[moved == 1]
    last = words[-1:]
    status = [int(_column(last, "status", name)[0]) for name in ("code", "index", "detail")]
    count, now, lost = (int(_column(last, name)[0]) for name in ("count", "now", "lost"))
    return Seen(
        trace[running == 1], requests[may_ask == 1], retired[np.argsort(retired[:, 0], kind="stable")],
        Status(Condition(status[0]), *status[1:]), count, now, bool(lost),
    )  # fmt: skip


def _column(words: Sequence[int], *path: str) -> Ints:
    """A field of what was seen in every cycle."""
    layout, shift, width = SEEN, 0, 0
    for name in path:
        place: Any = layout[name]
        shift, width, layout = shift + place.offset, place.width, place.shape
    return np.array([word >> shift & (1 << width) - 1 for word in words], np.int64)
