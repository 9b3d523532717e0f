"""Co-simulation of the whole NPE: routed tokens, scores, statistics, probabilities and norms through one block."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.npe_joined_expected import expected_numbers, indices, reads
from skipopu.hdl.cosim.npe_joined_stimulus import HEADS, RowBlock, row_blocks
from skipopu.hdl.cosim.npe_joined_words import bench_inputs
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.npe.npe import Npe
from skipopu.hdl.npe.result_operation import lanes_of, request_layout
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.npe_joined_bench"
Numbers = NDArray[Any]


@dataclass(frozen=True)
class NpeJoinedRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    row_blocks: int
    tokens: int
    executed: int
    tiles: int  # of probabilities and of normalised rows
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, blocks: int, seed: int, *, block: Npe | None = None, waves: Path | None = None
) -> NpeJoinedRun:
    """Run ``blocks`` row blocks through ``block`` (default: the NPE of ``overlay``) and numerics."""
    testbench = Testbench(block or Npe(overlay=overlay), BENCH, waves=waves)
    work = row_blocks(overlay, blocks, np.random.default_rng(seed))
    difference = _compare(work, overlay, testbench.outputs(bench_inputs(work, overlay)))
    counts = [len(b.executed) for b in work]
    tiles = sum((b.visible.shape[0] * HEADS + len(b.x)) * len(b.executed) for b in work)
    return NpeJoinedRun(
        overlay.name, blocks, sum(len(b.logits) for b in work), sum(counts), tiles, testbench.build_seconds,
        testbench.run_seconds, difference,
    )  # fmt: skip


def _compare(work: Sequence[RowBlock], overlay: Overlay, found: Arrays) -> Difference | None:
    """Lists, then what was read by them, then the numbers."""
    dot, lanes = overlay.pe_array.dot_length, lanes_of(overlay)
    counts = np.array([len(b.executed) for b in work])
    raw = np.ascontiguousarray(found["result"][:, : 2 * lanes]).view(np.uint16).reshape(-1, lanes)
    expected = expected_numbers(work, raw, overlay)
    lane = tuple(f"lane {k}" for k in range(dot))

    def numbers(name: str) -> Numbers:
        return np.ascontiguousarray(found[name][:, : 2 * dot]).view(np.uint16).reshape(-1, dot)

    return (
        first_difference("row block", counts[:, None], _integers(found["executed"]), ("executed",))
        or first_difference("request", indices(work), _field(found["request"], request_layout(overlay)), ("index",))
        or first_difference("read", reads(work), _integers(found["read"]), ("index",))
        or first_difference("probabilities", expected[0], numbers("probabilities"), lane)
        or first_difference("normalized", expected[1], numbers("normalized"), lane)
    )


def _integers(rows: NDArray[np.uint8]) -> Numbers:
    return np.ascontiguousarray(rows[:, :8]).view(np.int64)


def _field(rows: NDArray[np.uint8], layout: Any) -> Numbers:
    """The ``index`` of request payloads."""
    field = layout["index"]
    found = [int.from_bytes(row.tobytes(), "little") >> field.offset & (1 << field.width) - 1 for row in rows]
    return np.array(found, np.int64)[:, None]
