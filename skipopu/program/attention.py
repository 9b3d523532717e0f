"""Attention of row blocks in prefill: keys and values to the cache, queries by way of DDR4, head pair by head pair.

Rows see older ones, so a block may attend as soon as it is projected. In an encode step they see later ones as well:
all blocks of a layer are projected before the first attends. Row masks would be replaced by then: such a trace has no
routers.
"""

from collections.abc import Iterable, Iterator
from itertools import chain

from skipopu.program.block import Block
from skipopu.program.blocking import heads_of_pass
from skipopu.program.emitter import Emitter, Held
from skipopu.program.factors import RANK, projection_of
from skipopu.program.gathering import prefill_places
from skipopu.program.kv_transfers import append_kv
from skipopu.program.nonlinear import emit_norm
from skipopu.program.products import emit_context, emit_projection, emit_residual_part, emit_scores, ends_projection
from skipopu.program.routing import load_and_route
from skipopu.program.template_scores import scores_at
from skipopu.spec.ledger import Part

Columns = tuple[str, int, int, Held]  # a part of a weight matrix: name, first column, columns, its scales
PROJECTIONS, OUTPUT = ("k", "v", "q"), ("o",)  # in the order in which their scales lie in the constants


def project_first(e: Emitter, blocks: list[Block], layer: int) -> bool:
    """K, V and Q of all blocks of a layer, where one sees what is projected after it; return whether that is so."""
    if not e.bidirectional or len(blocks) == 1:
        return False
    for block in blocks:
        e.enter(block, layer)
        _project(e, block, e.projections(*PROJECTIONS))
    return True


def emit_attention(e: Emitter, block: Block, projected: bool) -> None:
    """Attention of a block; keys and values alone where none of its rows ask (visual tokens that are only seen)."""
    asks = e.c.runs("q", block.number, e.b.layer)
    parts = e.projections(*PROJECTIONS, only=OUTPUT) if projected else e.projections(*PROJECTIONS, *OUTPUT)
    output = next(parts, None) if projected and asks else None
    if not projected:
        output = _project(e, block, parts)
    if output:
        _attend(e, block, chain([output], parts))


def _project(e: Emitter, block: Block, parts: Iterator[Columns]) -> Columns | None:
    """Project a block's rows; returns the first part of the output projection, already loaded, if one is to come."""
    asks, seen = (e.c.runs(kind, block.number, e.b.layer) for kind in ("q", "kv"))
    if not asks and not seen:
        return None
    rows, t = block.rows, e.c.tiles
    places = prefill_places(e, "projections").add("x", rows * t.x).add("kq", rows * max(t.kv, t.q))
    e.places = places.add("v", rows * t.kv).add("router", rows * t.router).add(RANK, rows * t.rank)
    e.rotary(block.first, rows)
    e.b.part = Part.ROUTER
    load_and_route(e, block, "attention")
    kv_gate = {} if e.c.trace.header.kv_policy == "dense" else e.gate("attention", e.b.layer)
    emit_norm(e, Part.NORM, kv_gate, "x", "x", rows)
    normalize = int(e.fused)
    for part in parts:
        name = projection_of(part[0])
        if name in OUTPUT or (name == "q" and not asks):
            return part if asks else None
        if name == "q" or seen:
            _project_part(e, block, part, normalize)
            normalize = 0
    return None


def _project_part(e: Emitter, block: Block, part: Columns, normalize: int) -> None:
    """A part of K, V or Q; after the last one K and V go to the cache, Q to DDR4."""
    matrix, first, count, held = part
    name = projection_of(matrix)
    gate = e.group_gate("attention", first // count) if name == "q" else e.gate("attention", e.b.layer)
    if name != "q" and e.c.trace.header.kv_policy == "dense":
        gate = {}
    place = "v" if name == "v" else "kq"
    emit_projection(e, matrix, held, gate, first, count, ("x", "x", place), block.rows, normalize)
    if not ends_projection(e, matrix, first + count):
        return
    if name == "q":
        _store_queries(e, block)
    else:
        append_kv(e, int(name == "v"), place, e.places[place], block.rows, gate)


def _attend(e: Emitter, block: Block, outputs: Iterable[Columns]) -> None:
    """What a block's queries see, then the output projection in parts ``outputs``, added to X."""
    first, rows, gate = block.first, block.rows, e.gate("attention", e.b.layer)
    _pairs(e, block)
    t = e.c.tiles
    e.places = prefill_places(e, "output").add("o", rows * t.q).add("x", rows * t.x).add(RANK, rows * t.rank)
    e.b.part = Part.OUTPUT
    tiles = _pair_tiles(e)
    for pair in range(e.pairs):
        source, at = ("o", pair), e.pair_slot(first, rows, pair)
        e.load(source, at, "o", e.places["o"] + pair * rows * tiles, rows, tiles, compact=1, **e.pair_gate(pair))
    emit_residual(e, block, gate, list(outputs), "o")


def _store_queries(e: Emitter, block: Block) -> None:
    """Pair by pair, as they come back: the rows of each begin in a slot of its own, however many execute."""
    first, rows = block.first, block.rows
    for pair in range(e.pairs):
        source = e.places["kq"] + pair * rows * _pair_tiles(e)
        e.store(
            ("q", pair), e.pair_slot(first, rows, pair), "kq", source, rows, _pair_tiles(e), compact=1,
            **e.pair_gate(pair),
        )  # fmt: skip


def _pairs(e: Emitter, block: Block) -> None:
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
            _pair_scores(e, block, pair)
        if pair > 0:
            _pair_context(e, block, pair - 1)


def _pair_tiles(e: Emitter) -> int:
    """Tiles a row takes in the queries of a head pair."""
    return heads_of_pass(e.c.shape) * e.c.tiles.head


def _pair_scores(e: Emitter, block: Block, pair: int) -> None:
    first, rows, gate = block.first, block.rows, e.pair_gate(pair)
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    q, scores = f"q{parity}", f"scores{parity}"
    e.load(("q", pair), e.pair_slot(first, rows, pair), q, e.places[q], rows, _pair_tiles(e), compact=1, **gate)
    emit_scores(e, e.visible, gate, pair, 1, q, scores, rows)
    at, place = scores_at(e, block, pair), e.places[scores]
    e.store(scores, at, scores, place, rows, heads, compact=1, tokens=e.visible, **gate)


def _pair_context(e: Emitter, block: Block, pair: int) -> None:
    first, rows, gate = block.first, block.rows, e.pair_gate(pair)
    heads, parity = heads_of_pass(e.c.shape), pair & 1
    scores, o = f"scores{parity}", f"o{parity}"
    at, place = scores_at(e, block, pair), e.places[scores]
    e.load(scores, at, scores, place, rows, heads, compact=1, tokens=e.visible, **gate)
    emit_context(e, e.visible, gate, pair, 1, scores, o, rows)
    e.store(("o", pair), e.pair_slot(first, rows, pair), o, e.places[o], rows, _pair_tiles(e), compact=1, **gate)


def emit_residual(e: Emitter, block: Block, gate: dict[str, int], parts: list[Columns], source: str) -> None:
    """Multiply place ``source`` with a matrix, add X, and write X back; X is read again from DDR4."""
    rows, x, at = block.rows, e.places["x"], block.first * e.c.memory.strides.row
    e.load("x", at, "x", x, rows, e.c.tiles.x, **gate)
    for name, start, count, held in parts:
        emit_residual_part(e, name, held, gate, source, start, count, rows)
    e.store("x", at, "x", x, rows, e.c.tiles.x, **gate)
