"""Frozen dataclass ↔ JSON, strictly: every key present unless optional, none unknown, every type as declared."""

import dataclasses
import difflib
import json
import types
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from skipopu.spec.error import SpecError

T = TypeVar("T")
INTEGER_LIMIT = 2**63


def canonical(value: Any) -> str:
    """Return the one JSON text of ``value``: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse(text: str) -> Any:
    """Parse JSON that ``canonical`` wrote; anything else raises ValueError."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if canonical(value) != text:
        raise ValueError("not in canonical form")
    return value


def encode(value: Any) -> Any:
    """Return ``value`` with dataclasses as tables and tuples as lists; without optional fields at their default."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        given = [f for f in dataclasses.fields(value) if not (is_optional(f) and getattr(value, f.name) == f.default)]
        return {f.name: encode(getattr(value, f.name)) for f in given}
    if isinstance(value, Mapping):
        return {key: encode(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [encode(item) for item in value]
    return value


def decode(cls: type[T], raw: Any, key: str) -> T:
    """Build dataclass ``cls`` from the parsed table ``raw`` that stands under ``key``."""
    if not isinstance(raw, dict):
        raise SpecError(f"{key} = {_short(raw)}; expected a table")
    hints = get_type_hints(cls)
    declared = dataclasses.fields(cls)  # type: ignore[arg-type]
    names = [f.name for f in declared]
    raw = {f.name: encode(f.default) for f in declared if is_optional(f)} | raw
    check_keys(raw, names, key)
    return cls(**{name: _value(hints[name], raw[name], f"{key}.{name}") for name in names})


def is_optional(field: "dataclasses.Field[Any]") -> bool:
    """Whether a field came to the schema later: files without it still read, and keep their hash."""
    return bool(field.metadata.get("optional"))


def check_keys(raw: Mapping[str, Any], names: Iterable[str], key: str) -> None:
    """Raise SpecError unless the keys of ``raw`` are exactly ``names``."""
    known = list(names)
    for name in sorted(raw):
        if name not in known:
            raise SpecError(f"unknown key {key}.{name[:60]}{closest(name, known)}; valid: {', '.join(known)}")
    for name in known:
        if name not in raw:
            raise SpecError(f"missing key {key}.{name}; export the trace again with this version of skipopu")


def closest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean 'x'?", or nothing where no known name resembles ``name``."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def _value(hint: Any, raw: Any, key: str) -> Any:
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        return None if raw is None else _value(options[0], raw, key)
    if origin is tuple:
        return _items(get_args(hint)[0], raw, key)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return raw if isinstance(raw, hint) else decode(hint, raw, key)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return raw if isinstance(raw, dict) else _reject(raw, key, "a table")
    return _scalar(hint, raw, key)


def _items(hint: Any, raw: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(raw, list):
        _reject(raw, key, "a list")
    return tuple(_value(hint, item, f"{key}[{i}]") for i, item in enumerate(raw))


def _scalar(hint: Any, raw: Any, key: str) -> Any:
    if type(raw) is not hint:
        _reject(raw, key, hint.__name__)
    if isinstance(raw, int) and abs(raw) >= INTEGER_LIMIT:
        _reject(raw, key, "a 64-bit integer")
    return raw


def _reject(raw: Any, key: str, expected: str) -> NoReturn:
    raise SpecError(f"{key} = {_short(raw)}; expected {expected}")


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
