"""`kv.json` and the directory of `skipopu kv`: figures, storage, one schedule and its picture, provenance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from skipopu.results.directory import PROVENANCE, write_json
from skipopu.results.kv_reads import passes_of
from skipopu.results.kv_rounds import LayerRounds, columns
from skipopu.results.kv_storage import storage
from skipopu.results.place import check_place, replacing
from skipopu.trace.summary import decode_tokens

if TYPE_CHECKING:
    from skipopu.results.kv_reads import KvReads
    from skipopu.trace import Trace

KV_SCHEMA = 1
RECORD, PICTURE = "kv.json", "schedule.svg"
FILES = frozenset((RECORD, PICTURE, PROVENANCE))


def trace_facts(trace: "Trace") -> dict[str, Any]:
    """Return what identifies a trace, under the names of `summary.json`, and how it skips attention.

    ``rho``: correlation of decisions in consecutive layers, None where no generator made them.
    """
    header, decode = trace.header, decode_tokens(trace)
    return {
        "sha256": trace.sha256, "family": header.family, "shape": header.shape.name,
        "prompt_tokens": trace.tokens - decode, "decode_tokens": decode, "kv_policy": str(header.kv_policy),
        "attention_skip": float(trace.summary()["attention_skip"]), "rho": header.provenance.knobs.get("rho"),
    }  # fmt: skip


def kv_record(reads: "KvReads", step: int, layers: Sequence[LayerRounds]) -> dict[str, Any]:
    """Return `kv.json`: the figures of the streamed passes, and the schedule of ``layers`` in pass ``step``."""
    context = reads.context
    record = {"schema": KV_SCHEMA, "overlay": context.overlay.name, "trace": trace_facts(context.trace)}
    return record | reads.figures | {
        "storage": storage(context),
        "schedule": {"pass": step, "token": newest_token(reads, step), "layers": [columns(found) for found in layers]},
        "audit": {"checks": len(reads.checks), "failed": 0},
    }  # fmt: skip


def check_writable(directory: Path) -> None:
    """Raise SpecError unless ``directory`` can be made or holds an earlier result of `skipopu kv` only."""
    check_place(directory, FILES)


def write_record(
    directory: Path, record: Mapping[str, Any], provenance: Mapping[str, Any], picture: str | None
) -> None:
    """Write the directory aside and let it take the place of an earlier one."""
    with replacing(directory) as aside:
        write_json(aside / RECORD, record)
        write_json(aside / PROVENANCE, provenance)
        if picture is not None:
            (aside / PICTURE).write_text(picture, encoding="utf-8")


def newest_token(reads: "KvReads", step: int) -> int:
    """Number of the last token of the pass that has number ``step`` in its phase."""
    passes = reads.context.passes
    index = passes_of(reads.context, reads.figures["phase"])[step]
    return int(passes.tokens[passes.first[index] + passes.rows[index] - 1])
