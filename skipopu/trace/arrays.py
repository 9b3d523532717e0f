"""Every array a trace may hold: name, type, axes. A reader refuses any other name, type or shape."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.trace.record import closest
from skipopu.trace.vocabulary import MODULES, PATHS

Array = NDArray[Any]
Bools = NDArray[np.bool_]
FIXED = {"modules": len(MODULES), "paths": len(PATHS), "columns": 3}


@dataclass(frozen=True)
class ArrayType:
    """One array: NumPy type, axes by name, and whether the last axis is a bitmap packed eight to a byte.

    An axis ``name+1`` is one longer than ``name``. An axis that neither header nor steps determine takes its
    size from the first array that has it.
    """

    dtype: str
    axes: tuple[str, ...]
    packed: bool = False
    required: bool = False


def _bitmap(*axes: str, required: bool = False) -> ArrayType:
    return ArrayType("uint8", axes, packed=True, required=required)


def _column(dtype: str, *axes: str, required: bool = False) -> ArrayType:
    return ArrayType(dtype, axes, required=required)


ARRAYS: Mapping[str, ArrayType] = {
    # steps, in execution order
    "step_phase": _column("uint8", "steps", required=True),
    "step_first_token": _column("int32", "steps", required=True),
    "step_token_count": _column("int32", "steps", required=True),
    "step_cache": _column("int16", "steps", required=True),  # the cache the step appends to
    "step_arrival_seconds": _column("float64", "steps", required=True),
    "step_after_offsets": _column("int64", "steps+1", required=True),
    "step_after": _column("int32", "edges", required=True),
    "logit_rows": _column("int32", "steps"),  # how many last rows of a step the LM head computes
    # rows: query projected and attention executed; key and value projected and appended; FFN executed
    "rows_q": _bitmap("layers", "tokens", required=True),
    "rows_kv": _bitmap("layers", "tokens", required=True),
    "rows_ffn": _bitmap("layers", "tokens", required=True),
    # tokens
    "token_ids": _column("int32", "tokens"),
    "positions": _column("int32", "tokens"),
    "token_class": _column("uint8", "tokens"),  # index into header.token_classes
    # which part of a module ran
    "approx_rows": _bitmap("modules", "layers", "tokens"),  # the low-rank stand-in ran (LFF)
    "head_groups": _bitmap("layers", "tokens", "head_groups"),
    "ffn_groups": _bitmap("layers", "tokens", "ffn_groups"),
    "experts": _bitmap("layers", "tokens", "experts"),
    "expert_scores": _column("float32", "layers", "tokens", "experts"),
    "attention_blocks": _bitmap("layers", "kv_heads", "query_blocks", "key_blocks"),
    "head_paths": _bitmap("layers", "paths", "heads"),
    # the slots, older than the step, that a layer of a step reads: (cache, first, count); without: its cache
    "kv_read_offsets": _column("int64", "steps*layers+1"),
    "kv_read": _column("int32", "ranges", "columns"),
    # layers
    "mask_class": _column("uint8", "layers"),
    "mask_window": _column("int32", "layers"),  # keys, 0 where the mask has no window
    "kv_source": _column("uint8", "layers"),
    # events, in order of steps
    "event_kind": _column("uint8", "events"),
    "event_step": _column("int32", "events"),
    "event_layer": _column("int16", "events"),
    "event_cache": _column("int16", "events"),
    "event_op": _column("uint8", "events"),
    "event_rows": _column("int32", "events"),
    "event_keys": _column("int32", "events"),
    "event_k": _column("int32", "events"),
    "event_outcome": _column("int8", "events"),
    "event_kept_offsets": _column("int64", "events+1"),
    "event_kept": _column("int32", "kept"),
}
GROUPED = ("step_", "event_")  # held by Steps and Event, not by Trace.arrays


def array_type(name: str) -> ArrayType:
    """Return the type of the array ``name``."""
    if name not in ARRAYS:
        raise SpecError(
            f"array {name!r} is not in schema 1{closest(name, ARRAYS)}; valid: {', '.join(ARRAYS)}"
        )
    return ARRAYS[name]


def pack(bits: Bools) -> NDArray[np.uint8]:
    """Pack booleans along the last axis, first bit in the highest place."""
    return np.packbits(bits, axis=-1)


def unpack(packed: Array, count: int) -> Bools:
    """Undo ``pack`` for a last axis of ``count``."""
    return np.unpackbits(packed, axis=-1, count=count).view(np.bool_)


def to_stored(name: str, array: Array, sizes: Mapping[str, int]) -> Array:
    """Return ``array`` as a file holds it, read-only: a bitmap from bool, a column from numbers that fit.

    ``sizes`` gives the lengths that axes must have; packed, some wrong ones would not show.
    """
    kind = array_type(name)
    columns = sizes.get(kind.axes[-1], -1)
    if kind.packed and (array.dtype != np.bool_ or array.shape[-1:] != (columns,)):
        raise SpecError(
            f"array {name!r} is {array.dtype} {list(array.shape)}; expected bool, last axis {columns}"
        )
    stored = np.ascontiguousarray(pack(array) if kind.packed else array.astype(kind.dtype))
    if not kind.packed and not np.array_equal(stored, array):
        raise SpecError(f"array {name!r} holds values that {kind.dtype} does not; expected {kind.dtype}")
    stored.setflags(write=False)
    return stored


def require(arrays: Iterable[str]) -> None:
    """Raise SpecError unless every name is of the schema and every required one is there."""
    present = list(arrays)
    for name in sorted(present):
        array_type(name)
    for name, kind in ARRAYS.items():
        if kind.required and name not in present:
            raise SpecError(f"array {name!r} is missing; export the trace again")


def check_types(arrays: Mapping[str, Array], sizes: Mapping[str, int]) -> None:
    """Raise SpecError unless types, shapes and padding bits are those of ``ARRAYS``.

    ``sizes`` gives the axes that are known beforehand.
    """
    known = dict(sizes) | FIXED
    for name in sorted(arrays):
        _check_array(name, arrays[name], array_type(name), known)


def _check_array(name: str, array: Array, kind: ArrayType, known: dict[str, int]) -> None:
    if array.dtype != np.dtype(kind.dtype):
        raise SpecError(f"array {name!r} has type {array.dtype}; expected {kind.dtype}")
    if array.ndim != len(kind.axes):
        raise SpecError(
            f"array {name!r} has {array.ndim} axes; expected {len(kind.axes)}: {', '.join(kind.axes)}"
        )
    for place, (axis, length) in enumerate(zip(kind.axes, array.shape, strict=True)):
        packed = kind.packed and place == array.ndim - 1
        base, _, plus = axis.partition("+")
        size = known.setdefault(base, length - int(plus or 0)) + int(plus or 0)
        expected = -(-size // 8) if packed else size
        if length != expected:
            raise SpecError(f"array {name!r} has {length} along {axis}; expected {expected}")
    if kind.packed:
        _check_padding(name, array, known[kind.axes[-1]])


def _check_padding(name: str, array: Array, count: int) -> None:
    unused = -count % 8
    if array.size and unused and np.any(array[..., -1] & ((1 << unused) - 1)):
        raise SpecError(f"array {name!r} has bits set beyond its {count} columns; expected zeros")
