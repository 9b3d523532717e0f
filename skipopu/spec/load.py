"""TOML file → frozen dataclass tree, with the provenance of every leaf."""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast, get_type_hints

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import CONFIDENCES, LEAF_KEYS, Bound, Leaf, Value, bound_of

DATA = Path(__file__).parent / "data"
T = TypeVar("T")


def find(kind: str, name: str) -> Path:
    """Return the TOML file of a shipped ``kind`` ("overlay", "board", "shape"), or a user's own path."""
    if name.endswith(".toml") or "/" in name:
        path = Path(name)
        if not path.is_file():
            raise SpecError(f"{kind} {name}: no such file; give a readable .toml or one of: {_names(kind)}")
        return path
    path = DATA / kind / f"{name}.toml"
    if not path.is_file():
        raise SpecError(
            f"{kind} {name!r} is not known{_closest(name, shipped(kind))}; shipped: {_names(kind)}"
        )
    return path


def shipped(kind: str) -> list[str]:
    """Return the names of the shipped files of a kind."""
    return sorted(p.stem for p in (DATA / kind).glob("*.toml"))


def read_toml(path: Path) -> dict[str, Any]:
    """Parse a TOML file; syntax errors name the file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise SpecError(f"{path.name}: {error}; expected a readable TOML file") from None


def build(cls: type[T], table: Mapping[str, Any], where: str) -> tuple[T, dict[str, Leaf]]:
    """Build the dataclass ``cls`` from a parsed TOML table; return it with ``{"section.key": Leaf}``.

    Raises SpecError for an unknown or missing key, a wrong type, a value out of its bound, or a leaf
    without provenance.
    """
    leaves: dict[str, Leaf] = {}
    return _section(cls, table, "", where, leaves), leaves


def override(leaves: Mapping[str, Leaf], settings: Iterable[str]) -> dict[str, Any]:
    """Return the nested table of ``leaves`` with ``key=value`` settings applied."""
    table: dict[str, Any] = {}
    changed = dict(leaves)
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise SpecError(f"--set {setting}: expected key=value, e.g. --set pe_array.columns=64")
        if key not in leaves:
            raise SpecError(f"--set {key}: unknown key{_closest(key, leaves)}")
        value = _parse(key, text, leaves[key].value)
        changed[key] = Leaf(value, leaves[key].unit, f"--set {setting}", "decision")
    for key, leaf in changed.items():
        node = table
        *sections, last = key.split(".")
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = dataclasses.asdict(leaf)
    return table


def _parse(key: str, text: str, old: Value) -> Value:
    try:
        value = tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        value = text
    if isinstance(value, bool | int | float | str):
        return value
    raise SpecError(f"--set {key}={text}: expected a value like {old!r}")


def _section(cls: type[T], table: Mapping[str, Any], path: str, where: str, leaves: dict[str, Leaf]) -> T:
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            raise SpecError(f"{where}: unknown key {_join(path, key)!r}{_closest(key, fields)}")
    values: dict[str, Any] = {}
    for name, declared in fields.items():
        key = _join(path, name)
        bound = bound_of(declared)
        if name not in table and bound is not None and declared.default is not dataclasses.MISSING:
            leaves[key] = Leaf(declared.default, bound.unit, f"not in {where}: the usual", "decision")
            values[name] = declared.default
            continue
        if name not in table:
            raise SpecError(f"{where}: missing key {key!r}")
        if bound is None:
            if not isinstance(table[name], Mapping):
                raise SpecError(f"{where}: {key} = {table[name]!r}; expected a section [{key}]")
            values[name] = _section(hints[name], table[name], key, where, leaves)
        else:
            leaves[key] = _leaf(table[name], hints[name], bound, key, where)
            values[name] = leaves[key].value
    return cls(**values)


def _leaf(raw: Any, kind: type, bound: Bound, key: str, where: str) -> Leaf:
    if not isinstance(raw, Mapping) or sorted(raw) != sorted(LEAF_KEYS):
        raise SpecError(f"{where}: {key} = {raw!r}; expected {{value, unit, source, confidence}}")
    if raw["confidence"] not in CONFIDENCES:
        raise SpecError(
            f"{where}: {key}.confidence = {raw['confidence']!r}; expected one of {', '.join(CONFIDENCES)}"
        )
    if raw["unit"] != bound.unit:
        raise SpecError(f"{where}: {key}.unit = {raw['unit']!r}; expected {bound.unit!r}")
    if not str(raw["source"]).strip():
        raise SpecError(f"{where}: {key}.source is empty; say where {raw['value']!r} comes from")
    value = _checked(raw["value"], kind, bound, f"{where}: {key}")
    return Leaf(value, raw["unit"], raw["source"], raw["confidence"])


def _checked(value: Any, kind: type, bound: Bound, key: str) -> Value:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not kind:
        raise SpecError(f"{key} = {value!r}; expected {kind.__name__}, e.g. {_example(kind, bound)}")
    if bound.choices and value not in bound.choices:
        raise SpecError(f"{key} = {value!r}; expected one of {', '.join(bound.choices)}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        _check_number(value, bound, key)
    return cast(Value, value)


def _check_number(value: float, bound: Bound, key: str) -> None:
    if not math.isfinite(value):
        raise SpecError(
            f"{key} = {value}; expected a finite number in {bound.low:g}..{bound.high:g} {bound.unit}"
        )
    if not bound.low <= value <= bound.high:
        nearest = min(max(value, bound.low), bound.high)
        raise SpecError(
            f"{key} = {value:g}; must be in {bound.low:g}..{bound.high:g} {bound.unit}; nearest: {nearest:g}"
        )
    if bound.power_of_two and int(value) & (int(value) - 1):
        nearest = 2 ** round(math.log2(value))
        raise SpecError(f"{key} = {value}; must be a power of two; nearest: {nearest}")


def _example(kind: type, bound: Bound) -> str:
    if bound.choices:
        return bound.choices[0]
    return "true" if kind is bool else f"{bound.low:g}"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _closest(key: str, known: Iterable[str]) -> str:
    match = difflib.get_close_matches(key, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def _names(kind: str) -> str:
    return ", ".join(shipped(kind))
