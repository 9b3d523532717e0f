"""Prefill: row blocks through every layer, X, Q, raw scores and O in DDR4 (SkipOPU Algorithms 1 and 2)."""

from collections.abc import Iterator

from skipopu.program.block import Block
from skipopu.program.blocking import heads_of_pass
from skipopu.program.decode import emit_context, emit_ffn_input, emit_head, emit_projection, emit_scores
from skipopu.program.emitter import OUTSIDE, Emitter, Held
from skipopu.program.gathering import Gathering, prefill_places
from skipopu.program.isa import Post
from skipopu.program.nonlinear import emit_norm
from skipopu.program.row_blocks import in_layer
from skipopu.program.scoring import Scoring
from skipopu.spec.ledger import Part

Columns = tuple[str, int, int, Held]  # a part of a weight matrix: name, first column, columns, its scales


def emit_prefill(e: Emitter, step: int, blocks: list[Block]) -> None:
    """Emit a step of many tokens: embeddings to DDR4, layers block by block, then the last row's logits."""
    e.b.step, e.decode = step, False
    homes = {block.number: block for block in blocks}
    rows, scoring, last, held = Gathering(e), Scoring(e, step, homes), blocks[-1], False
    for layer in range(e.c.shape.dimensions.layers):
        held = not scoring.before(layer) and held
        here = [homes[p] for p in in_layer(e.c.passes, list(homes), layer)]
        for block in here:
            if not e.c.passes.present[block.number, :layer].any():
                rows.bring(block)
        scoring.within(layer)
        for block in here:
            last, held = block, _layer(e, block, layer)
        held = not scoring.after(layer) and held
    if e.c.logit_rows[step]:
        _last_row(e, last, held)


def _layer(e: Emitter, block: Block, layer: int) -> bool:
    """Emit a layer of a block; return whether the global buffer is left with its rows."""
    e.enter(block, layer)
    _attention(e, block)
    return _ffn(e, block)


