"""Emits heads: what is made of the last hidden states of a step, and of visual tokens before the first layer.

Results go to DDR4. What follows from them is the host's: the next token, whether to act or to wait, which visual tokens
stay; its time is not in the simulation. Rows whose embeddings depend on it wait for the products.
"""

from skipopu.program.block import Block
from skipopu.program.blocking import Places
from skipopu.program.ddr_map import words
from skipopu.program.emitter import OUTSIDE, Emitter
from skipopu.program.gathering import Gathering, prefill_places
from skipopu.program.head_matrices import CLASS, DECISION, LM, WORD, asked, searches
from skipopu.program.nonlinear import emit_norm, normalized
from skipopu.program.routing import route
from skipopu.spec.ledger import Part

REGIONS = {LM: "logits", CLASS: "logits", DECISION: "decision", WORD: "similarities"}


def emit_row_heads(e: Emitter, step: int) -> None:
    """Heads of a step of one row, which is at place ``x``."""
    for _, heads in asked(e.c.trace, step, int(e.c.logit_rows[step]), int(e.c.decisions[step])):
        _emit_heads(e, heads, 1, 0)


def emit_last_rows(e: Emitter, step: int, rows: Gathering, held: Block | None) -> None:
    """Heads of the last rows of a step; place ``x`` is left with the block ``held``."""
    end = int(e.c.trace.steps.first_token[step] + e.c.trace.steps.token_count[step])
    for count, heads in asked(e.c.trace, step, int(e.c.logit_rows[step]), int(e.c.decisions[step])):
        done = 0
        for block, first, found in rows.runs(range(end - count, end)):
            for cut in range(0, found, _most_rows(e)):
                own = min(_most_rows(e), found - cut)
                _together(e, block, first + cut, own, block == held)
                _emit_heads(e, heads, own, done)
                held, done = None, done + own


def emit_searches(e: Emitter, step: int, block: Block) -> bool:
    """Products of visual tokens with the embedding table, some rows at a time; whether the step has any.

    The host has written the tokens to ``visual``, in rows as many as are multiplied together.
    """
    at, most, there = 0, _most_rows(e), False
    for event in searches(e.c.trace):
        for first in range(0, event.rows, most) if event.step == step else ():
            rows, there = min(most, event.rows - first), True
            e.enter(block, OUTSIDE)
            e.places = _places(e, rows)
            e.load("visual", (at + first) * e.c.memory.strides.row, "x", e.places["x"], rows, e.c.tiles.x)
            _products(e, WORD, "x", 0, rows, at + first)
        at += event.rows
    return there


def _emit_heads(e: Emitter, heads: tuple[str, ...], rows: int, done: int) -> None:
    """Final norm of the rows at place ``x``, and the products; ``done`` rows of the step came before."""
    e.b.layer, e.b.part = OUTSIDE, Part.OUTSIDE
    route(e, "final", "x", e.places["x"], rows)
    emit_norm(e, Part.OUTSIDE, {}, "x", "xn", rows)
    normalize = int(e.fused)
    for head in heads:
        _products(e, head, "xn", normalize, rows, done)
        normalize = 0


def _products(e: Emitter, head: str, xn: str, normalize: int, rows: int, done: int) -> None:
    """Multiply rows with a head, part by part; in DDR4 the results of a row begin at least a row's results apart."""
    dot, tile, target = e.c.overlay.pe_array.dot_length, e.c.overlay.tile_bytes, e.places["logits"]
    at = done * words(-(-e.c.memory.matrices[OUTSIDE, head].columns // dot) * tile, e.c.overlay)
    for _, first, count, held in e.projections(head, layer=OUTSIDE):
        reads, writes, fields = normalized(e, "x", xn, normalize, count)
        e.matmul(
            head, held, {}, reads, ["logits", "next_token", *writes], first=first, count=count, layer=OUTSIDE,
            target=target, rows=rows, **fields,
        )  # fmt: skip
        e.store(REGIONS[head], at + first // dot * tile * rows, "logits", target, rows, -(-count // dot))
        normalize = 0


def _together(e: Emitter, block: Block, first: int, rows: int, held: bool) -> None:
    """Some rows of a block: their tiles, a block apart in the global buffer, come together by way of DDR4."""
    t, size, strides = e.c.tiles, rows * e.c.overlay.tile_bytes, e.c.memory.strides
    if not held:
        e.enter(block, e.b.layer)
        e.places = prefill_places(e, "last row").add("x", block.rows * t.x)
        e.load("x", block.first * strides.row, "x", e.places["x"], block.rows, t.x)
    e.enter(block, OUTSIDE)
    stride = words(size, e.c.overlay)
    for tile in range(t.x):
        e.store("last", tile * stride, "x", e.places["x"] + tile * block.rows + first, rows, 1)
    e.places = _places(e, rows)
    together = t.x if stride == size else 1
    for tile in range(0, t.x, together):
        e.load("last", tile * stride, "x", e.places["x"] + tile * rows, rows, together)


def _places(e: Emitter, rows: int) -> Places:
    x = rows * e.c.tiles.x
    return prefill_places(e, "LM head").add("x", x).add("xn", x).add("logits", rows * _result_tiles(e))


def _result_tiles(e: Emitter) -> int:
    """Tiles of a row's results of one part of a head."""
    return -(-e.most_channels // e.c.overlay.pe_array.dot_length)


def _most_rows(e: Emitter) -> int:
    """Rows that are multiplied together: what a pass takes, PSUM, the row statistics and the global buffer hold."""
    o = e.c.overlay
    room = o.global_buffer.tiles // (2 * e.c.tiles.x + _result_tiles(e))
    return max(1, min(o.dataflow.row_block, o.psum.entries // o.psum.interleave, o.npe.statistics_rows, room))
