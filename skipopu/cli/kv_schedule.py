"""The single-trace half of `skipopu kv`: which rounds are shown, and what is printed and written."""

import json as json_text
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.cli.terminal import say
from skipopu.spec.error import SpecError

if TYPE_CHECKING:
    from skipopu.program.context import Context
    from skipopu.results.kv_reads import KvReads
    from skipopu.results.kv_rounds import LayerRounds
    from skipopu.spec.board import Board

FIRST_LAYERS = 4  # listed and drawn unless --layers says otherwise


def schedule(context: "Context", phase: str, step: int | None, layers: str | None) -> "tuple[int, list[LayerRounds]]":
    """Return the number of the shown pass of ``phase``, by default the last, and the rounds of its shown layers."""
    from skipopu.results.kv_reads import passes_of
    from skipopu.results.kv_rounds import rounds_of

    passes = passes_of(context, phase)
    number = len(passes) - 1 if step is None else step
    if not 0 <= number < len(passes):
        raise SpecError(f"--step {step}: the trace has {len(passes)} {phase} passes; must be in 0..{len(passes) - 1}")
    count = context.trace.layers
    shown = list(range(min(FIRST_LAYERS, count))) if layers is None else parse_layers(layers, count)
    return number, rounds_of(context, int(passes[number]), shown)


def parse_layers(text: str, count: int) -> list[int]:
    """Parse ``0-3,7`` into layer numbers in order; SpecError unless all are in 0..count-1."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.strip().isdecimal() or (dash and not last.strip().isdecimal()):
            raise SpecError(f"--layers {text}: {part!r} is no layer; expected numbers and ranges, e.g. 0-3,7")
        ends = int(first), int(last if dash else first)
        if ends[0] > ends[1] or ends[1] >= count:
            raise SpecError(f"--layers {text}: {part!r}; the model has layers 0..{count - 1}, expected e.g. 0-1")
        found.update(range(ends[0], ends[1] + 1))
    return sorted(found)


def finish(
    reads: "KvReads", board: "Board", number: int, found: "list[LayerRounds]", rounds: bool, out: Path | None,
    json: bool,
) -> None:  # fmt: skip
    """Write the directory, then print ``kv.json`` or the figures, with ``rounds`` the round list."""
    from skipopu.results.kv_record import kv_record, write_record
    from skipopu.results.provenance import provenance

    record = kv_record(reads, number, found)
    if out is not None:
        sources = provenance(reads.context.trace, reads.context.overlay, board)
        write_record(out, record, sources, _picture(reads, record, found))
    if json:
        sys.stdout.write(json_text.dumps(record, indent=1, ensure_ascii=False) + "\n")
        return
    _show(reads, record, found, rounds)
    if out is not None:
        from skipopu.results.kv_record import PICTURE

        say(f"picture: {out / PICTURE}")


def _picture(reads: "KvReads", record: dict[str, Any], found: "list[LayerRounds]") -> str:
    from skipopu.results.compare import title
    from skipopu.results.kv_picture import Lanes, schedule_picture

    spread = bool(reads.context.limits.spread)
    hbm = reads.context.limits.tokens if spread else reads.context.limits.ports
    lanes = Lanes(hbm, reads.context.limits.buffer_ports, spread)
    return schedule_picture(found, lanes, f"K/V rounds of {_shown(record)}: {title(record)}")


def _shown(record: dict[str, Any]) -> str:
    from skipopu.results.kv_text import PASSES

    what = record["schedule"]
    return f"{PASSES[record['phase']]} {what['pass']:,} (token {what['token']:,})"


def _show(reads: "KvReads", record: dict[str, Any], found: "list[LayerRounds]", rounds: bool) -> None:
    from skipopu.results import kv_text
    from skipopu.results.kv_rounds import LEGEND, listed

    for line in kv_text.heading(record):
        say(line)
    say("")
    say(kv_text.figures_text(record))
    say("\nthe cache of the whole trace, for the same masks (reads: of layers whose query executes):")
    say(kv_text.storage_text(record["storage"]))
    if rounds:
        say(f"\nrounds of {_shown(record)}")
        for line in (line for layer in found for line in listed(layer, bool(reads.context.limits.spread))):
            say(line)
        for line in LEGEND:
            say(line)
    say(f"\naudit: {len(reads.checks)} checks, none failed")
