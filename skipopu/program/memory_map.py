"""Where everything lies: weights striped over the HBM ports, K/V token-wise, the rest in DDR4."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from skipopu.program.constants import WIDE_ROUTERS, ConstantMap, map_constants
from skipopu.program.ddr_map import Strides, map_ddr, strides_of
from skipopu.program.head_matrices import Heads
from skipopu.program.isa import ADDRESS_UNIT
from skipopu.program.joints import Joint
from skipopu.program.matrix_map import Matrix, map_matrices, next_boundary
from skipopu.program.part_matrices import whole
from skipopu.program.row_lists import NO_LISTS, RowLists
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import FP16_BYTES, Overlay
from skipopu.trace.layer_widths import Widths
from skipopu.trace.router import Router

ONE_HEAD = Heads()


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
    matrices = map_matrices(shape, overlay, hidden, widths, heads, lists, joints)
    offset = next_boundary(max(m.offset + m.chunk_sets * overlay.chunk_bytes for m in matrices.values()))
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