def _last_row(e: Emitter, block: Block, held: bool) -> None:
    """Logits of the last row: its tiles, a block apart in the global buffer, come together by way of DDR4."""
    t, stride, rows = e.c.tiles, e.c.memory.strides.last, block.rows
    if not held:
        e.enter(block, e.b.layer)
        e.places = prefill_places(e, "last row").add("x", rows * t.x)
        e.load("x", block.first * e.c.memory.strides.row, "x", e.places["x"], rows, t.x)
    e.enter(block, OUTSIDE)
    for tile in range(t.x):
        e.store("last", tile * stride, "x", e.places["x"] + tile * rows + rows - 1, 1, 1)
    places = prefill_places(e, "LM head").add("x", t.x).add("xn", t.x)
    e.places = places.add("logits", -(-e.most_channels // e.c.overlay.pe_array.dot_length))
    together = t.x if stride == e.c.overlay.tile_bytes else 1
    for tile in range(0, t.x, together):
        e.load("last", tile * stride, "x", e.places["x"] + tile, 1, together)
    emit_head(e, "x", e.places["x"])


def _attention(e: Emitter, block: Block) -> None:
    """Attention of a block; keys and values alone where none of its rows ask (visual tokens that are only seen)."""
    asks, seen = (e.c.runs(kind, block.number, e.b.layer) for kind in ("q", "kv"))
    if not asks and not seen:
        return
    first, rows = block.first, block.rows
    t, shared, tiles = e.c.tiles, max(e.c.tiles.kv, e.c.tiles.q), _pair_tiles(e)
    places = prefill_places(e, "projections").add("x", rows * t.x).add("kq", rows * shared).add("v", rows * t.kv)
    e.places = places.add("router", rows * t.router)
    e.rotary(first, rows)
    e.b.part = Part.ROUTER
    e.load_and_route(block, "attention")
    gate = e.gate("attention", e.b.layer)
    parts = e.projections("k", "v", "q", "o")
    output = _project(e, block, gate, parts, asks, seen)
    if not asks:
        return
    _pairs(e, block, gate)
    e.places = prefill_places(e, "output").add("o", rows * t.q).add("x", rows * t.x)
    e.b.part = Part.OUTPUT
    for pair in range(e.pairs):
        source, at = ("o", pair), e.pair_slot(first, rows, pair)
        e.load(source, at, "o", e.places["o"] + pair * rows * tiles, rows, tiles, compact=1, **gate)
    _residual(e, block, gate, [output, *parts], "o")


def _project(
    e: Emitter, block: Block, gate: dict[str, int], parts: Iterator[Columns], asks: bool, seen: bool
) -> Columns:
    """K and V to the cache, Q to DDR4; returns the first part of the output projection, already loaded."""
    rows = block.rows
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else gate
    place = {"k": "kq", "v": "v", "q": "kq"}
    emit_norm(e, Part.NORM, kv_gate, "x", "x", rows)
    normalize = int(e.fused)
    for part in parts:
        name, start, count, held = part
        if name == "o" or (name == "q" and not asks):
            return part
        if name != "q" and not seen:
            continue
        emit_projection(
            e,
            name,
            held,
            gate if name == "q" else kv_gate,
            start,
            count,
            ("x", "x", place[name]),
            rows,
            normalize,
        )
        normalize = 0
        last = start + count == e.c.memory.matrices[e.b.layer, name].columns
        if last and name != "q":
            e.append_kv(int(name == "v"), place[name], e.places[place[name]], rows, kv_gate)
        elif last:
            _store_queries(e, block, gate)
    raise AssertionError("projections always end with the output projection")


def _store_queries(e: Emitter, block: Block, gate: dict[str, int]) -> None:
    """Pair by pair, as they come back: the rows of each begin in a slot of its own, however many execute."""
    first, rows = block.first, block.rows
    for pair in range(e.pairs):
        source = e.places["kq"] + pair * rows * _pair_tiles(e)
        e.store(
            ("q", pair), e.pair_slot(first, rows, pair), "kq", source, rows, _pair_tiles(e), compact=1, **gate
        )  # fmt: skip


def _pairs(e: Emitter, block: Block, gate: dict[str, int]) -> None:
    """Head pairs, two in flight: the next pair's scores are made while this pair's come back from DDR4."""
    rows, rounds = block.rows, block.rounds
    heads, head = heads_of_pass(e.c.shape), e.c.tiles.head
    places = prefill_places(e, "attention")
    for parity in (0, 1):
        places.add(f"q{parity}", rows * heads * head).add(f"o{parity}", rows * heads * head)
        places.add(f"scores{parity}", rows * heads * rounds)
    e.places = places
    for pair in range(e.pairs + 1):
        if pair < e.pairs:
            _pair_scores(e, block, gate, pair)
        if pair > 0:
            _pair_context(e, block, gate, pair - 1)


def _pair_tiles(e: Emitter) -> int:
    """Tiles a row takes in the queries of a head pair."""
    return heads_of_pass(e.c.shape) * e.c.tiles.head


def _pair_scores(e: Emitter, block: Block, gate: dict[str, int], pair: int) -> None:
    first, rows = block.first, block.rows
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    q, scores = f"q{parity}", f"scores{parity}"
    e.load(("q", pair), e.pair_slot(first, rows, pair), q, e.places[q], rows, _pair_tiles(e), compact=1, **gate)
    emit_scores(e, e.visible, gate, pair, 1, q, scores, rows)
    e.store(scores, 0, scores, e.places[scores], rows, heads, compact=1, tokens=e.visible, **gate)


def _pair_context(e: Emitter, block: Block, gate: dict[str, int], pair: int) -> None:
    first, rows = block.first, block.rows
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    scores, o = f"scores{parity}", f"o{parity}"
    e.load(scores, 0, scores, e.places[scores], rows, heads, compact=1, tokens=e.visible, **gate)
    emit_context(e, e.visible, gate, pair, 1, scores, o, rows)
    e.store(("o", pair), e.pair_slot(first, rows, pair), o, e.places[o], rows, _pair_tiles(e), compact=1, **gate)


def _residual(e: Emitter, block: Block, gate: dict[str, int], parts: list[Columns], source: str) -> None:
    """Multiply place ``source`` with a matrix, add X, and write X back; X is read again from DDR4."""
    rows, x, at = block.rows, e.places["x"], block.first * e.c.memory.strides.row
    e.load("x", at, "x", x, rows, e.c.tiles.x, **gate)
    for name, start, count, held in parts:
        e.matmul(
            name, held, gate, [source, "x"], ["x"], first=start, count=count, source=e.places[source],
            operand=x + e.part(start, rows), target=x + e.part(start, rows), rows=rows,
            post=int(Post.RESIDUAL),
        )  # fmt: skip
    e.store("x", at, "x", x, rows, e.c.tiles.x, **gate)


def _ffn(e: Emitter, block: Block) -> bool:
    """The FFN of a block, if it runs there; return whether it does."""
    if not e.c.runs("ffn", block.number, e.b.layer):
        return False
    rows, t = block.rows, e.c.tiles
    places = prefill_places(e, "FFN").add("x", rows * t.x).add("h", rows * t.ffn)
    e.places = places.add("router", rows * t.router)
    e.b.part = Part.FFN
    e.load_and_route(block, "ffn")
    gate = e.gate("ffn", e.b.layer)
    emit_ffn_input(e, gate, "x", "x", "h", rows)
    _residual(e, block, gate, list(e.projections("down")), "h")
    return True
