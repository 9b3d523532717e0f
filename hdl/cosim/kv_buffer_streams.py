"""Sequences of the KV buffer as payloads and bits on its ports, and what must come out."""

from collections.abc import Iterable
from collections.abc import Sequence as Ordered
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence
from skipopu.hdl.kv_layout import KvShape, operation_layout, settings_layout


def bench_inputs(shape: KvShape, work: Ordered[Sequence]) -> dict[str, Any]:
    """All that the bench drives but the stalls."""
    operations = [_operation(shape, sequence, each) for sequence in work for each in sequence.operations]
    ends = np.cumsum([[s.bits.size, len(s.operations)] for s in work], axis=0)
    return {
        "operations": _table(operations), "settings": _table([_settings(shape, each) for each in work]),
        "writes": np.concatenate([_writes(each) for each in work]), "sequences": ends,
    }  # fmt: skip


def _operation(shape: KvShape, sequence: Sequence, o: Operation) -> int:
    fields = {
        "executed": o.executed, "decode": o.decode, "value": o.value, "first_layer": o.layer == 0,
        "has_next": o.layer < sequence.layers - 1, "row": o.layer, "tokens": o.tokens,
        "layer_base": sequence.layer_base(o.layer), "offset": o.offset, "chunks": o.chunks,
    }  # fmt: skip
    return int(operation_layout(shape).const({name: int(value) for name, value in fields.items()}).as_bits())


def _settings(shape: KvShape, sequence: Sequence) -> int:
    names = ("vector", "value_offset", "bank_slots", "reuse")
    return int(settings_layout(shape).const({name: int(getattr(sequence, name)) for name in names}).as_bits())


def _writes(sequence: Sequence) -> NDArray[np.int64]:
    """Row, token and value of every bit."""
    rows, tokens = np.indices(sequence.bits.shape)
    return np.stack([rows, tokens, sequence.bits], axis=-1).reshape(-1, 3).astype(np.int64)


def _table(values: Iterable[int]) -> NDArray[np.uint8]:
    """Rows of bytes, the lowest first."""
    listed = list(values)
    size = max(value.bit_length() for value in listed) // 8 + 1
    return np.frombuffer(b"".join(value.to_bytes(size, "little") for value in listed), np.uint8).reshape(-1, size)
