"""Operations of the PE array as the words, chunks and rows of its streams."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.pe_array_stimulus import Operation
from skipopu.hdl.kv_layout import ANNOUNCEMENT, kv_shape, output_layout
from skipopu.hdl.tile_loop import OPERATION, ROW_REQUEST
from skipopu.spec.overlay import Overlay

Bytes = NDArray[np.uint8]


def bench_streams(operations: Sequence[Operation], overlay: Overlay) -> dict[str, Any]:
    """Return what the bench puts on the ports, each payload a row of bytes."""
    needs, _ = chunk_rules(operations)
    return {
        "operations": _bytes(map(_operation_word, operations), OPERATION.size),
        "weights": _table([w for o in operations for w in _weight_words(o, overlay.hbm_bytes_per_cycle)]),
        "words": _table([w for o in operations for w in _constant_words(o, overlay.ker.constant_bytes_per_cycle)]),
        "chunks": _bytes(_chunk_words(operations, overlay), output_layout(kv_shape(overlay)).size), "needs": needs,
        "announcements": _bytes(map(int, announcements(operations)), ANNOUNCEMENT.size),
        "rows": _table(_rows(operations, second=False)), "rows_b": _table(_rows(operations, second=True)),
    }  # fmt: skip


def _bytes(words: Any, bits: int) -> Bytes:
    size = bits // 8 + 1
    return np.frombuffer(b"".join(word.to_bytes(size, "little") for word in words), np.uint8).reshape(-1, size)


def _table(rows: list[bytes]) -> Bytes:
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def _operation_word(o: Operation) -> int:
    fields = {name: int(getattr(o, name)) for name in ("source", "rows", "depth", "blocks", "turns", "slots")}
    fields |= {"value": int(o.kind == "values"), "int4": int(o.tiles.int4), "width": o.tiles.width}
    return int(OPERATION.const(fields).as_bits())


def _weight_words(o: Operation, size: int) -> Iterator[bytes]:
    """Tiles column-major, each operation padded to whole words."""
    if o.kind != "weights":
        return
    if o.tiles.int4:
        nibbles = o.tiles.weights.reshape(-1).astype(np.uint8) & 0xF
        yield from _words((nibbles[::2] | nibbles[1::2] << 4).tobytes(), size)
    else:
        yield from _words(o.tiles.weights.astype("<u2").tobytes(), size)


def _constant_words(o: Operation, size: int) -> Iterator[bytes]:
    if o.kind == "constants":
        yield from _words(o.tiles.weights[:, :, : o.tiles.width].astype("<u2").tobytes(), size)


def _words(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size].ljust(size, b"\0")


def _chunk_words(operations: Sequence[Operation], overlay: Overlay) -> Iterator[int]:
    """A chunk of every lane and its flags."""
    layout = output_layout(kv_shape(overlay))
    place = {name: field.offset for name, field in layout}
    for o in operations:
        rounds, chunks, *_ = o.tiles.chunks.shape
        for n, chunk in np.ndindex(rounds, chunks):
            last = chunk == chunks - 1
            mask = sum(1 << lane for lane in np.flatnonzero(o.tiles.masks[n]).tolist())
            data = int.from_bytes(o.tiles.chunks[n, chunk].astype("<u2").tobytes(), "little")
            flags = (int(last) << place["last"]) | (int(last and n == rounds - 1) << place["end"])
            yield (data << place["data"]) | (mask << place["mask"]) | flags


def announcements(operations: Sequence[Operation]) -> list[bool]:
    """For each round of K, then behind the last: whether it is the end."""
    return [end for o in operations if o.kind == "keys" for end in [False] * o.tiles.rounds + [True]]


def chunk_rules(operations: Sequence[Operation]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return, for each chunk, the announcements before it, and whether it is the last of its operation.

    A round of K is announced before its chunks, and the end before the chunk that carries it.
    """
    needs, ends, announced = [], [], 0
    for o in operations:
        rounds, chunks, *_ = o.tiles.chunks.shape
        for n, chunk in np.ndindex(rounds, chunks):
            ends.append(n == rounds - 1 and chunk == chunks - 1)
            needs.append(announced + n + 1 + ends[-1] if o.kind == "keys" else 0)
        announced += rounds + 1 if o.kind == "keys" else 0
    return np.array(needs, np.int64), np.array(ends, np.bool_)


def _rows(operations: Sequence[Operation], *, second: bool) -> list[bytes]:
    """Rows in the order of the loop nest."""
    blocks = (block for o in operations for block in (o.second if second else o.activations))
    return [row.astype("<u2").tobytes() for block in blocks for tile in block for row in tile]


def row_requests(operations: Sequence[Operation]) -> list[int]:
    """Payloads that the request stream must carry."""
    return [
        ROW_REQUEST.const({"tile": tile, "row": row}).as_bits()
        for o in operations for _ in range(o.all_blocks) for tile in range(o.depth) for row in range(o.rows)
    ]  # fmt: skip
