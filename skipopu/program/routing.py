"""Emits the pass over X before a module: row statistics, and the routers that decide about its rows or groups."""

from skipopu.program.block import Block
from skipopu.program.builder import Region
from skipopu.program.constants import norm_modules
from skipopu.program.emitter import GATES, Emitter, Held
from skipopu.program.isa import Gate, Opcode, Post
from skipopu.program.part_matrices import LISTS, LOGITS


def route(e: Emitter, norm: str, place: Region, source: int, rows: int, stream_from: int = -1) -> None:
    """Row statistics of X at ``source`` for ``norm`` and the routers that read it, from a stream or the buffer.

    Statistics that are not fused are not taken here; see `nonlinear.emit_norm`.
    """
    modules = norm_modules(e.c.trace.header.router, norm)
    routed = tuple(m for m in modules if e.c.routed(m, e.b.layer))
    logits = 0 if e.c.router_hidden else LOGITS * len(routed)
    # gamma stays in its half until the projections, so the hidden routers' last layers come with it
    (block,) = e.c.memory.constants[e.b.layer, f"{norm} norm"]
    e.gamma = e.constants(block)
    routers = [Held(e.gamma.half, p.word) for p in block.pieces if p.kind == "router"]
    streamed = {"stream": 1} if stream_from >= 0 else {}
    if logits or e.fused:
        held = routers[0] if logits else e.gamma
        _masks(
            e, routed if logits else (), [place, held.region], [place] if streamed else [], stream_from,
            columns=logits, source=source, rows=rows, k_tiles=e.c.tiles.x, normalize=int(e.fused),
            **held.fields, **streamed,
        )  # fmt: skip
    for module, last in zip(routed, routers, strict=True) if e.c.router_hidden else ():
        _hidden_router(e, module, place, source, rows, last)
    for module in modules:
        if e.c.listed(module, e.b.layer):
            _list_router(e, module, place, source, rows)


def load_and_route(e: Emitter, block: Block, norm: str) -> None:
    """Load X once: the router and fused statistics take each tile as it passes (Algorithm 1, step 1)."""
    at = block.first * e.c.memory.strides.row
    load = e.load("x", at, "x", e.places["x"], block.rows, e.c.tiles.x, stream=int(e.fused))
    route(e, norm, "x", e.places["x"], block.rows, stream_from=load if e.fused else -1)


def _masks(
    e: Emitter, routed: tuple[str, ...], reads: list[Region], writes: list[Region], stream_from: int, **fields: int
) -> None:
    # a route has one register number for all the masks it writes
    mask = 1 - e.masks[routed[0]] if routed else 0
    e.masks |= dict.fromkeys(routed, mask)
    masks: list[Region] = [("mask", int(GATES[m]), mask) for m in routed]
    others = [number for m in routed if (number := e.c.lists.stand_in(m))]
    if others:
        masks += [("list", number) for number in others]
        fields["list"] = others[0]
    gate = int(GATES[routed[0]] if len(routed) == 1 else Gate.ALL)
    regions = [*masks, *(["statistics"] if e.fused else []), *writes]
    e.emit(Opcode.ROUTE, reads, regions, stream_from, gate=gate, mask=mask, **fields)


def _list_router(e: Emitter, module: str, place: Region, source: int, rows: int) -> None:
    """A router of groups: two logits a group, of X or of the hidden layer, become bits of row lists."""
    tiles, lists = e.c.tiles.x, e.c.lists
    if e.c.router_hidden:
        source, place, tiles = _hidden_layer(e, module, place, source, rows), "router", e.c.tiles.router
    first, count = lists.group(module, 0), lists.groups(module)
    numbers = {*range(first, first + count), *(lists.pairs if module == "attention" else ())}
    e.weights(LISTS[module], {})
    e.emit(
        Opcode.MATMUL, [place], [("list", number) for number in sorted(numbers)], source=source, rows=rows,
        k_tiles=tiles, columns=e.c.memory.matrices[e.b.layer, LISTS[module]].columns, datatype=1,
        post=int(Post.LISTS), list=first,
    )  # fmt: skip


def _hidden_router(e: Emitter, module: str, place: Region, source: int, rows: int, last: Held) -> None:
    """A two-layer router: D → hidden from HBM in FP16, then hidden → 2 from the constants."""
    target = _hidden_layer(e, module, place, source, rows)
    fields = {"columns": LOGITS, "source": target, "rows": rows, "k_tiles": e.c.tiles.router, **last.fields}
    _masks(e, (module,), ["router", last.region], [], -1, **fields)


def _hidden_layer(e: Emitter, module: str, place: Region, source: int, rows: int) -> int:
    """The first layer of a two-layer router; return where its results are."""
    name = f"router_{module}"
    post = Post.RELU if e.c.trace.header.router.kind == "mlp" else Post.NONE
    target = e.places["router"]
    e.weights(name, {})
    e.emit(
        Opcode.MATMUL, [place], ["router"], source=source, target=target, rows=rows,
        k_tiles=e.c.tiles.x, columns=e.c.memory.matrices[e.b.layer, name].columns, datatype=1,
        post=int(post),
    )  # fmt: skip
    return target
