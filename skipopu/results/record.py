"""A result as its directory holds it: enough to draw the report again without the trace or a simulation.

``run.safetensors`` keeps the raw integers of the run and the bits of the skip map; the retire stream is
``events.parquet``, and the rest is JSON.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skipopu.results.check import Check
from skipopu.sim.run import KvCount, Retired, Run

ARRAYS = ("ledger", "parts", "traffic", "asked", "windows", "step_end", "semaphores", "npe", "macs")
ROWS: tuple[Literal["q"], Literal["kv"], Literal["ffn"]] = ("q", "kv", "ffn")
HEADER = "record"


@dataclass(frozen=True)
class Record:
    """What is drawn and compared.

    ``rows``: for "q", "kv", "ffn" which token executes in which layer, bool [layers, tokens].
    ``first_decode_step``, ``first_decode_token``: where decode begins; past the end where there is none.
    ``dense``: the summary of the same model without skipping, or None.
    """

    run: Run
    summary: Mapping[str, Any]
    provenance: Mapping[str, Any]
    checks: tuple[Check, ...]
    rows: Mapping[str, NDArray[np.bool_]]
    first_decode_step: int
    first_decode_token: int
    opcodes: Mapping[int, str]
    dense: Mapping[str, Any] | None = None


def save_arrays(path: Path, record: Record) -> None:
    """Write ``run.safetensors``: every array of the run but the retire stream, and the packed skip map."""
    from safetensors.numpy import save

    arrays = {name: np.ascontiguousarray(getattr(record.run, name)) for name in ARRAYS}
    arrays |= {f"rows.{name}": np.packbits(record.rows[name], axis=1) for name in ROWS}
    # one metadata entry: safetensors keeps several in no fixed order
    path.write_bytes(save(arrays, metadata={HEADER: json.dumps(_header(record), sort_keys=True)}))


def load_arrays(path: Path, retired: Retired) -> tuple[Run, Mapping[str, NDArray[np.bool_]]]:
    """Read ``run.safetensors`` back; return the run with ``retired`` in place, and the rows."""
    from safetensors.numpy import load_file

    arrays, header = load_file(path), load_header(path)
    tokens = int(header["tokens"])
    rows: dict[str, NDArray[np.bool_]] = {
        name: np.unpackbits(arrays[f"rows.{name}"], axis=1, count=tokens).astype(np.bool_) for name in ROWS
    }
    scalars = {**header["run"], "kv": KvCount(**header["kv"]), "warnings": tuple(header["warnings"])}
    return Run(**scalars, **{name: arrays[name] for name in ARRAYS}, retired=retired), rows


def load_header(path: Path) -> dict[str, Any]:
    """Read what ``run.safetensors`` says of itself, without its arrays."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        header: dict[str, Any] = json.loads((file.metadata() or {})[HEADER])
    return header


def _header(record: Record) -> dict[str, Any]:
    run = record.run
    return {
        "run": {
            name: getattr(run, name)
            for name in ("engine", "core_cycles", "prefill_cycles", "window_cycles", "dram")
        },
        "kv": dataclasses.asdict(run.kv),
        "warnings": list(run.warnings),
        "checks": [dataclasses.asdict(check) for check in record.checks],
        "opcodes": {str(number): name for number, name in record.opcodes.items()},
        "tokens": int(record.rows["q"].shape[1]),
        "first_decode_step": record.first_decode_step,
        "first_decode_token": record.first_decode_token,
        "dense": record.dense,
    }
