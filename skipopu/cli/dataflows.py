"""`skipopu compare --dataflow`: the attention module of every trace in several dataflows (SkipOPU §5.3)."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from skipopu.cli.kv_configurations import named
from skipopu.cli.options import with_dataflow
from skipopu.cli.terminal import progress, say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.results.dataflows import Job


def compare(
    traces: Sequence[Path], names: Sequence[str], overlays: Sequence[str], board: str, settings: tuple[str, ...],
    max_cycles: int | None,
) -> None:  # fmt: skip
    """Simulate every trace in every dataflow; print speed-ups over the first, then where the cycles went."""
    from skipopu.results.attention import breakdown, speed_ups
    from skipopu.results.dataflows import run
    from skipopu.results.processes import in_processes

    _check(traces, names, overlays)
    jobs = _jobs(traces, names, overlays[0], board, settings, max_cycles)
    with progress("simulating") as report:
        found = in_processes(run, jobs, report)
    table = [found[first : first + len(names)] for first in range(0, len(found), len(names))]
    say(f"attention module on {jobs[0].overlay.name}, cycles of the PE array; router, norm, projections included")
    say(speed_ups(table, names))
    say("\nwhere they went; in brackets the change against the first column, in per cent of its total")
    for row in table:
        say("\n" + breakdown(row, names))


def _check(traces: Sequence[Path], names: Sequence[str], overlays: Sequence[str]) -> None:
    for name in names:
        if name == "all":
            raise SpecError("--dataflow all: stands for each of them; leave the others out")
        if names.count(name) > 1:
            raise SpecError(f"--dataflow {name}: given twice; give each dataflow once")
    if len(names) < 2:
        raise SpecError(f"--dataflow {names[0]}: nothing to compare with; give another, or --dataflow all")
    if len(overlays) > 1:
        raise SpecError(f"--overlay {overlays[1]}: dataflows are compared on one overlay; leave it out")
    for path in traces:
        if path.is_dir():
            raise SpecError(f"{path}: is a finished result; give its trace to run it in several dataflows")


def _jobs(
    traces: Sequence[Path], names: Sequence[str], overlay: str, board: str, settings: tuple[str, ...],
    max_cycles: int | None,
) -> "list[Job]":  # fmt: skip
    from skipopu import machine
    from skipopu.program.dataflow import DATAFLOWS
    from skipopu.results.dataflows import Job
    from skipopu.trace import read_trace

    machines = {name: machine(overlay, board, with_dataflow(settings, name)) for name in names}
    found = []
    for label, path in named(traces).items():
        trace = read_trace(path)
        try:
            found += [Job(label, DATAFLOWS[name].of(trace), *machines[name], max_cycles) for name in names]
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from None
    return found
