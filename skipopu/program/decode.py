"""Decode: one token, every intermediate on chip, weights and K/V streamed once."""

import numpy as np

from skipopu.program.block import Block
from skipopu.program.blocking import Places
from skipopu.program.emitter import OUTSIDE, Emitter
from skipopu.program.experts import emit_chosen, emit_experts
from skipopu.program.factors import RANK, projection_of
from skipopu.program.heads import emit_row_heads
from skipopu.program.kv_transfers import append_kv
from skipopu.program.nonlinear import emit_norm
from skipopu.program.part_matrices import part_places
from skipopu.program.products import (
    emit_context,
    emit_ffn_input,
    emit_projection,
    emit_residual_part,
    emit_scores,
    ends_projection,
)
from skipopu.program.routing import route
from skipopu.program.stand_ins import emit_stand_in, has_stand_in
from skipopu.spec.ledger import Part


def emit_decode(e: Emitter, step: int, block: Block) -> None:
    """Emit one decode step, of the one token of ``block``."""
    token = int(e.c.passes.tokens[block.first])
    e.places, e.decode, e.b.step = _places(e, block.rounds), True, step
    e.enter(block, OUTSIDE)
    embedding = token if not e.c.shape.rotary else _token_id(e, token)
    e.load("embedding", embedding * e.c.memory.strides.row, "x", e.places["x"], 1, e.c.tiles.x)
    e.rotary(block.first, 1)
    for layer in np.flatnonzero(e.c.passes.present[block.number, : e.c.trace.layers]).tolist():
        e.b.layer = layer
        if e.c.runs("q", block.number, layer):
            e.b.part = Part.ROUTER
            route(e, "attention", "x", e.places["x"], 1)
            _attention(e)
        if has_stand_in(e, "attention"):
            emit_stand_in(e, "attention", 1)
        if e.c.runs("ffn", block.number, layer):
            e.b.part = Part.FFN_ROUTER
            route(e, "ffn", "x", e.places["x"], 1)
            _ffn(e)
    emit_row_heads(e, step)


def _places(e: Emitter, rounds: int) -> Places:
    d, t = e.c.shape.dimensions, e.c.tiles
    places = Places(e.c.overlay, f"sequence of {e.c.trace.tokens} tokens")
    for name, tiles in (
        ("x", t.x),
        ("xn", t.x),
        ("q", t.q),
        ("k", t.kv),
        ("v", t.kv),
        ("o", t.q),
        ("h", t.ffn),
        (RANK, t.rank),
    ):
        places.add(name, tiles)
    for name, tiles in part_places(e.c.lists, e.c.overlay).items():
        places.add(name, tiles)
    places.add("router", t.router).add("logits", -(-e.most_channels // e.c.overlay.pe_array.dot_length))
    return places.add("scores", d.attention_heads * rounds)


def _token_id(e: Emitter, token: int) -> int:
    ids = e.c.trace.token_ids
    return int(ids[token]) if ids is not None else 0


def _attention(e: Emitter) -> None:
    p, gate = e.places, e.gate("attention", e.b.layer)
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else gate
    emit_norm(e, Part.NORM, kv_gate, "x", "xn", 1)
    normalize, attended = int(e.fused), False
    for name, first, count, held in e.projections("k", "v", "q", "o"):
        projection = projection_of(name)
        if projection == "o":
            if not attended:
                _attend(e, gate)
                attended = True
            e.b.part = Part.OUTPUT
            emit_residual_part(e, name, held, gate, "o", first, count, 1)
            continue
        own = e.group_gate("attention", first // count) if projection == "q" else kv_gate
        places = ("x", "xn", projection)
        emit_projection(e, name, held, own, first, count, places, 1, normalize)
        normalize = 0
        if projection != "q" and ends_projection(e, name, first + count):
            append_kv(e, int(projection == "v"), projection, p[projection], 1, kv_gate)


def _attend(e: Emitter, gate: dict[str, int]) -> None:
    """All pairs of key/value heads at once, or pair by pair where the token may ask some of them only."""
    if not e.c.listed("attention", e.b.layer):
        emit_scores(e, e.visible, gate, 0, e.pairs, "q", "scores", 1)
        emit_context(e, e.visible, gate, 0, e.pairs, "scores", "o", 1)
        return
    for pair in range(e.pairs):
        q, scores, o = (e.places.share(name, pair, e.pairs) for name in ("q", "scores", "o"))
        emit_scores(e, e.visible, e.pair_gate(pair), pair, 1, q, scores, 1)
        emit_context(e, e.visible, e.pair_gate(pair), pair, 1, scores, o, 1)


def _ffn(e: Emitter) -> None:
    if e.c.lists.has_experts(e.b.layer):
        emit_experts(e, "x", "xn", 1)
        emit_chosen(e, "xn", "x", 1)
        return
    gate = e.gate("ffn", e.b.layer)
    emit_ffn_input(e, gate, "x", "xn", "h", 1)
    for name, first, count, held in e.projections("down"):
        emit_residual_part(e, name, held, gate, "h", first, count, 1)
    if has_stand_in(e, "ffn"):
        emit_stand_in(e, "ffn", 1)
