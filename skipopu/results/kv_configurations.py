"""The four memory configurations of SkipOPU §5.4 over the same masks, one after the other or in two processes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.program.context import resolve
from skipopu.results.aligned import aligned
from skipopu.results.kv_reads import read_kv
from skipopu.results.kv_record import trace_facts
from skipopu.results.processes import in_processes
from skipopu.results.quantity import number, quantity, times
from skipopu.results.summary import ratio
from skipopu.sim.error import SimulationError
from skipopu.trace import dense_like, read_trace

if TYPE_CHECKING:
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

INTERLEAVED, TOKEN_WISE = "kv_buffer.map=interleaved", "kv_buffer.map=token_wise"
OFF, ON = "kv_buffer.enabled=false", "kv_buffer.enabled=true"
DENSE = ("dense, interleaved", (INTERLEAVED, OFF))
REUSING = (
    ("interleaved", (INTERLEAVED, OFF)),
    ("token-wise", (TOKEN_WISE, OFF)),
    ("token-wise, buffer", (TOKEN_WISE, ON)),
)


@dataclass(frozen=True)
class Job:
    """A row of the table: one trace, or its dense twin, in one configuration."""

    name: str
    trace_name: str
    trace: Path
    dense: bool
    overlay: "Overlay"
    board: "Board"
    every: int
    baseline: int  # row of the dense model of the same shape and length


Load = Callable[[tuple[str, ...]], "tuple[Overlay, Board]"]


def jobs(traces: Mapping[str, Path], load: Load, every: int) -> list[Job]:
    """Return the rows for ``traces`` (by name), the dense model before the first trace of its shape and length.

    ``load`` makes the machine of a configuration from its settings.
    """
    found: list[Job] = []
    dense: dict[tuple[Any, ...], int] = {}
    for name, path in traces.items():
        trace = read_trace(path)
        twin = _twin(trace)
        if twin not in dense:
            dense[twin] = len(found)
            label = f"{name}: {DENSE[0]}" if found else DENSE[0]
            found.append(Job(label, name, path, True, *load(DENSE[1]), every, dense[twin]))
        for title, settings in REUSING:
            label = f"{name}: {trace.header.kv_policy}, {title}"
            found.append(Job(label, name, path, False, *load(settings), every, dense[twin]))
    return found


def _twin(trace: "Trace") -> tuple[Any, ...]:
    """What the K/V reads of the dense model depend on."""
    columns = trace.steps.columns()
    return trace.header.shape.dimensions, tuple((name, column.tobytes()) for name, column in sorted(columns.items()))


def run(job: Job) -> dict[str, Any]:
    """Stream one row and return its figures."""
    trace = read_trace(job.trace)
    context = resolve(dense_like(trace) if job.dense else trace, job.overlay, job.board)
    try:
        reads = read_kv(context, job.board, every=job.every)
    except SimulationError as error:
        raise SimulationError(f"{job.name}: {error}") from None  # as text, which passes between processes
    return {"name": job.name, "trace": trace_facts(trace), "dense": job.dense} | reads.figures


def run_all(rows: Sequence[Job], progress: Callable[[int, int], None] | None = None) -> list[dict[str, Any]]:
    """Stream all rows in two processes and return their figures in the order of ``rows``, with their speed-ups."""
    found = in_processes(run, rows, progress)
    for job, figures in zip(rows, found, strict=True):
        figures["speedup"] = ratio(found[job.baseline]["seconds_per_token"], figures["seconds_per_token"])
    return found


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """Return the rows as plain text; speed-ups are of streaming time a token, against the dense model."""
    head = ["", "rounds", "effective GB/s", "physical GB/s", "of peak", "buffer hits", "time a token", "speed-up"]
    return aligned([head, *(list(_cells(figures)) for figures in found)])


def _cells(f: Mapping[str, Any]) -> Iterator[str]:
    yield f["name"]
    yield number(f["rounds"])
    yield number(f["effective_bandwidth"] / 1e9)
    yield number(f["physical_bandwidth"] / 1e9)
    yield f"{f['physical_share']:.1%}"
    yield f"{f['buffer_hits']:.1%}"
    yield quantity(f["seconds_per_token"], "s")
    yield times(f["speedup"])
