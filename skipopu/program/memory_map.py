"""Where everything lies: weights striped over the HBM ports, K/V token-wise, the rest in DDR4."""

import math
from dataclasses import dataclass

from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import BOUNDARY, FP16_BYTES, Overlay

ADDRESS_UNIT = 64  # bytes; addresses in instructions count these


@dataclass(frozen=True)
class Matrix:
    """A weight matrix in HBM: ``k_tiles`` × ``columns``, from byte ``offset`` of every port on."""

    offset: int
    k_tiles: int
    columns: int
    datatype: str
    chunk_sets: int


@dataclass(frozen=True)
class MemoryMap:
    """Byte layout of HBM (the same in every port) and of DDR4.

    ``matrices`` maps (layer, name) to Matrix; layer −1 holds the LM head. K of the token in slot s of layer l
    starts at ``kv_base + (2·l·slots + s)·stride_bytes`` of its port, V ``slots`` strides later. Token-wise map: a
    vector lies whole in its token's port. Interleaved map: chunk n of every vector lies in port n modulo ports.
    """

    matrices: dict[tuple[int, str], Matrix]
    kv_base: int
    slots: int
    vector_bytes: int
    stride_bytes: int
    ddr: dict[str, int]


def weight_chunk_sets(overlay: Overlay, k_tiles: int, columns: int, datatype: str) -> int:
    """Core cycles all ports need to deliver the matrix in whole tiles: the last column block is padded.

    A narrower last tile would leave the next one at an odd place of the stream, and KER would need a byte
    rotator as wide as all ports.
    """
    width = overlay.pe_array.columns
    size = math.ceil(columns / width) * overlay.weight_tile_bytes(width, datatype)
    return math.ceil(k_tiles * size / overlay.hbm_bytes_per_cycle)


def layer_matrices(
    shape: ModelShape, overlay: Overlay, router_hidden: int, routers: int
) -> dict[str, tuple[int, int, str]]:
    """Return name → (rows of the weight matrix, columns, datatype) of one layer in streaming order."""
    d, w = shape.dimensions, overlay.datatypes.weights
    head = overlay.head_storage(d.head_dim)
    found = {
        "k": (d.hidden_size, shape.kv_size, w),
        "v": (d.hidden_size, shape.kv_size, w),
        "q": (d.hidden_size, shape.query_size, w),
        "o": (d.attention_heads * head, d.hidden_size, w),
        shape.ffn_input: (d.hidden_size, (1 + shape.gated) * d.intermediate_size, w),
        "down": (d.intermediate_size, d.hidden_size, w),
    }
    for router in ("router_attention", "router_ffn")[:routers] if router_hidden else ():
        found[router] = (d.hidden_size, router_hidden, "fp16")
    return found


def map_memory(
    shape: ModelShape, overlay: Overlay, board: Board, tokens: int, router_hidden: int
) -> MemoryMap:
    """Lay out weights and a K/V cache of ``tokens``; raises SpecError where they do not fit the board."""
    d, dot = shape.dimensions, overlay.pe_array.dot_length
    matrices: dict[tuple[int, str], Matrix] = {}
    offset = 0
    wanted = [
        (layer, n, m)
        for layer in range(d.layers)
        for n, m in layer_matrices(shape, overlay, router_hidden, 2).items()
    ]
    wanted.append((-1, "lm_head", (d.hidden_size, d.vocabulary, overlay.datatypes.lm_head)))
    for layer, name, (rows, columns, datatype) in wanted:
        k_tiles = math.ceil(rows / dot)
        sets = weight_chunk_sets(overlay, k_tiles, columns, datatype)
        matrices[layer, name] = Matrix(offset, k_tiles, columns, datatype, sets)
        offset += math.ceil(sets * overlay.chunk_bytes / BOUNDARY) * BOUNDARY
    vector = d.kv_heads * overlay.head_storage(d.head_dim) * FP16_BYTES
    slots, stride = math.ceil(tokens / overlay.dma.hbm_ports), vector
    if overlay.kv_buffer.map == "interleaved":
        chunks = vector // overlay.chunk_bytes
        slots, stride = tokens, math.ceil(chunks / overlay.dma.hbm_ports) * overlay.chunk_bytes
    _check_hbm(shape, overlay, board, offset, 2 * d.layers * slots * stride, tokens)
    return MemoryMap(matrices, offset, slots, vector, stride, _ddr_map(shape, overlay, tokens, board))


def _check_hbm(
    shape: ModelShape, overlay: Overlay, board: Board, weights: int, cache: int, tokens: int
) -> None:
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


def _ddr_map(shape: ModelShape, overlay: Overlay, tokens: int, board: Board) -> dict[str, int]:
    d = shape.dimensions
    row = math.ceil(d.hidden_size / overlay.pe_array.dot_length) * overlay.tile_bytes
    heads = d.attention_heads * overlay.head_storage(d.head_dim) * FP16_BYTES
    sizes = {
        # with learned positions the host adds token and position: a row a token of the sequence
        "embedding": (tokens if d.learned_positions else d.vocabulary) * row,
        "constants": d.layers * 64 * (d.hidden_size + d.intermediate_size) + 8 * d.vocabulary,
        "rotary": tokens * d.head_dim * FP16_BYTES,
        "x": tokens * row,
        "q": tokens * heads,
        "o": tokens * heads,
        "scores0": 2**29,
        "scores1": 2**29,
        "logits": d.vocabulary * FP16_BYTES + overlay.tile_bytes,
        "program": 2**30,
    }
    starts, offset = {}, 0
    for name, size in sizes.items():
        starts[name] = offset
        offset += math.ceil(size / BOUNDARY) * BOUNDARY
    room = board.ddr.capacity_bytes * board.ddr.channels
    if offset > room:
        raise SpecError(
            f"shape {shape.name}: DDR4 needs {offset} bytes, the board has {room}; use a smaller vocabulary"
        )
    return starts
