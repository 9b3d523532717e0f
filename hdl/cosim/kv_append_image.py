"""What must lie in HBM after an append, worked out from the row tiles alone; and what was written."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.kv_append_events import ADDRESS, CHUNKS, LAST, PORT, READY, WRITE
from skipopu.hdl.cosim.kv_append_stimulus import Append, Program
from skipopu.hdl.kv_append_layout import AppendShape

Bytes = NDArray[np.uint8]
Image = dict[tuple[int, int], bytes]  # port, address in chunks → chunk


def different_image(
    shape: AppendShape, work: list[tuple[Program, Append]], tiles: Bytes, trace: NDArray[np.int64],
    drives: NDArray[np.uint8], chunks: Bytes,
) -> Difference | None:  # fmt: skip
    """Append after append: the same chunks, each once, in bursts that a port takes."""
    written = _bursts(shape, trace, drives, chunks)
    for number, (program, each) in enumerate(work):
        expected, found = _expected(shape, program, each, tiles), Image()
        while len(found) < len(expected):
            port, address, data, wrong = next(written, (0, 0, [], "another burst"))
            if wrong:
                return Difference("append", number, wrong, 1, 0)
            for place, chunk in enumerate(data, address):
                if expected.get((port, place)) != chunk or (port, place) in found:
                    return Difference("append", number, f"chunk {place} of port {port}", 1, 0)
                found[port, place] = chunk
    return Difference("run", 0, "no burst more", 0, 1) if next(written, None) else None


def _expected(shape: AppendShape, program: Program, each: Append, tiles: Bytes) -> Image:
    """V as [pair][head][dim], K of packed heads as [pair][tile][head][dot]; token n of a layer in port n % ports."""
    rows, executed = np.flatnonzero(each.rows), program.executed[each.layer]
    places = each.source + np.arange(program.tiles)[:, None] * len(each.bits) + np.arange(len(rows))
    values = tiles[places % len(tiles)].transpose(1, 0, 2)  # [row, tile, byte]
    if shape.packed and not each.value:
        apart = values.reshape(len(rows), program.pairs, 2, program.head_tiles, shape.tile_bytes)
        values = apart.transpose(0, 1, 3, 2, 4)
    size = shape.kv.chunk_bytes
    vectors = np.ascontiguousarray(values).reshape(len(rows), program.vector // size, size)
    found = Image()
    for row, vector in zip(rows.tolist(), vectors, strict=True):
        slot, port = divmod(int(executed[: each.first + row].sum()), shape.kv.ports)
        first = (program.address(each.layer, each.value) + slot * program.vector) // size
        found |= {(port, first + n): chunk.tobytes() for n, chunk in enumerate(vector)}
    return found


def _bursts(
    shape: AppendShape, trace: NDArray[np.int64], drives: NDArray[np.uint8], chunks: Bytes
) -> Iterator[tuple[int, int, list[bytes], str]]:
    """Port, address, chunks, and what is wrong with it, of every burst."""
    waiting: dict[int, list[bytes]] = {}
    moved = trace[(trace[:, WRITE] == 1) & (drives & READY != 0)]
    for event, chunk in zip(moved.tolist(), chunks, strict=True):
        data = waiting.setdefault(event[PORT], [])
        data.append(chunk.tobytes())
        if event[LAST]:
            yield event[PORT], event[ADDRESS], data, _broken(shape, event[ADDRESS], event[CHUNKS], len(data))
            del waiting[event[PORT]]


def _broken(shape: AppendShape, address: int, chunks: int, given: int) -> str:
    if chunks != given:
        return f"a burst has the {given} chunks that were given"
    if chunks > shape.kv.burst_chunks:
        return "a burst has 16 beats at most"
    page = shape.kv.boundary_chunks
    return "" if address // page == (address + chunks - 1) // page else "no burst crosses 4 KiB"
