"""Knobs of a generator: fields of a dataclass with bounds, parsed from words, checked, defaults from TOML."""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_type_hints

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import CONFIDENCES, LEAF_KEYS, Bound, bound_of
from skipopu.trace.check import one_of
from skipopu.trace.record import closest


class KnobFields:
    """The knobs that the frozen dataclass ``kind`` declares, each with a bound; a tuple stands for a list."""

    def __init__(self, kind: type) -> None:
        self.bounds = {f.name: _bound(f) for f in dataclasses.fields(kind)}
        self._hints = get_type_hints(kind)

    def parse(self, settings: Iterable[str]) -> dict[str, Any]:
        """Parse ``["rho=0.5", "always_on_attention=0,1"]`` into keyword arguments."""
        knobs: dict[str, Any] = {}
        for setting in settings:
            name, separator, text = setting.partition("=")
            if not separator or not text.strip():
                raise SpecError(f"--knob {setting}: expected name=value of one of {', '.join(self.bounds) or 'none'}")
            if name in knobs:
                raise SpecError(f"--knob {name} is given twice; give it once")
            knobs[name] = _parse(text.strip(), self._hints[self._known(name)])
        return knobs

    def check(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values in their types; one out of bounds or of an unknown name raises SpecError."""
        return {self._known(name): self._checked(name, value) for name, value in values.items()}

    def check_leaf(self, where: str, name: str, leaf: Mapping[str, Any]) -> None:
        """Raise SpecError unless a default has value, the knob's unit, a source and a confidence."""
        at = f"{where}: {self._known(name)}"
        if sorted(leaf) != sorted(LEAF_KEYS):
            raise SpecError(f"{at} = {leaf}; expected {{{', '.join(LEAF_KEYS)}}}")
        unit = self.bounds[name].unit
        if leaf["unit"] != unit or leaf["confidence"] not in CONFIDENCES or not leaf["source"].strip():
            raise SpecError(f"{at}: expected unit {unit!r}, a source, and one of {', '.join(CONFIDENCES)}")

    def _known(self, name: str) -> str:
        if name not in self.bounds:
            valid = ", ".join(self.bounds) or "none"
            raise SpecError(f"knob {name!r} is not known{closest(name, self.bounds)}; valid: {valid}")
        return name

    def _checked(self, name: str, value: Any) -> Any:
        items = get_args(self._hints[name])
        if not items:
            return self._scalar(name, value, self._hints[name])
        listed = value if isinstance(value, list | tuple) else (value,)
        checked = tuple(self._scalar(name, item, items[0]) for item in listed)
        return tuple(sorted(set(checked))) if self.bounds[name].unit == "layer" else checked

    def _scalar(self, name: str, value: Any, kind: Any) -> Any:
        bound = self.bounds[name]
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise SpecError(f"knob {name} = {value!r}; expected {kind.__name__}, {_range(bound)}")
        if bound.choices:
            one_of(f"knob {name}", value, bound.choices)
        elif kind is not bool and not (math.isfinite(value) and bound.low <= value <= bound.high):
            nearest = bound.low if math.isnan(value) else min(max(value, bound.low), bound.high)
            raise SpecError(f"knob {name} = {value:g}; must be in {_range(bound)}; nearest: {nearest:g}")
        return value


def _bound(field: "dataclasses.Field[Any]") -> Bound:
    bound = bound_of(field)
    if bound is None:
        raise TypeError(field.name)
    return bound


def _range(bound: Bound) -> str:
    if bound.choices:
        return f"one of {', '.join(bound.choices)}"
    return "true or false" if bound.unit == "flag" else f"{bound.low:g}..{bound.high:g} {bound.unit}"


def _parse(text: str, hint: Any) -> Any:
    """Read a value; what is none stays text, and its check will say what was expected."""
    if hint is str:
        return text.strip("\"'")
    listed = bool(get_args(hint)) and not text.startswith("[")
    try:
        table = tomllib.loads(f"v = {f'[{text}]' if listed else text}")
    except tomllib.TOMLDecodeError:
        return text
    return table["v"] if list(table) == ["v"] else text
