"""Where everything lies: weights striped over the HBM ports, K/V token-wise, the rest in DDR4."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skipopu.program.constants import WIDE_ROUTERS, Channels, ConstantMap, map_constants
from skipopu.program.ddr_map import Strides, map_ddr, strides_of
from skipopu.program.factors import factored
from skipopu.program.head_matrices import LM, Heads, columns_of, shared
from skipopu.program.joints import Joint, joint_matrices
from skipopu.program.part_matrices import parted, whole
from skipopu.program.row_lists import NO_LISTS, RowLists
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import BOUNDARY, FP16_BYTES, Overlay
from skipopu.trace.layer_widths import Widths
from skipopu.trace.router import Router

ONE_HEAD = Heads()
ADDRESS_UNIT = 64  # bytes; addresses in instructions count these


@dataclass(frozen=True)
class ColumnPart:
    """Columns [first, first + columns) of a matrix: a stream of their own, from byte ``offset`` of every port on."""

    first: int
    columns: int
    offset: int
    chunk_sets: int


@dataclass(frozen=True)
class Matrix:
    """A weight matrix in HBM: ``k_tiles`` × ``columns`` in parts one behind the other, from byte ``offset`` on."""

    offset: int
    k_tiles: int
    columns: int
    datatype: str
    chunk_sets: int
    parts: tuple[ColumnPart, ...]

    def part(self, first: int) -> ColumnPart:
        """Return the part that begins at column ``first``."""
        return next(part for part in self.parts if part.first == first)


@dataclass(frozen=True)
class MemoryMap:
    """Byte layout of HBM (the same in every port) and of DDR4.

    ``matrices`` maps (layer, name) to Matrix; layer −1 holds the heads. K of the token in slot s of layer l
    starts at ``kv_base + (2·l·slots + s)·stride_bytes`` of its port, V ``slots`` strides later. Token-wise map: a
    vector lies whole in its token's port. Interleaved map: chunk n of every vector lies in port n modulo ports.
    ``ddr``: first bytes of regions, tensors striped over both channels, 64 bytes each in turn; ``strides`` in them.
    """

    matrices: dict[tuple[int, str], Matrix]
    kv_base: int
    slots: int
    vector_bytes: int
    stride_bytes: int
    ddr: dict[str, int]
    strides: Strides
    constants: ConstantMap

    def kv_address(self, layer: int, value: int) -> int:
        """First byte, in its port, of the K (value = 0) or V vector in slot 0 of ``layer``."""
        return self.kv_base + (2 * layer + value) * self.slots * self.stride_bytes


def weight_chunk_sets(overlay: Overlay, k_tiles: int, columns: int, datatype: str) -> int:
    """Core cycles all ports need to deliver the matrix in whole tiles: the last column block is padded.

    A narrower last tile would leave the next one at an odd place of the stream, and KER would need a byte
    rotator as wide as all ports.
    """
    width = overlay.pe_array.columns
    size = math.ceil(columns / width) * overlay.weight_tile_bytes(width, datatype)
    return math.ceil(k_tiles * size / overlay.hbm_bytes_per_cycle)


def layer_matrices(
    shape: ModelShape, overlay: Overlay, router_hidden: int, routers: int, widths: Widths | None = None
) -> dict[str, tuple[int, int, str]]:
    """Return name → (rows of the weight matrix, columns, datatype) of one layer in streaming order.

    ``widths`` gives a layer channels and ranks of its own; an FFN that it lacks keeps its place.
    Results fill whole row tiles, padded with zeros: what stood in a place before, of a head of scores −∞, must not meet
    the next matrix, not even its zeros. A head has tiles of its own, as in the cache.
    """
    d, w, dot = shape.dimensions, overlay.datatypes.weights, overlay.pe_array.dot_length
    channels = (widths.ffn if widths else 0) or d.intermediate_size
    head = overlay.head_storage(d.head_dim)
    hidden, inner, router = (math.ceil(n / dot) * dot for n in (d.hidden_size, channels, router_hidden))
    found = {
        "k": (d.hidden_size, d.kv_heads * head, w),
        "v": (d.hidden_size, d.kv_heads * head, w),
        "q": (d.hidden_size, d.attention_heads * head, w),
        "o": (d.attention_heads * head, hidden, w),
        shape.ffn_input: (d.hidden_size, (1 + shape.gated) * inner, w),
        "down": (channels, hidden, w),
    }
    found = factored(found, widths, dot) if widths else found
    for name in ("router_attention", "router_ffn")[:routers] if router_hidden else ():
        found[name] = (d.hidden_size, router, "fp16")
    return found


def map_memory(
    shape: ModelShape,
    overlay: Overlay,
    board: Board,
    tokens: int,
    router: Router,
    rows: int | None = None,
    scores: int = 0,
    widths: Sequence[Widths] = (),
    heads: Heads = ONE_HEAD,
    lists: RowLists = NO_LISTS,
    joints: tuple[Joint, ...] = (),
) -> MemoryMap:
    """Lay out weights, a K/V cache of ``tokens``, ``scores`` layers more, and ``rows`` slots, by default a token's.

    ``widths`` are those of the layers where they are not all as in ``shape``; ``heads`` what the trace asks of heads.
    Raises SpecError where they do not fit the board.
    """
    d = shape.dimensions
    hidden = router.hidden if router.kind in WIDE_ROUTERS else 0
    matrices = _matrices(shape, overlay, hidden, widths, heads, lists, joints)
    offset = _next_boundary(max(m.offset + m.chunk_sets * overlay.chunk_bytes for m in matrices.values()))
    vector = d.kv_heads * overlay.head_storage(d.head_dim) * FP16_BYTES
    slots, stride = math.ceil(tokens / overlay.dma.hbm_ports), vector
    if overlay.kv_buffer.map == "interleaved":
        share = math.ceil(vector // overlay.chunk_bytes / overlay.dma.hbm_ports) * overlay.chunk_bytes
        slots, stride = tokens, math.ceil(share / ADDRESS_UNIT) * ADDRESS_UNIT
    _check_hbm(shape, overlay, board, offset, 2 * (d.layers + scores) * slots * stride, tokens)
    columns = {(layer, whole(name)): matrix.columns for (layer, name), matrix in matrices.items()}
    constants = map_constants(shape, overlay, router, columns, heads.more, lists, joints)
    strides, slots_of_rows = strides_of(shape, overlay), tokens if rows is None else rows
    ddr = map_ddr(shape, overlay, tokens, slots_of_rows, board, constants, strides, heads, len(joints))
    return MemoryMap(matrices, offset, slots, vector, stride, ddr, strides, constants)


def _matrices(
    shape: ModelShape, overlay: Overlay, router_hidden: int, widths: Sequence[Widths], heads: Heads,
    lists: RowLists, joints: tuple[Joint, ...],
) -> dict[tuple[int, str], Matrix]:
    """Layer by layer in streaming order, then the LM head and what other heads there are; each begins at a page."""
    d, channels = shape.dimensions, Channels.of(shape, overlay, lists)
    wanted = []
    for layer in range(d.layers):
        usual = layer_matrices(shape, overlay, router_hidden, 2, widths[layer] if widths else None)
        own = parted(usual, shape, overlay, lists, layer, router_hidden)
        wanted += [(layer, name, sizes) for name, sizes in own.items()]
    for head in (LM, *(head for head in heads.more if not shared(head, shape))):
        wanted.append((-1, head, (d.hidden_size, columns_of(head, shape), overlay.datatypes.lm_head)))
    wanted += [(*key, sizes) for key, sizes in joint_matrices(joints, shape, overlay).items()]
    found: dict[tuple[int, str], Matrix] = {}
    offset = 0
    for layer, name, (rows, columns, datatype) in wanted:
        k_tiles, parts = math.ceil(rows / overlay.pe_array.dot_length), []
        # without scales nothing bounds a part
        cuts = [(name, 0, columns)] if name.startswith("router") else channels.parts(name, columns)
        start = offset
        for _, first, count in cuts:
            sets = weight_chunk_sets(overlay, k_tiles, count, datatype)
            parts.append(ColumnPart(first, count, offset, sets))
            # instructions count 64 bytes
            offset = math.ceil((offset + sets * overlay.chunk_bytes) / ADDRESS_UNIT) * ADDRESS_UNIT
        total = sum(part.chunk_sets for part in parts)
        found[layer, name] = Matrix(start, k_tiles, columns, datatype, total, tuple(parts))
        offset = _next_boundary(offset)
    return found | {(-1, head): found[-1, LM] for head in heads.more if shared(head, shape)}


def _next_boundary(offset: int) -> int:
    return math.ceil(offset / BOUNDARY) * BOUNDARY


def _check_hbm(shape: ModelShape, overlay: Overlay, board: Board, weights: int, cache: int, tokens: int) -> None:
    ports, room = overlay.dma.hbm_ports, board.hbm.capacity_bytes
    if weights > room:
        raise SpecError(
            f"shape {shape.name}: {weights * ports / 1e9:.2f} GB of weights,"
            f" {room * ports / 1e9:.2f} GB of HBM behind {ports} ports; use a smaller model,"
            " datatypes.weights=int4 or datatypes.lm_head=int4"
        )
    if weights + cache > room:
        most = int(tokens * (room - weights) / cache)
        raise SpecError(
            f"sequence of {tokens} tokens: beyond capacity, {room - weights} bytes a port are left for K/V"
            f" and {cache} are needed; shorten it to about {most} tokens"
        )
