"""What must leave the result path: bits from `numerics`, places from the loops over an operation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_results_events import list_index
from skipopu.hdl.cosim.npe_results_stimulus import Operation
from skipopu.hdl.npe.result_operation import LOGITS, lanes_of, statistics_bits
from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.psum import drain
from skipopu.numerics.result_path import apply_function, hide, numbers, row_words
from skipopu.program.isa import Post
from skipopu.spec.overlay import Overlay

Table = NDArray[np.int64]
FUNCTIONS: dict[int, str] = {int(post): post.name.lower() for post in Post}
PLACE = ("row", "index", "block", "word", "head", "part")
REQUEST = (*PLACE, "last", "bias", "residual", "masked")
WORD = (*PLACE, "last", "masked", "statistics", "statistics_row", "first_round")


class Expected(NamedTuple):
    """Tables with a row for every payload, in order."""

    requests: Table  # `REQUEST`
    results: Table  # lanes, then `WORD`
    logits: Table  # `LOGITS` totals, then the row


def expected(operations: Sequence[Operation], overlay: Overlay, rotary: NDArray[np.uint16]) -> Expected:
    """Return what leaves, operation by operation."""
    parts = [_operation(o, overlay, rotary) for o in operations]
    return Expected(*(np.concatenate(tables) for tables in zip(*parts, strict=True)))


def _operation(o: Operation, overlay: Overlay, rotary: NDArray[np.uint16]) -> Expected:
    place = _places(o, overlay)
    totals = drain(o.sums.reshape(-1, *o.sums.shape[2:]).astype(np.uint32), arithmetic_of(overlay))
    requests = np.stack([place[name] for name in REQUEST], -1)
    lanes = lanes_of(overlay)
    results, logits = np.zeros((0, lanes + len(WORD)), np.int64), np.zeros((0, LOGITS + 1), np.int64)
    if o.use.route:
        logits = np.zeros((len(totals), LOGITS + 1), np.int64)
        logits[:, : min(LOGITS, lanes)] = totals[:, : min(LOGITS, lanes)]
        logits[:, -1] = place["row"][:: o.words]
    else:
        words = _words(o, overlay, rotary, totals, place)
        results = np.concatenate([words, np.stack([place[name] for name in WORD], -1)], axis=1)
    return Expected(requests, results, logits)


def _places(o: Operation, overlay: Overlay) -> dict[str, Any]:
    """Column block, row and word of every word, and what follows from them."""
    block, row, word = (each.ravel() for each in np.indices((o.blocks, o.rows, o.words)))
    head_words = o.words // (1 + o.split)
    head = word // head_words
    statistics_row = block % o.round_blocks * (1 + o.split) * o.rows + head * o.rows + row
    same, last = np.ones(len(row), np.int64), np.arange(len(row)) == len(row) - 1
    return {
        "row": row, "index": list_index(row % o.list_rows), "block": block, "word": word, "head": head,
        "part": word % head_words,
        "last": last, "masked": same * o.use.masked, "statistics": same * o.use.statistics,
        "statistics_row": statistics_row % (1 << statistics_bits(overlay)), "first_round": block < o.round_blocks,
        "bias": same * o.bias, "residual": same * (o.use.function == Post.RESIDUAL),
    }  # fmt: skip


def _words(
    o: Operation, overlay: Overlay, rotary: NDArray[np.uint16], totals: NDArray[np.uint32], place: dict[str, Any]
) -> Table:
    """Results, [words, lanes]."""
    lanes, heads = lanes_of(overlay), 1 + o.split
    flat = row_words(totals, overlay.npe.lanes, heads).reshape(-1, lanes)
    biases = o.biases.reshape(-1, lanes) if o.bias else None
    residuals = o.residuals.reshape(-1, lanes) if o.use.function == Post.RESIDUAL else None
    found = numbers(flat, o.scale.reshape(-1, lanes), biases, residuals)
    position = (place["block"] * o.words + place["word"]) % o.rotary_words
    angles = rotary[(place["index"] * o.rotary_stride + position) % len(rotary)]
    found = apply_function(FUNCTIONS[o.use.function], found, angles[:, : lanes // 2], angles[:, lanes // 2 :])
    if o.use.masked:
        columns = np.ones(overlay.pe_array.columns, np.bool_)
        there = row_words(columns, overlay.npe.lanes, heads)[place["word"]]
        found = hide(found, o.visible.reshape(-1, lanes) & there)
    return found.astype(np.int64)
