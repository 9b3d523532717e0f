"""Emits an FFN of experts that switch themselves on (Routing-Free MoE, arXiv 2604.00801).

All experts score every row: a product of the normalised row with each expert's first matrix, whose length, compared
with a threshold, is the expert's bit of the row. What the product yields is also the input of the expert's gate:
    y += ‖z‖ · down(SiLU(gate z) ⊙ up x)
row by row for the experts that are on; an expert without rows streams nothing.
"""

from typing import NamedTuple

from skipopu.program.block import Block
from skipopu.program.emitter import Emitter, Held
from skipopu.program.gathering import prefill_places
from skipopu.program.isa import Opcode, Post
from skipopu.program.nonlinear import emit_norm, normalized
from skipopu.program.part_matrices import DOWN, GATE, SCORE, UP, part_places
from skipopu.program.routing import load_and_route
from skipopu.program.row_lists import EXPERTS
from skipopu.spec.ledger import Part

LENGTHS = "lengths"  # of the vectors that experts scored, in the row statistics


class Columns(NamedTuple):
    """Columns of a matrix of an expert, and the rows of the block."""

    name: str
    held: Held
    number: int
    first: int
    width: int
    rows: int


def emit_block_experts(e: Emitter, block: Block) -> None:
    """Of a row block in prefill; X comes from DDR4 again to be added to, for the buffer's rows are normalised."""
    rows, t, at = block.rows, e.c.tiles, block.first * e.c.memory.strides.row
    places = prefill_places(e, "experts").add("x", rows * t.x).add("router", rows * t.router)
    for name, tiles in (("residual", t.x), *part_places(e.c.lists, e.c.overlay).items()):
        places.add(name, rows * tiles)
    e.places = places
    e.b.part = Part.FFN_ROUTER
    load_and_route(e, block, "ffn")
    emit_experts(e, "x", "x", rows)
    e.load("x", at, "residual", e.places["residual"], rows, t.x)
    emit_chosen(e, "x", "residual", rows)
    e.store("x", at, "residual", e.places["residual"], rows, t.x)


def emit_experts(e: Emitter, x: str, xn: str, rows: int) -> None:
    """Score ``x``, normalised into ``xn``; then the experts that are on."""
    emit_norm(e, Part.FFN_ROUTER, {}, x, xn, rows)
    e.b.part, normalize = Part.FFN, int(e.fused)
    for name, first, count, held in e.projections(SCORE):
        reads, writes, fields = normalized(e, x, xn, normalize, count)
        e.matmul(
            name, held, {}, reads, ["vectors", *writes], first=first, count=count,
            target=e.places["vectors"] + e.part(first, rows), rows=rows, **fields,
        )  # fmt: skip
        normalize = 0
    _choose(e, rows)


def _choose(e: Emitter, rows: int) -> None:
    """A pass of the NPE: the length of each vector, and with it the row lists."""
    lists, e.b.part = e.c.lists, Part.FFN_ROUTER
    chosen = [("list", lists.expert(number)) for number in range(lists.count[EXPERTS])]
    e.emit(
        Opcode.STATISTICS, ["vectors"], [LENGTHS, *chosen], source=e.places["vectors"], rows=rows,
        k_tiles=part_places(e.c.lists, e.c.overlay)["vectors"], group=lists.count[EXPERTS], list=lists.expert(0),
    )  # fmt: skip


def emit_chosen(e: Emitter, xn: str, residual: str, rows: int) -> None:
    """Every expert's products for the rows that it is on for, added to place ``residual``."""
    names = [f"{kind}.{n}" for n in range(e.c.lists.count[EXPERTS]) for kind in (GATE, UP, DOWN)]
    for name, first, count, held in e.projections(*names):
        kind, number = name.split(".")
        part = Columns(name, held, int(number), first, count, rows)
        e.b.part = Part.FFN
        if kind == GATE:
            _gate(e, part)
        elif kind == UP:
            _up(e, part, xn)
        else:
            _down(e, part, residual)


def _product(e: Emitter, part: Columns, source: str, target: str, at: int = 0, post: Post = Post.NONE) -> None:
    """Multiply what lies ``at`` tiles into a place; with ``post``, a place's tiles join its results."""
    meets = {Post.PRODUCT: "gate", Post.RESIDUAL: target}.get(post)
    before = e.part(part.first, part.rows)
    e.matmul(
        part.name, part.held, {"list": e.c.lists.expert(part.number)}, [source, *([meets] if meets else [])], [target],
        first=part.first, count=part.width, source=e.places[source] + at, target=e.places[target] + before,
        operand=e.places[meets] + before if meets else 0, rows=part.rows, post=int(post),
    )  # fmt: skip


def _gate(e: Emitter, part: Columns) -> None:
    own = part_places(e.c.lists, e.c.overlay)["vectors"] // e.c.lists.count[EXPERTS]
    _product(e, part, "vectors", "gate", part.number * own * part.rows)


def _up(e: Emitter, part: Columns, xn: str) -> None:
    """Times SiLU of the gate; with the last part, times the length that switched the expert on."""
    _product(e, part, xn, "inner", post=Post.PRODUCT)
    if part.first + part.width < e.c.memory.matrices[e.b.layer, part.name].columns:
        return
    number, inner, e.b.part = e.c.lists.expert(part.number), e.places["inner"], Part.FFN_ROUTER
    e.emit(
        Opcode.NORMALIZE, ["inner", LENGTHS, ("list", number)], ["inner"], source=inner, target=inner,
        rows=part.rows, k_tiles=part_places(e.c.lists, e.c.overlay)["inner"], value=1, group=part.number, list=number,
    )  # fmt: skip


def _down(e: Emitter, part: Columns, residual: str) -> None:
    _product(e, part, "inner", residual, post=Post.RESIDUAL)
