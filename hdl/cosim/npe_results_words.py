"""Payloads of the result path as rows of bytes, and back."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib import data
from numpy.typing import NDArray

from skipopu.hdl.constants_memory import WRITE_BYTES
from skipopu.hdl.cosim.npe_results_stimulus import Operation
from skipopu.hdl.npe.result_operation import operation_layout
from skipopu.spec.overlay import Overlay

Bytes = NDArray[np.uint8]
LAST, END = 1, 2  # behind the sums: of the column block, of the operation


def packed(numbers: NDArray[Any]) -> Bytes:
    """Return rows of numbers as rows of bytes, the first number lowest."""
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1)


def transferred(numbers: NDArray[Any]) -> Bytes:
    """Return numbers as the words in which they come from DDR4."""
    found = np.ascontiguousarray(numbers).view(np.uint8).reshape(-1)
    return np.pad(found, (0, -len(found) % WRITE_BYTES)).reshape(-1, WRITE_BYTES)


def entry_words(blocks: NDArray[Any]) -> Bytes:
    """Return payloads of an operation's sums, ``blocks`` [blocks, rows, slots, columns]: numbers, then the flags."""
    sums = packed(blocks.reshape(-1, blocks.shape[-1]))
    flags = np.zeros((len(blocks), len(sums) // len(blocks)), np.uint8)
    flags[:, -1] = LAST
    flags[-1, -1] = LAST | END
    return np.concatenate([sums, flags.reshape(-1, 1)], axis=1)


def operation_words(operations: Sequence[Operation], overlay: Overlay) -> Bytes:
    """Return payloads of the operation stream."""
    layout = operation_layout(overlay)
    size = layout.size // 8 + 1
    words = [layout.const(_fields(o)).as_bits().to_bytes(size, "little") for o in operations]
    return np.frombuffer(b"".join(words), np.uint8).reshape(-1, size)


def _fields(o: Operation) -> dict[str, int]:
    same = ("rows", "slots", "words", "split", "bias", "list_rows", "rotary_words", "rotary_stride", "round_blocks")
    use = {name: int(getattr(o.use, name)) for name in ("function", "masked", "statistics", "route")}
    return {name: int(getattr(o, name)) for name in same} | use


def side_words(operations: Sequence[Operation]) -> Bytes:
    """Return scales, biases, residuals and visible bits of every word, in the order of the requests."""
    return np.concatenate([_side(o) for o in operations])


def _side(o: Operation) -> Bytes:
    lanes = o.scale.shape[-1]
    numbers = [packed(each.reshape(-1, lanes)) for each in (o.scale, o.biases, o.residuals)]
    visible = np.packbits(o.visible.reshape(-1, lanes), axis=1, bitorder="little")
    return np.concatenate([*numbers, visible], axis=1)


def fields(rows: Bytes, layout: data.StructLayout) -> NDArray[np.int64]:
    """Return the fields of payloads, [payloads, fields], nested ones flat."""
    bits = np.unpackbits(rows, axis=1, bitorder="little")
    columns = [
        bits[:, at : at + width].astype(np.int64) @ (1 << np.arange(width, dtype=np.int64))
        for at, width in _places(layout, 0)
    ]  # fmt: skip
    return np.stack(columns, -1)


def _places(layout: Any, at: int) -> Iterator[tuple[int, int]]:
    """Offset and width of every field."""
    for _, field in layout:
        inner = field.shape
        if isinstance(inner, data.Layout):
            yield from _places(inner, at + field.offset)
        else:
            yield at + field.offset, Shape.cast(inner).width
