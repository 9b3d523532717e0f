"""Decode: one token, every intermediate on chip, weights and K/V streamed once."""

import numpy as np

from skipopu.program.block import Block
from skipopu.program.blocking import Places
from skipopu.program.builder import Region
from skipopu.program.emitter import OUTSIDE, Emitter, Held
from skipopu.program.isa import Opcode, Post
from skipopu.program.nonlinear import emit_norm, emit_softmax, maximum_region, statistics_bank
from skipopu.spec.ledger import Part

ACTIVATIONS = {"swiglu": Post.SWIGLU, "gelu": Post.GELU, "relu": Post.RELU}


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
            e.route("attention", "x", e.places["x"], 1)
            _attention(e)
        if e.c.runs("ffn", block.number, layer):
            e.b.part = Part.FFN
            e.route("ffn", "x", e.places["x"], 1)
            _ffn(e)
    if e.c.logit_rows[step]:
        emit_head(e, "x", e.places["x"])


def emit_head(e: Emitter, place: str, source: int) -> None:
    """Final norm and LM head of the row at ``source``; the logits go to DDR4."""
    e.b.layer, e.b.part = -1, Part.OUTSIDE
    e.route("final", place, source, 1)
    emit_norm(e, Part.OUTSIDE, {}, place, "xn", 1)
    tile, dot, normalize = e.c.overlay.tile_bytes, e.c.overlay.pe_array.dot_length, int(e.fused)
    for name, first, count, held in e.projections("lm_head", layer=-1):
        target = e.places["logits"]
        reads, writes, fields = _normalized(e, place, "xn", normalize, count)
        e.matmul(
            name, held, {}, reads, ["logits", "next_token", *writes], first=first, count=count, layer=-1,
            target=target, rows=1, **(fields | ({"source": source} if normalize else {})),
        )  # fmt: skip
        e.store("logits", first // dot * tile, "logits", target, 1, -(-count // dot))
        normalize = 0


def _normalized(
    e: Emitter, x: str, xn: str, normalize: int, columns: int
) -> tuple[list[Region], list[Region], dict[str, int]]:
    """Regions and fields of a product whose input is X, normalised on its way into ``xn``, or what is there already.

    The second column block waits until all is written back; after a product of one the next operation has to.
    """
    written: list[Region] = [xn] if normalize and columns <= e.c.overlay.pe_array.columns else []
    source = x if normalize else xn
    return [source], written, {"source": e.places[source], "operand": e.places[xn], "normalize": normalize}


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
    ):
        places.add(name, tiles)
    places.add("router", t.router).add("logits", -(-e.most_channels // e.c.overlay.pe_array.dot_length))
    return places.add("scores", d.attention_heads * rounds)


def _token_id(e: Emitter, token: int) -> int:
    ids = e.c.trace.token_ids
    return int(ids[token]) if ids is not None else 0


def _attention(e: Emitter) -> None:
    p, gate = e.places, e.gate("attention", e.b.layer)
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else gate
    pairs = e.pairs
    emit_norm(e, Part.NORM, kv_gate, "x", "xn", 1)
    normalize, attended = int(e.fused), False
    for name, first, count, held in e.projections("k", "v", "q", "o"):
        if name == "o":
            if not attended:
                emit_scores(e, e.visible, gate, 0, pairs, "q", "scores", 1)
                emit_context(e, e.visible, gate, 0, pairs, "scores", "o", 1)
                attended = True
            e.b.part = Part.OUTPUT
            e.matmul(
                name, held, gate, ["o", "x"], ["x"], first=first, count=count, source=p["o"],
                operand=p["x"] + e.part(first, 1), target=p["x"] + e.part(first, 1), rows=1,
                post=int(Post.RESIDUAL),
            )  # fmt: skip
            continue
        emit_projection(e, name, held, gate if name == "q" else kv_gate, first, count, ("x", "xn", name), 1, normalize)
        normalize = 0
        if name != "q" and first + count == e.c.memory.matrices[e.b.layer, name].columns:
            e.append_kv(int(name == "v"), name, p[name], 1, kv_gate)


def emit_projection(
    e: Emitter, name: str, held: Held, gate: dict[str, int], first: int, count: int,
    places: tuple[str, str, str], rows: int, normalize: int,
) -> None:  # fmt: skip
    """Part of the K, V or Q projection; ``places`` are X, normalised X and the result."""
    x, xn, target = places
    e.b.part = Part.PROJECTIONS
    reads, writes, fields = _normalized(e, x, xn, normalize, count)
    e.matmul(
        name, held, gate, reads, [target, *writes], first=first, count=count,
        target=e.places[target] + e.part(first, rows), rows=rows,
        post=int(Post.ROPE if e.c.shape.rotary and name != "v" else Post.NONE), **fields,
    )  # fmt: skip


def emit_scores(
    e: Emitter, tokens: int, gate: dict[str, int], pair: int, pairs: int, q: str, scores: str, rows: int
) -> None:
    """Read K and multiply the queries at place ``q`` with it; raw scores go to place ``scores``."""
    e.b.part = Part.SCORES
    e.read_kv(0, tokens, gate, pair, pairs, rows)
    _kv_product(e, Opcode.SCORES, tokens, gate, pair, pairs, q, scores, rows)


def emit_context(
    e: Emitter, tokens: int, gate: dict[str, int], pair: int, pairs: int, scores: str, o: str, rows: int
) -> None:
    """Read V and multiply the softmax of place ``scores`` with it into place ``o``."""
    emit_softmax(e, tokens, gate, pair, pairs, scores, rows)
    e.b.part = Part.CONTEXT
    e.read_kv(1, tokens, gate, pair, pairs, rows)
    _kv_product(e, Opcode.CONTEXT, tokens, gate, pair, pairs, scores, o, rows)


def _kv_product(
    e: Emitter,
    opcode: Opcode,
    tokens: int,
    gate: dict[str, int],
    pair: int,
    pairs: int,
    source: str,
    target: str,
    rows: int,
) -> None:
    bank = statistics_bank(pair)
    statistics: list[Region] = [maximum_region(bank)] if e.fused else []
    reads: list[Region] = [source, *statistics] if opcode == Opcode.CONTEXT else [source]
    writes: list[Region] = [target] if opcode == Opcode.CONTEXT else [target, *statistics]
    fields = gate | (value_tile(e) if opcode == Opcode.CONTEXT else {})
    e.emit(
        opcode, [*reads, *e.gate_reads(gate)], writes, source=e.places[source], target=e.places[target],
        rows=rows, k_tiles=e.c.tiles.head, tokens=tokens, pair=pair, pairs=pairs,
        group=e.c.shape.queries_per_kv_head, layer=e.b.layer, normalize=int(e.fused), half=bank, **fields,
    )  # fmt: skip


def value_tile(e: Emitter) -> dict[str, int]:
    """V of a head goes through in equal parts, each as wide as the array takes."""
    head = e.c.overlay.head_storage(e.c.shape.dimensions.head_dim)
    columns = e.c.overlay.value_columns(head)
    return {"operand": head // columns, "columns": columns}


def _ffn(e: Emitter) -> None:
    p, gate = e.places, e.gate("ffn", e.b.layer)
    emit_ffn_input(e, gate, "x", "xn", "h", 1)
    for name, first, count, held in e.projections("down"):
        e.matmul(
            name, held, gate, ["h", "x"], ["x"], first=first, count=count, source=p["h"],
            operand=p["x"] + e.part(first, 1), target=p["x"] + e.part(first, 1), rows=1,
            post=int(Post.RESIDUAL),
        )  # fmt: skip


def emit_ffn_input(e: Emitter, gate: dict[str, int], x: str, xn: str, h: str, rows: int) -> None:
    """Up projection with the activation, or interleaved gate and up with SwiGLU, of ``x``, normalised into ``xn``."""
    emit_norm(e, Part.FFN, gate, x, xn, rows)
    normalize, post = int(e.fused), ACTIVATIONS[e.c.shape.dimensions.activation]
    for name, first, count, held in e.projections(e.c.shape.ffn_input):
        reads, writes, fields = _normalized(e, x, xn, normalize, count)
        e.matmul(
            name, held, gate, reads, [h, *writes], first=first, count=count,
            target=e.places[h] + e.part(first, rows, post), rows=rows, post=int(post), **fields,
        )  # fmt: skip
        normalize = 0
