"""Prefill: row blocks through every layer, X, Q, raw scores and O in DDR4 (SkipOPU Algorithms 1 and 2)."""

from collections.abc import Iterator

from skipopu.program.blocking import Places, heads_of_pass
from skipopu.program.decode import emit_context, emit_ffn_input, emit_head, emit_projection, emit_scores
from skipopu.program.emitter import Emitter, Held
from skipopu.program.isa import Post
from skipopu.program.nonlinear import emit_norm
from skipopu.spec.ledger import Part

Block = tuple[int, int, int]  # first token, rows, most K/V rounds of any layer
Columns = tuple[str, int, int, Held]  # a part of a weight matrix: name, first column, columns, its scales


def emit_prefill(e: Emitter, step: int, blocks: list[Block]) -> None:
    """Emit a prefill step: embeddings to DDR4, layers block by block, then the last row's logits."""
    e.b.step, e.b.layer, e.b.part, e.decode = step, -1, Part.OUTSIDE, False
    t, stride = e.c.tiles, e.c.memory.strides.row
    for first, rows, _ in blocks:
        e.b.first_row = first
        e.places = _places(e, "embedding").add("x", rows * t.x)
        e.load("prompt", first * stride, "x", e.places["x"], rows, t.x)
        e.store("x", first * stride, "x", e.places["x"], rows, t.x)
    for layer in range(e.c.shape.dimensions.layers):
        for block in blocks:
            e.b.layer, e.b.first_row = layer, block[0]
            _attention(e, block)
            _ffn(e, block)
    _last_row(e, blocks[-1][1])


def _places(e: Emitter, what: str) -> Places:
    return Places(e.c.overlay, f"prefill {what} of {e.c.trace.tokens} tokens")


def _last_row(e: Emitter, rows: int) -> None:
    """Logits of the last row: its tiles, a block apart in the global buffer, come together by way of DDR4."""
    t, stride = e.c.tiles, e.c.memory.strides.last
    e.b.layer, e.b.part = -1, Part.OUTSIDE
    for tile in range(t.x):
        e.store("last", tile * stride, "x", e.places["x"] + tile * rows + rows - 1, 1, 1)
    places = _places(e, "LM head").add("x", t.x).add("xn", t.x)
    e.places = places.add("logits", -(-e.most_channels // e.c.overlay.pe_array.dot_length))
    together = t.x if stride == e.c.overlay.tile_bytes else 1
    for tile in range(0, t.x, together):
        e.load("last", tile * stride, "x", e.places["x"] + tile, 1, together)
    emit_head(e, "x", e.places["x"])


def _load_and_route(e: Emitter, block: Block, norm: str) -> None:
    """Load X once: the router and fused statistics take each tile as it passes (Algorithm 1, step 1)."""
    first, rows, _ = block
    at = first * e.c.memory.strides.row
    load = e.load("x", at, "x", e.places["x"], rows, e.c.tiles.x, stream=int(e.fused))
    e.route(norm, "x", e.places["x"], rows, stream_from=load if e.fused else -1)


def _attention(e: Emitter, block: Block) -> None:
    first, rows, _ = block
    t, shared, tiles = e.c.tiles, max(e.c.tiles.kv, e.c.tiles.q), _pair_tiles(e)
    places = _places(e, "projections").add("x", rows * t.x).add("kq", rows * shared).add("v", rows * t.kv)
    e.places = places.add("router", rows * t.router)
    e.rotary(first, rows)
    e.b.part = Part.ROUTER
    _load_and_route(e, block, "attention")
    gate = e.gate("attention", e.b.layer)
    parts = e.projections("k", "v", "q", "o")
    output = _project(e, block, gate, parts)
    _pairs(e, block, gate)
    e.places = _places(e, "output").add("o", rows * t.q).add("x", rows * t.x)
    e.b.part = Part.OUTPUT
    for pair in range(e.pairs):
        source, at = ("o", pair), e.pair_slot(first, rows, pair)
        e.load(source, at, "o", e.places["o"] + pair * rows * tiles, rows, tiles, compact=1, **gate)
    _residual(e, block, gate, [output, *parts], "o")


def _project(e: Emitter, block: Block, gate: dict[str, int], parts: Iterator[Columns]) -> Columns:
    """K and V to the cache, Q to DDR4; returns the first part of the output projection, already loaded."""
    rows = block[1]
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else gate
    place = {"k": "kq", "v": "v", "q": "kq"}
    emit_norm(e, Part.NORM, kv_gate, "x", "x", rows)
    normalize = int(e.fused)
    for part in parts:
        name, start, count, held = part
        if name == "o":
            return part
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
    first, rows, _ = block
    for pair in range(e.pairs):
        source = e.places["kq"] + pair * rows * _pair_tiles(e)
        e.store(
            ("q", pair), e.pair_slot(first, rows, pair), "kq", source, rows, _pair_tiles(e), compact=1, **gate
        )  # fmt: skip


def _pairs(e: Emitter, block: Block, gate: dict[str, int]) -> None:
    """Head pairs, two in flight: the next pair's scores are made while this pair's come back from DDR4."""
    _, rows, rounds = block
    heads, head = heads_of_pass(e.c.shape), e.c.tiles.head
    places = _places(e, "attention")
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
    first, rows, _ = block
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    q, scores = f"q{parity}", f"scores{parity}"
    e.load(("q", pair), e.pair_slot(first, rows, pair), q, e.places[q], rows, _pair_tiles(e), compact=1, **gate)
    emit_scores(e, first + rows, gate, pair, 1, q, scores, rows)
    e.store(scores, 0, scores, e.places[scores], rows, heads, compact=1, tokens=first + rows, **gate)


def _pair_context(e: Emitter, block: Block, gate: dict[str, int], pair: int) -> None:
    first, rows, _ = block
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    scores, o = f"scores{parity}", f"o{parity}"
    e.load(scores, 0, scores, e.places[scores], rows, heads, compact=1, tokens=first + rows, **gate)
    emit_context(e, first + rows, gate, pair, 1, scores, o, rows)
    e.store(("o", pair), e.pair_slot(first, rows, pair), o, e.places[o], rows, _pair_tiles(e), compact=1, **gate)


def _residual(e: Emitter, block: Block, gate: dict[str, int], parts: list[Columns], source: str) -> None:
    """Multiply place ``source`` with a matrix, add X, and write X back; X is read again from DDR4."""
    first, rows, _ = block
    x, at = e.places["x"], first * e.c.memory.strides.row
    e.load("x", at, "x", x, rows, e.c.tiles.x, **gate)
    for name, start, count, held in parts:
        e.matmul(
            name, held, gate, [source, "x"], ["x"], first=start, count=count, source=e.places[source],
            operand=x + e.part(start, rows), target=x + e.part(start, rows), rows=rows,
            post=int(Post.RESIDUAL),
        )  # fmt: skip
    e.store("x", at, "x", x, rows, e.c.tiles.x, **gate)


def _ffn(e: Emitter, block: Block) -> None:
    rows, t = block[1], e.c.tiles
    places = _places(e, "FFN").add("x", rows * t.x).add("h", rows * t.ffn)
    e.places = places.add("router", rows * t.router)
    e.b.part = Part.FFN
    _load_and_route(e, block, "ffn")
    gate = e.gate("ffn", e.b.layer)
    emit_ffn_input(e, gate, "x", "x", "h", rows)
    _residual(e, block, gate, list(e.projections("down")), "h")
