"""Weight matrices in HBM: which a model has, in which order they are streamed, and where their columns lie."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skipopu.program.constants import Channels
from skipopu.program.factors import factored
from skipopu.program.head_matrices import LM, Heads, columns_of, shared
from skipopu.program.isa import ADDRESS_UNIT
from skipopu.program.joints import Joint, joint_matrices
from skipopu.program.part_matrices import parted
from skipopu.program.row_lists import RowLists
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import BOUNDARY, Overlay
from skipopu.trace.layer_widths import Widths


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


def map_matrices(
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
        offset = next_boundary(offset)
    return found | {(-1, head): found[-1, LM] for head in heads.more if shared(head, shape)}


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


def next_boundary(offset: int) -> int:
    """Return the first page at or behind ``offset``."""
    return math.ceil(offset / BOUNDARY) * BOUNDARY
