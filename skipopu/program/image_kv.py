"""K and V vectors in HBM: where a token's chunks lie, and the order of its numbers."""

from collections.abc import Iterator

import numpy as np

from skipopu.program.context import Context
from skipopu.program.image_memory import SparseMemory
from skipopu.program.image_vectors import to_bytes
from skipopu.program.parameters import Bits


def chunk_places(c: Context, layer: int, value: int, entry: int) -> Iterator[tuple[int, int]]:
    """Yield (port, address) of the chunks of the layer's ``entry``-th vector, in the order of the vector."""
    ports, chunk, memory = c.overlay.dma.hbm_ports, c.overlay.chunk_bytes, c.memory
    base = memory.kv_address(layer, value)
    for n in range(memory.vector_bytes // chunk):
        if c.overlay.kv_buffer.map == "interleaved":
            yield n % ports, base + entry * memory.stride_bytes + n // ports * chunk
        else:
            yield entry % ports, base + entry // ports * memory.stride_bytes + n * chunk


def read_vector(hbm: tuple[SparseMemory, ...], c: Context, layer: int, value: int, entry: int) -> Bits:
    """Return K (value = 0) or V of the layer's ``entry``-th executed token, [kv_heads, head_dim] padded to tiles."""
    chunks = [hbm[port].read(at, c.overlay.chunk_bytes) for port, at in chunk_places(c, layer, value, entry)]
    return heads_of(np.concatenate(chunks).view("<u2"), c, value)


def write_vector(hbm: tuple[SparseMemory, ...], c: Context, layer: int, value: int, entry: int, heads: Bits) -> None:
    """Put ``heads`` [kv_heads, padded head_dim]."""
    data = to_bytes(vector_of(heads, c, value))
    for n, (port, at) in enumerate(chunk_places(c, layer, value, entry)):
        hbm[port].write(at, data[n * c.overlay.chunk_bytes : (n + 1) * c.overlay.chunk_bytes])


def _alternating(c: Context, value: int) -> bool:
    """K tiles of two heads that share the columns take turns; V, and K of single heads, lie head by head."""
    return value == 0 and c.overlay.dataflow.packed_heads == 2


def vector_of(heads: Bits, c: Context, value: int) -> Bits:
    """Return the numbers of a vector in the order in which the array takes them."""
    if not _alternating(c, value):
        return heads.reshape(-1)
    tiles = heads.reshape(len(heads) // 2, 2, -1, c.overlay.pe_array.dot_length)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(-1)


def heads_of(vector: Bits, c: Context, value: int) -> Bits:
    """Return a vector as [kv_heads, padded head_dim]."""
    heads = c.shape.dimensions.kv_heads
    if not _alternating(c, value):
        return vector.reshape(heads, -1)
    tiles = vector.reshape(heads // 2, -1, 2, c.overlay.pe_array.dot_length)
    return np.ascontiguousarray(tiles.transpose(0, 2, 1, 3)).reshape(heads, -1)
