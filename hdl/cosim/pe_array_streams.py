"""Operations of the PE array as the words and rows of its streams."""

from collections.abc import Iterator, Sequence

import numpy as np

from skipopu.hdl.cosim.pe_array_stimulus import Operation
from skipopu.hdl.tile_loop import OPERATION, ROW_REQUEST


def operation_words(operations: Sequence[Operation]) -> list[int]:
    """Payloads of the operation stream."""
    fields = ("int4", "rows", "depth", "blocks")
    return [OPERATION.const({f: int(getattr(o, f)) for f in fields}).as_bits() for o in operations]


def weight_words(operations: Sequence[Operation], word_bytes: int) -> list[bytes]:
    """Words of the weight stream: tiles column-major, each operation padded to whole words."""
    return [word for o in operations for word in _words(_tile_bytes(o), word_bytes)]


def _tile_bytes(operation: Operation) -> bytes:
    if not operation.int4:
        return operation.weights.astype("<u2").tobytes()
    nibbles = operation.weights.reshape(-1).astype(np.uint8) & 0xF
    return (nibbles[::2] | nibbles[1::2] << 4).tobytes()


def _words(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size].ljust(size, b"\0")


def row_words(operations: Sequence[Operation]) -> list[bytes]:
    """Rows in the order of the loop nest: every column block asks for all of them again."""
    tiles = (tile for o in operations for _ in range(o.blocks) for tile in o.activations)
    return [row.astype("<u2").tobytes() for tile in tiles for row in tile]


def row_requests(operations: Sequence[Operation]) -> list[int]:
    """Payloads that the request stream must carry."""
    return [
        ROW_REQUEST.const({"tile": tile, "row": row}).as_bits()
        for o in operations for _ in range(o.blocks) for tile in range(o.depth) for row in range(o.rows)
    ]  # fmt: skip
