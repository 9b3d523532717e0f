"""Emits the products of a layer's rows, of one or of a block: projections, scores and context, FFN."""

from skipopu.program.builder import Region
from skipopu.program.emitter import Emitter, Held
from skipopu.program.factors import ends, first_factor, inner_post, projection_of
from skipopu.program.isa import Opcode, Post
from skipopu.program.kv_transfers import read_kv
from skipopu.program.nonlinear import (
    emit_norm,
    emit_normalization,
    emit_softmax,
    maximum_region,
    normalized,
    statistics_bank,
)
from skipopu.program.part_matrices import slices
from skipopu.spec.ledger import Part


def ends_projection(e: Emitter, name: str, columns: int) -> bool:
    """Whether a projection is complete with the first ``columns`` of weight matrix ``name``."""
    return not first_factor(name) and columns == e.c.memory.matrices[e.b.layer, name].columns


def emit_projection(
    e: Emitter, name: str, held: Held, gate: dict[str, int], first: int, count: int,
    places: tuple[str, str, str], rows: int, normalize: int,
) -> None:  # fmt: skip
    """Part of the K, V or Q projection, or of a factor of it; ``places`` are X, normalised X and the result."""
    x, xn, result = places
    e.b.part = Part.PROJECTIONS
    source, target = ends(name, x, result)
    reads, writes, fields = normalized(e, source, xn if source == x else source, normalize, count)
    turned = e.c.shape.rotary and projection_of(name) != "v" and not first_factor(name)
    place = e.places[target] + e.part(first, rows)
    own = e.group_tiles("attention", target, place, e.part(count, rows)) if projection_of(name) == "q" else target
    e.matmul(
        name, held, gate, reads, [own, *writes], first=first, count=count, target=place, rows=rows,
        post=int(Post.ROPE if turned else Post.NONE), **fields,
    )  # fmt: skip


def emit_scores(
    e: Emitter, tokens: int, gate: dict[str, int], pair: int, pairs: int, q: str, scores: str, rows: int
) -> None:
    """Read K and multiply the queries at place ``q`` with it; raw scores go to place ``scores``."""
    e.b.part = Part.SCORES
    read_kv(e, 0, tokens, gate, pair, pairs, rows)
    _kv_product(e, Opcode.SCORES, tokens, gate, pair, pairs, q, scores, rows)


def emit_context(
    e: Emitter, tokens: int, gate: dict[str, int], pair: int, pairs: int, scores: str, o: str, rows: int
) -> None:
    """Read V and multiply the softmax of place ``scores`` with it into place ``o``."""
    emit_softmax(e, tokens, gate, pair, pairs, scores, rows)
    e.b.part = Part.CONTEXT
    read_kv(e, 1, tokens, gate, pair, pairs, rows)
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
        group=e.c.shape.queries_per_kv_head, layer=e.b.layer, normalize=int(e.fused), half=bank,
        bidirectional=int(e.bidirectional), **fields,
    )  # fmt: skip


def value_tile(e: Emitter) -> dict[str, int]:
    """V of a head goes through in equal parts, each as wide as the array takes."""
    head = e.c.overlay.head_storage(e.c.shape.dimensions.head_dim)
    columns = e.c.overlay.value_columns(head)
    return {"operand": head // columns, "columns": columns}


def emit_residual_part(
    e: Emitter, name: str, held: Held, gate: dict[str, int], source: str, first: int, count: int, rows: int
) -> None:
    """Part of the O or down projection of place ``source``, added to X, or of the first factor of it.

    Where rows run groups, group by group: a product of what lies in the group's tiles.
    """
    module = {"o": "attention", "down": "ffn"}.get(name, "")
    groups = e.c.lists.groups(module) if module else 0
    source, target = ends(name, source, "x")
    for group, matrix in enumerate(slices(name, groups)):
        own = e.group_gate(module, group) if groups else gate
        tiles = e.c.memory.matrices[e.b.layer, matrix].k_tiles * rows
        begin = e.places[source] + group * tiles
        read = e.group_tiles(module, source, begin, tiles) if groups else source
        _residual_product(e, matrix, held, own, read, begin, target, first, count, rows)


def _residual_product(
    e: Emitter, name: str, held: Held, gate: dict[str, int], read: Region, begin: int, target: str, first: int,
    count: int, rows: int,
) -> None:  # fmt: skip
    """Multiply what lies in the buffer from tile ``begin`` on, region ``read``."""
    place, fields = e.places[target] + e.part(first, rows), {}
    if target == "x":
        fields = {"operand": place, "post": int(Post.RESIDUAL)}
    e.matmul(
        name, held, gate, [read, target] if fields else [read], [target], first=first, count=count,
        source=begin, target=place, rows=rows, **fields,
    )  # fmt: skip


def emit_ffn_input(e: Emitter, gate: dict[str, int], x: str, xn: str, h: str, rows: int) -> None:
    """Up projection with the activation, or interleaved gate and up with SwiGLU, of ``x``, normalised into ``xn``.

    Low-rank, gate and up are apart: the gate's rows wait at ``h`` for those of up to be multiplied with SiLU of them.
    """
    emit_norm(e, Part.FFN_ROUTER, gate, x, xn, rows)
    normalize = int(e.fused)
    if e.fused and e.c.listed("ffn", e.b.layer):  # no product has all rows, which it could normalise on the way
        emit_normalization(e, Part.FFN_ROUTER, gate, x, xn, rows)
        normalize = 0
    e.b.part = Part.FFN
    for name, first, count, held in e.projections(e.c.shape.ffn_input, "gate", "up"):
        post, (source, target) = inner_post(e.c.shape, name), ends(name, x, h)
        reads, writes, fields = normalized(e, source, xn if source == x else source, normalize, count)
        place = e.places[target] + e.part(first, rows, post)
        if post == Post.PRODUCT:
            reads, fields["operand"] = [*reads, target], place
        own = e.group_gate("ffn", first // count) if e.c.listed("ffn", e.b.layer) else gate
        written = e.group_tiles("ffn", target, place, e.part(count, rows, post))
        e.matmul(
            name, held, own, reads, [written, *writes], first=first, count=count,
            target=place, rows=rows, post=int(post), **fields,
        )  # fmt: skip
        normalize = 0
