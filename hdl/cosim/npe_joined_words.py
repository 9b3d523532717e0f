"""Row blocks for the whole NPE as the words that its bench puts on the ports."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from amaranth.lib import data
from numpy.typing import NDArray

from skipopu.hdl.cosim.npe_joined_stimulus import HEADS, TILES, RowBlock
from skipopu.hdl.cosim.npe_results_words import entry_words
from skipopu.hdl.npe.npe import ROWS
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.npe.result_operation import lanes_of, operation_layout
from skipopu.hdl.router import route_layout
from skipopu.hdl.tile_loop import ROW_REQUEST
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.program.isa import Gate
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import Overlay

EPSILON = 1e-5
BITS = 8  # of a byte
Numbers = NDArray[Any]


def bench_inputs(work: Sequence[RowBlock], overlay: Overlay) -> dict[str, Any]:
    """Return the arrays of the bench."""
    dot, lanes = overlay.pe_array.dot_length, lanes_of(overlay)
    settle = overlay.route_latency + overlay.result_latency + overlay.npe.inverse_latency + overlay.npe.operand_latency
    some = [b for b in work if len(b.executed)]
    return {
        "read_stages": overlay.global_buffer.read_stages, "rest": settle,
        "padding": np.array(sum(NEGATIVE_INFINITY << 16 * k for k in range(dot - lanes)), object).astype(str),
        "blocks": [_counts(b) for b in work],
        "operations": _bytes(word for b in work for word in _operations(b, overlay)),
        "routes": _bytes(word for b in work for word in _routes(b, overlay)),
        "sums": np.concatenate([entry_words(sums) for b in work for sums in _sums(b, overlay)]),
        "visible": np.concatenate([_visible(b) for b in work]),
        "requests": _bytes(word for b in some for word in _requests(b)),
        "tiles": _rows(np.concatenate([b.x.reshape(-1, dot) for b in some])),
        "gamma": _rows(np.concatenate([b.gamma for b in some])),
        "scale": _constant(1), "share": _constant(1 / (TILES * dot)),
        "epsilon": _constant(EPSILON),
    }  # fmt: skip


def _sums(b: RowBlock, overlay: Overlay) -> Iterator[Numbers]:
    """Of either operation, [blocks, rows, slots, columns]; there may be no scores."""
    for sums in (b.logits[None], b.scores):
        if sums.size:
            yield sums.astype(f"u{FORMATS[overlay.psum.format].bits // BITS}")


def _rows(numbers: Numbers) -> NDArray[np.uint8]:
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)


def _constant(value: float) -> NDArray[np.uint8]:
    return _rows(np.array([[value]], np.float32))


def _bytes(words: Iterable[int]) -> NDArray[np.uint8]:
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
    same = {"slots": slots, "round_blocks": 1, "rotary_words": 1, "rotary_stride": 1}
    yield _word(layout, {"rows": len(b.logits), "list_rows": len(b.logits), "words": 1, "route": 1} | same)
    if not rows:
        return
    gated = {"gate": int(Gate.ATTENTION), "mask": b.mask, "bank": b.mask}
    scores = {"rows": rows, "list_rows": rows, "words": HEADS, "split": 1, "masked": 1, "statistics": 1}
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
