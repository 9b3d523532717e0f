"""`skipopu kv --configurations`: the four memory configurations of SkipOPU §5.4 side by side."""

import json as json_text
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.cli.options import ENABLED, MAP
from skipopu.cli.terminal import progress, say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.results.kv_configurations import Job
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay


def refuse(single: Mapping[str, object], settings: Iterable[str]) -> None:
    """Raise SpecError for what every configuration sets itself, or what goes with one schedule."""
    for name, value in single.items():
        if value is not None:
            raise SpecError(
                f"{name} {'' if value is True else value}: goes with one trace in one configuration; "
                "leave it out, or leave out --configurations"
            )
    for setting in settings:
        if setting.partition("=")[0] in (MAP, ENABLED):
            raise SpecError(f"--set {setting}: every configuration sets it; leave it out, or --configurations")


def compare(
    traces: Sequence[Path], overlay: str, board: str, settings: tuple[str, ...], every: int, out: Path | None,
    json: bool,
) -> None:  # fmt: skip
    """Stream the dense model and every trace in each configuration, and print one table."""
    from skipopu import machine
    from skipopu.results.kv_configurations import jobs, run_all

    def load(more: tuple[str, ...]) -> "tuple[Overlay, Board]":
        return machine(overlay, board, (*settings, *more))

    rows = jobs(named(traces), load, every)
    with progress("streaming K/V") as report:
        found = run_all(rows, report)
    record = _record(rows, found)
    if out is not None:
        _write(out, rows, record)
    if json:
        sys.stdout.write(json_text.dumps(record, indent=1, ensure_ascii=False) + "\n")
    else:
        _show(rows, found)


def named(paths: Sequence[Path]) -> dict[str, Path]:
    """Name traces by their files, in full where two are called alike."""
    for number, path in enumerate(paths):
        if path in paths[:number]:
            raise SpecError(f"{path}: given twice; give each trace once")
    stems = [path.stem for path in paths]
    return dict(zip(stems if len(set(stems)) == len(stems) else map(str, paths), paths, strict=True))


def _record(rows: "Sequence[Job]", found: list[dict[str, Any]]) -> dict[str, Any]:
    from skipopu.results.kv_record import KV_SCHEMA

    return {"schema": KV_SCHEMA, "overlay": rows[0].overlay.name, "configurations": found}


def _write(out: Path, rows: "Sequence[Job]", record: dict[str, Any]) -> None:
    from skipopu.results.kv_record import write_record
    from skipopu.results.provenance import provenance
    from skipopu.trace import read_trace

    sources = {job.name: provenance(read_trace(job.trace), job.overlay, job.board) for job in rows}
    write_record(out, record, sources, None)


def _show(rows: "Sequence[Job]", found: list[dict[str, Any]]) -> None:
    from skipopu.results import kv_text
    from skipopu.results.kv_configurations import table

    first = found[0]
    peak = f"{first['peak_bandwidth'] / 1e9:.1f} GB/s"
    say(f"K/V reads alone on {rows[0].overlay.name}, {first['memory']['hbm_ports']} HBM ports, peak {peak}")
    say(kv_text.simulated(first))
    say("effective: bytes of K/V taken by attention over the time of its reads; physical: bytes from HBM over it\n")
    for name, facts in {job.trace_name: row["trace"] for job, row in zip(rows, found, strict=True)}.items():
        say(kv_text.trace_line(name, facts))
    say("\n" + table(found))
