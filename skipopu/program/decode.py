"""Decode: one token, every intermediate on chip, weights and K/V streamed once."""

from skipopu.program.blocking import Places
from skipopu.program.builder import Region
from skipopu.program.emitter import Emitter, Held
from skipopu.program.isa import Opcode, Post
from skipopu.program.nonlinear import emit_norm, emit_softmax, statistics_bank
from skipopu.spec.ledger import Part

ACTIVATIONS = {"swiglu": Post.SWIGLU, "gelu": Post.GELU, "relu": Post.RELU}


def emit_decode(e: Emitter, step: int, token: int, rounds: int) -> None:
    """Emit one decode step of ``token``; ``rounds`` is the most K/V rounds of any of its layers."""
    layers = e.c.shape.dimensions.layers
    e.places = _places(e, rounds)
    e.b.step, e.b.first_row, e.b.layer, e.b.part = step, token, -1, Part.OUTSIDE
    embedding = token if not e.c.shape.rotary else _token_id(e, token)
    e.load("embedding", embedding * e.c.tiles.x, "x", e.places["x"], 1, e.c.tiles.x)
    e.rotary(token, 1)
    for layer in range(layers):
        e.b.layer = layer
        together = e.c.trace.header.router.ffn_input == "layer_input"
        e.b.part = Part.ROUTER
        e.route(("attention", "ffn") if together else ("attention",), "x", e.places["x"], 1)
        _attention(e, token)
        e.b.part = Part.FFN
        e.route(() if together else ("ffn",), "x", e.places["x"], 1)
        _ffn(e)
    emit_head(e, "x", e.places["x"])


def emit_head(e: Emitter, place: str, source: int) -> None:
    """Final norm and LM head of the row at ``source``; the logits go to DDR4."""
    e.b.layer, e.b.part = -1, Part.OUTSIDE
    e.route((), place, source, 1)
    emit_norm(e, Part.OUTSIDE, {}, place, "xn", 1)
    dot, normalize, normalized = e.c.overlay.pe_array.dot_length, int(e.fused), e.places["xn"]
    for name, first, count, held in e.projections("lm_head", layer=-1):
        target = e.places["logits"]
        e.matmul(
            name, held, {}, [place if e.fused else "xn"], ["logits", "next_token"], first=first, count=count,
            layer=-1, source=source if normalize else normalized, operand=normalized, target=target, rows=1,
            normalize=normalize,
        )  # fmt: skip
        e.store("logits", first // dot, "logits", target, 1, -(-count // dot))
        normalize = 0


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


def _attention(e: Emitter, token: int) -> None:
    p, gate = e.places, e.gate("attention", e.b.layer)
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else gate
    pairs = e.c.shape.dimensions.kv_heads // 2
    emit_norm(e, Part.NORM, kv_gate, "x", "xn", 1)
    normalize, attended = int(e.fused), False
    for name, first, count, held in e.projections("k", "v", "q", "o"):
        if name == "o":
            if not attended:
                emit_scores(e, token + 1, gate, 0, pairs, "q", "scores", 1)
                emit_context(e, token + 1, gate, 0, pairs, "scores", "o", 1)
                attended = True
            e.b.part = Part.OUTPUT
            e.matmul(
                name, held, gate, ["o", "x"], ["x"], first=first, count=count, source=p["o"],
                operand=p["x"] + e.part(first, 1), target=p["x"] + e.part(first, 1), rows=1,
                post=int(Post.RESIDUAL),
            )  # fmt: skip
            continue
        emit_projection(
            e, name, held, gate if name == "q" else kv_gate, first, count, ("x", "xn", name), 1, normalize
        )
        normalize = 0
        if name != "q" and first + count == e.c.shape.kv_size:
            e.append_kv(int(name == "v"), name, p[name], 1, kv_gate)


def emit_projection(
    e: Emitter, name: str, held: Held, gate: dict[str, int], first: int, count: int,
    places: tuple[str, str, str], rows: int, normalize: int,
) -> None:  # fmt: skip
    """Part of the K, V or Q projection; ``places`` are X, normalised X and the result."""
    x, xn, target = places
    e.b.part = Part.PROJECTIONS
    e.matmul(
        name, held, gate, [x if e.fused else xn], [target], first=first, count=count,
        source=e.places[x if normalize else xn], operand=e.places[xn],
        target=e.places[target] + e.part(first, rows), rows=rows, normalize=normalize,
        post=int(Post.ROPE if e.c.shape.rotary and name != "v" else Post.NONE),
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
    statistics = [f"maximum {source if opcode == Opcode.CONTEXT else target}"] if e.fused else []
    reads: list[Region] = [source, *statistics] if opcode == Opcode.CONTEXT else [source]
    writes: list[Region] = [target] if opcode == Opcode.CONTEXT else [target, *statistics]
    e.emit(
        opcode, [*reads, *e.gate_reads(gate)], writes, source=e.places[source], target=e.places[target],
        rows=rows, k_tiles=e.c.tiles.head, tokens=tokens, pair=pair, pairs=pairs,
        group=e.c.shape.queries_per_kv_head, layer=e.b.layer, normalize=int(e.fused), half=statistics_bank(pair),
        **gate,
    )  # fmt: skip


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
    p, normalize, post = e.places, int(e.fused), ACTIVATIONS[e.c.shape.dimensions.activation]
    for name, first, count, held in e.projections(e.c.shape.ffn_input):
        e.matmul(
            name, held, gate, [x if e.fused else xn], [h], first=first, count=count, source=p[x if normalize else xn],
            operand=p[xn], target=p[h] + e.part(first, rows, post), rows=rows, normalize=normalize,
            post=int(post),
        )  # fmt: skip
        normalize = 0
