"""Co-simulation of the whole NPE: routed tokens, scores, statistics, probabilities and norms through one block."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.npe_joined_stimulus import TILES, RowBlock, row_blocks
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.npe.npe import ROWS, Npe
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.npe.result_operation import operation_layout, request_layout
from skipopu.hdl.router import route_layout
from skipopu.hdl.tile_loop import ROW_REQUEST
from skipopu.numerics.normalization import rms_norm
from skipopu.numerics.softmax import NEGATIVE_INFINITY, add_scores, probabilities, softmax_state
from skipopu.program.isa import Gate
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.npe_joined_bench"
EPSILON = 1e-5
HEADS = 2
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
    difference = _compare(work, overlay, testbench.outputs(_inputs(work, overlay)))
    counts = [len(b.executed) for b in work]
    tiles = sum((b.visible.shape[0] * HEADS + len(b.x)) * len(b.executed) for b in work)
    return NpeJoinedRun(
        overlay.name, blocks, sum(len(b.logits) for b in work), sum(counts), tiles, testbench.build_seconds,
        testbench.run_seconds, difference,
    )  # fmt: skip


def _inputs(work: Sequence[RowBlock], overlay: Overlay) -> dict[str, Any]:
    dot, lanes = overlay.pe_array.dot_length, min(overlay.pe_array.columns, overlay.npe.lanes)
    settle = overlay.route_latency + overlay.result_latency + overlay.npe.inverse_latency + overlay.npe.operand_latency
    some = [b for b in work if len(b.executed)]
    return {
        "read_stages": overlay.global_buffer.read_stages, "rest": settle,
        "padding": np.array(sum(NEGATIVE_INFINITY << 16 * k for k in range(dot - lanes)), object).astype(str),
        "blocks": [_counts(b) for b in work],
        "operations": _bytes(word for b in work for word in _operations(b, overlay)),
        "routes": _bytes(word for b in work for word in _routes(b, overlay)),
        "sums": _rows(np.concatenate([s.reshape(-1, s.shape[-1]) for b in work for s in (b.logits, b.scores)])),
        "visible": np.concatenate([_visible(b) for b in work]),
        "requests": _bytes(word for b in some for word in _requests(b)),
        "tiles": _rows(np.concatenate([b.x.reshape(-1, dot) for b in some])),
        "gamma": _rows(np.concatenate([b.gamma for b in some])),
        "scale": _constant(1), "share": _constant(1 / (TILES * dot)),
        "epsilon": _constant(EPSILON),
    }  # fmt: skip


def _rows(numbers: Numbers) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)


def _constant(value: float) -> NDArray[np.uint8]:
    return _rows(np.array([[value]], np.float32))


def _bytes(words: Iterator[int]) -> NDArray[np.uint8]:
    size = 32
    return np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8).reshape(-1, size)


def _counts(b: RowBlock) -> list[int]:
    entries = [s.shape[0] * s.shape[1] for s in (b.logits, b.scores.reshape(-1, *b.scores.shape[2:]))]
    return [b.mask, *entries, len(b.scores), len(b.executed), len(b.x)]


def _visible(b: RowBlock) -> NDArray[np.uint8]:
    """A word a request: of the logits, which nobody looks at, then of the scores."""
    lanes = b.visible.shape[-1]
    scores = b.visible.reshape(-1, lanes)
    every = np.concatenate([np.ones((len(b.logits), lanes), np.bool_), scores])
    return np.packbits(every, axis=1, bitorder="little")


def _operations(b: RowBlock, overlay: Overlay) -> Iterator[int]:
    layout, rows = operation_layout(overlay), len(b.executed)
    slots = b.logits.shape[1]
    same = {"slots": slots, "round_blocks": 1, "rotary_words": 1}
    yield _word(layout, {"rows": len(b.logits), "blocks": 1, "words": 1, "route": 1} | same)
    if not rows:
        return
    gated = {"gate": int(Gate.ATTENTION), "mask": b.mask, "bank": b.mask}
    scores = {"rows": rows, "blocks": len(b.scores), "words": HEADS, "split": 1, "masked": 1, "statistics": 1}
    yield _word(layout, scores | same | gated)
    plain = {"rows": rows, "heads": 1, "parts": 1}
    probability = {"mode": Mode.PROBABILITY, "depth": len(b.scores) * HEADS, "heads": HEADS, "bank": b.mask}
    yield _word(OPERAND_OPERATION, plain | probability)
    yield _word(OPERAND_OPERATION, plain | {"statistics": Statistics.SUMS, "depth": len(b.x)})
    yield _word(OPERAND_OPERATION, plain | {"mode": Mode.NORMALIZE, "depth": len(b.x)})


def _routes(b: RowBlock, overlay: Overlay) -> Iterator[int]:
    yield _word(route_layout(overlay), {"gates": 1, "mask": b.mask, "rows": len(b.logits)})
    yield _word(ROWS, {"gate": int(Gate.ATTENTION), "mask": b.mask})


def _requests(b: RowBlock) -> Iterator[int]:
    for depth in (len(b.scores) * HEADS, len(b.x), len(b.x)):
        for tile in range(depth):
            for row in range(len(b.executed)):
                yield _word(ROW_REQUEST, {"tile": tile, "row": row})


def _word(layout: data.StructLayout, fields: dict[str, int]) -> int:
    return int(layout.const({name: int(value) for name, value in fields.items()}).as_bits())


def _compare(work: Sequence[RowBlock], overlay: Overlay, found: Arrays) -> Difference | None:
    """Lists, then what was read by them, then the numbers."""
    dot, lanes = overlay.pe_array.dot_length, min(overlay.pe_array.columns, overlay.npe.lanes)
    counts = np.array([len(b.executed) for b in work])
    raw = np.ascontiguousarray(found["result"][:, : 2 * lanes]).view(np.uint16).reshape(-1, lanes)
    expected = _expected(work, raw, overlay)
    lane = tuple(f"lane {k}" for k in range(dot))

    def numbers(name: str) -> Numbers:
        return np.ascontiguousarray(found[name][:, : 2 * dot]).view(np.uint16).reshape(-1, dot)

    return (
        first_difference("row block", counts[:, None], _integers(found["executed"]), ("executed",))
        or first_difference("request", _indices(work), _field(found["request"], request_layout(overlay)), ("index",))
        or first_difference("read", _reads(work), _integers(found["read"]), ("index",))
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


def _indices(work: Sequence[RowBlock]) -> Numbers:
    """Rows of the block behind every request: all of them for logits, those that execute for scores."""
    every = [(np.arange(len(b.logits)), np.tile(np.repeat(b.executed, HEADS), len(b.scores))) for b in work]
    return np.concatenate([part for pair in every for part in pair])[:, None]


def _reads(work: Sequence[RowBlock]) -> Numbers:
    """Rows of the block behind every read of scores, row tiles for their sums (not looked at), row tiles."""
    found = []
    for b in work:
        rows = b.executed
        summed = np.zeros(len(rows) * len(b.x), np.int64)
        found += [np.tile(rows, HEADS * len(b.scores)), summed, np.tile(rows, len(b.x))]
    return np.concatenate(found)[:, None]


def _expected(work: Sequence[RowBlock], raw: Numbers, overlay: Overlay) -> tuple[Numbers, Numbers]:
    """Probabilities of the raw scores that left, and normalised row tiles."""
    dot, at, shares, norms = overlay.pe_array.dot_length, 0, [], []
    for b in work:
        rounds, rows = len(b.scores), len(b.executed)
        if not rows:
            continue
        left = raw[at : at + rounds * rows * HEADS].reshape(rounds, rows, HEADS, -1)
        at += rounds * rows * HEADS
        padded = np.full((*left.shape[:-1], dot), NEGATIVE_INFINITY, np.uint16)
        padded[..., : left.shape[-1]] = left
        tiles = padded.transpose(0, 2, 1, 3).reshape(rounds, HEADS * rows, dot)  # round, head, row
        state = softmax_state(HEADS * rows)
        for tile in tiles:
            add_scores(state, tile)
        shares += [probabilities(state, tile) for tile in tiles]
        x, gamma = b.x.transpose(1, 0, 2).reshape(rows, -1), b.gamma.reshape(-1)
        normal = rms_norm(x, gamma, EPSILON, dot)
        norms.append(normal.reshape(rows, -1, dot).transpose(1, 0, 2).reshape(-1, dot))
    return np.concatenate(shares), np.concatenate(norms)

