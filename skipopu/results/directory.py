"""Result directories: everything a run leaves for its reader, and back."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.results import events, timeline
from skipopu.results.check import Check
from skipopu.results.place import check_place, replacing, replacing_file
from skipopu.results.record import Record, load_arrays, load_header, save_arrays
from skipopu.results.summary import SCHEMA
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.results.result import Result

SUMMARY, EVENTS, TIMELINE = "summary.json", "events.parquet", "timeline.json"
REPORT, PROVENANCE, RUN = "report.html", "provenance.json", "run.safetensors"
FILES = frozenset((SUMMARY, EVENTS, TIMELINE, REPORT, PROVENANCE, RUN))


def check_writable(directory: Path) -> None:
    """Raise SpecError unless ``directory`` can be made or holds an earlier result and nothing else.

    Call it before a long simulation, so that a wrong path costs nothing.
    """
    check_place(Path(directory), FILES)


def write_result(directory: Path, result: "Result", dense: "Result | None" = None) -> None:
    """Write every file of ``result`` to ``directory``, replacing an earlier result there.

    ``dense``: the same model without skipping, for the report to compare with. Raises SpecError when the
    directory holds anything else, or cannot be written. An interrupt leaves what was there before.
    """
    check_writable(directory)
    record = result.record(dense)
    with replacing(Path(directory)) as aside:
        write_json(aside / SUMMARY, record.summary)
        write_json(aside / PROVENANCE, record.provenance)
        save_arrays(aside / RUN, record)
        events.write(aside / EVENTS, result.to_polars())
        timeline.write(aside / TIMELINE, record)
        _write_report(aside / REPORT, record)


def read_result(directory: Path) -> Record:
    """Read a directory that `write_result` wrote; SpecError names what is missing or unreadable."""
    directory = Path(directory)
    summary = read_summary(directory)
    header = _read(directory / RUN, load_header)
    opcodes = {int(number): name for number, name in header["opcodes"].items()}
    retired = _read(directory / EVENTS, lambda path: events.read(path, opcodes))
    run, rows = _read(directory / RUN, lambda path: load_arrays(path, retired))
    return Record(
        run=run,
        summary=summary,
        provenance=_read(directory / PROVENANCE, _json),
        checks=tuple(Check(**check) for check in header["checks"]),
        rows=rows,
        first_decode_step=header["first_decode_step"],
        first_decode_token=header["first_decode_token"],
        opcodes=opcodes,
        dense=header["dense"],
    )


def read_summary(directory: Path) -> dict[str, Any]:
    """Read ``summary.json`` alone; SpecError where there is none or it has another schema."""
    path = Path(directory) / SUMMARY
    summary: dict[str, Any] = _read(path, _json)
    if not isinstance(summary, dict) or summary.get("schema") != SCHEMA:
        raise SpecError(f"{path}: not a result of schema {SCHEMA}; write it again with skipopu sim")
    return summary


def rewrite_report(directory: Path) -> Path:
    """Draw ``report.html`` of a result directory again and return its path."""
    record, path = read_result(directory), Path(directory) / REPORT
    with replacing_file(path) as aside:
        _write_report(aside, record)
    return path


def write_picture(path: Path, svg: str) -> None:
    """Write one SVG file, aside and then renamed; SpecError where that cannot be."""
    with replacing_file(path) as aside:
        aside.write_text(svg, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write readable JSON; keys keep their order, numbers that are not finite are refused."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _write_report(path: Path, record: Record) -> None:
    from skipopu.results.report import report

    path.write_text(report(record), encoding="utf-8")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    """Read one file of a result, or say which one is missing or broken."""
    try:
        return reader(path)
    except (FileNotFoundError, NotADirectoryError):
        raise SpecError(f"{path}: no such file; {path.parent} is no result of skipopu sim") from None
    except Exception as error:  # each format has its own errors for a damaged file
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SpecError(f"{path}: unreadable ({reason}); write it again with skipopu sim") from None
