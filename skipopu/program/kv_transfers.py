"""Emits what goes between K/V cache and chip: rounds of keys or values to the PE array, new rows to the cache."""

from skipopu.program.builder import Region
from skipopu.program.emitter import Emitter
from skipopu.program.isa import ADDRESS_UNIT, Opcode


def read_kv(
    e: Emitter, value: int, tokens: int, gate: dict[str, int], pair: int, pairs: int, rows: int
) -> None:
    """Stream the K or V rounds of ``tokens`` tokens for head pairs [pair, pair + pairs)."""
    reads = [("kv", e.b.layer, value), *e.gate_reads(gate)]
    chunks = e.c.memory.vector_bytes // e.pairs // e.c.overlay.chunk_bytes  # of a pair
    following = e.b.layer + 1 < e.c.shape.dimensions.layers  # which no score layer is
    e.emit(
        Opcode.READ_KV, reads, [], layer=e.b.layer, value=value, tokens=tokens, pair=pair, pairs=pairs,
        rows=rows, source=pair * chunks, columns=pairs * chunks, decode=int(e.decode), following=int(following),
        address=e.c.memory.kv_address(e.b.layer, 0) // ADDRESS_UNIT, **gate,
    )  # fmt: skip


def append_kv(e: Emitter, value: int, place: Region, source: int, rows: int, gate: dict[str, int]) -> None:
    """Append the K or V rows at ``source`` to the cache."""
    e.emit(
        Opcode.APPEND_KV, [place, *e.gate_reads(gate)], [("kv", e.b.layer, value)],
        layer=e.b.layer, value=value, source=source, rows=rows, k_tiles=e.c.tiles.kv,
        columns=e.c.tiles.head, tokens=e.end,
        address=e.c.memory.kv_address(e.b.layer, value) // ADDRESS_UNIT, **gate,
    )  # fmt: skip
