"""Traces on disk: one safetensors file, header as JSON in its metadata."""

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import Dimensions, ModelShape
from skipopu.trace.arrays import GROUPED, Array, check_types, require
from skipopu.trace.event import from_columns
from skipopu.trace.header import Header
from skipopu.trace.record import canonical, check_keys, decode, parse
from skipopu.trace.schema import Trace, header_table
from skipopu.trace.steps import Steps
from skipopu.trace.validate import validate
from skipopu.trace.vocabulary import SCHEMA

METADATA = "skipopu.trace"  # the only key: safetensors writes several in random order


def write_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Validate and write a trace; the same trace gives the same bytes, an error leaves nothing behind."""
    from safetensors.numpy import save

    target = Path(path)
    validate(trace, target.name)
    text = canonical({"header": header_table(trace.header), "sha256": trace.sha256})
    arrays = {name: np.ascontiguousarray(array) for name, array in trace.all_arrays().items()}
    _replace(target, save(arrays, metadata={METADATA: text}))  # save() takes memory as it lies


def read_trace(path: str | os.PathLike[str]) -> Trace:
    """Read and validate a trace; whatever this version does not understand raises SpecError with one line."""
    source = Path(path)
    text, arrays = _load(source)
    try:
        table = _metadata(text)
        header = _header(table["header"])
        require(arrays)
        check_types({name: array for name, array in arrays.items() if name.startswith(GROUPED)}, {})
        plain = {name: array for name, array in arrays.items() if not name.startswith(GROUPED)}
        trace = Trace(header, Steps.from_columns(arrays), plain, from_columns(arrays))
    except SpecError as error:
        raise SpecError(f"{source.name}: {_one_line(error)}") from None
    validate(trace, source.name)
    if table["sha256"] != trace.sha256:
        raise SpecError(
            f"{source.name}: sha256 = {str(table['sha256'])[:16]}… but its content has {trace.sha256[:16]}…;"
            " the file was altered: export it again"
        )
    return trace


def _load(source: Path) -> tuple[str, dict[str, Array]]:
    from safetensors import SafetensorError, safe_open

    if not source.is_file():
        raise SpecError(f"{source}: no such file; give a trace written by skipopu trace")
    try:
        with safe_open(source, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: _frozen(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise SpecError(
            f"{source.name}: not a whole trace file ({_one_line(error)}); copy or export it again"
        ) from None
    if list(metadata) != [METADATA]:
        raise SpecError(
            f"{source.name}: metadata keys {sorted(metadata)}; expected only {METADATA!r},"
            " as skipopu trace writes it"
        )
    return metadata[METADATA], arrays


def _one_line(error: Exception) -> str:
    """What a file says may hold line breaks."""
    return " ".join(str(error).split())


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array


def _metadata(text: str) -> dict[str, Any]:
    try:
        table = parse(text)
    except ValueError as error:
        raise SpecError(
            f"the header is not the JSON skipopu writes ({error}); export the trace again"
        ) from None
    if not isinstance(table, dict):
        raise SpecError("the header is not a table; export the trace again")
    check_keys(table, ("header", "sha256"), "metadata")
    return table


def _header(raw: Any) -> Header:
    if not isinstance(raw, dict):
        raise SpecError("header is not a table; export the trace again")
    if raw.get("schema") != SCHEMA:
        raise SpecError(
            f"header.schema = {raw.get('schema')!r}; this version reads {SCHEMA}; export the trace again"
        )
    return decode(Header, raw | {"shape": _shape(raw.get("shape"))}, "header")


def _shape(raw: Any) -> ModelShape | None:
    if raw is None:
        return None
    if not isinstance(raw, dict):
        raise SpecError("header.shape is not a table; expected name and dimensions")
    check_keys(raw, ("name", "dimensions"), "header.shape")
    if not isinstance(raw["name"], str) or not isinstance(raw["dimensions"], dict):
        raise SpecError("header.shape: expected a name and a table of dimensions")
    check_keys(raw["dimensions"], Dimensions.__dataclass_fields__, "header.shape.dimensions")
    return ModelShape.from_values(raw["name"], "trace header", **raw["dimensions"])


def _replace(target: Path, data: bytes) -> None:
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(data)
        os.replace(aside, target)
    except OSError as error:
        raise SpecError(
            f"{target}: cannot be written ({error.strerror}); choose another path with -o"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
