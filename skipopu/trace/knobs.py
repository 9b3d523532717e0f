"""Knobs of the synthetic generator: what each means, its bounds, its default and the presets."""

import dataclasses
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import CONFIDENCES, LEAF_KEYS, Bound, bound_of, flag, number, word
from skipopu.spec.load import read_toml
from skipopu.trace.check import one_of
from skipopu.trace.record import closest
from skipopu.trace.vocabulary import KV_POLICIES, ROUTER_INPUTS, ROUTER_KINDS

PRESETS = Path(__file__).parent / "presets.toml"


@dataclass(frozen=True)
class Knobs:
    """How a synthetic trace routes.

    Rates hold over routed rows: layers not always on, tokens not always on.

    ``attention_skip``, ``ffn_skip``: mean skip rates. ``…_profile``: relative skip rate along depth, control
    points spread evenly over the routed layers and joined linearly; a layer saturates at 1 and the others
    take over. ``…_slope``: execution rate of the last token minus that of the first, as far as rates stay in
    0..1. ``rho``: correlation of a token's decisions in consecutive layers; ``token_persistence``: of
    consecutive tokens' decisions in a layer. ``shared``: one decision for both modules.
    ``kv_heads_per_group``, ``ffn_group_size``: skip by groups of heads and channels; 0 skips modules whole.
    """

    attention_skip: float = number("share", 0, 1)
    ffn_skip: float = number("share", 0, 1)
    attention_profile: tuple[float, ...] = number("weight", 0, 1000)
    ffn_profile: tuple[float, ...] = number("weight", 0, 1000)
    attention_slope: float = number("share", -1, 1)
    ffn_slope: float = number("share", -1, 1)
    rho: float = number("correlation", 0, 1)
    token_persistence: float = number("correlation", 0, 0.999)
    always_on_attention: tuple[int, ...] = number("layer", 0, 1023)
    always_on_ffn: tuple[int, ...] = number("layer", 0, 1023)
    always_on_tokens: int = number("token", 0, 2**20)
    router: str = word(*ROUTER_KINDS)
    router_hidden: int = number("element", 0, 65536)
    ffn_input: str = word(*ROUTER_INPUTS)
    shared: bool = flag()
    kv_policy: str = word(*KV_POLICIES)
    kv_heads_per_group: int = number("head", 0, 1024)
    ffn_group_size: int = number("element", 0, 262144)


FIELDS = {f.name: f for f in dataclasses.fields(Knobs)}
HINTS = get_type_hints(Knobs)


def parse_knobs(settings: Iterable[str]) -> dict[str, Any]:
    """Parse ``["rho=0.5", "always_on_attention=0,1"]`` into keyword arguments of ``synthesize``."""
    knobs: dict[str, Any] = {}
    for setting in settings:
        name, separator, text = setting.partition("=")
        if not separator or not text.strip():
            raise SpecError(f"--knob {setting}: expected name=value, e.g. --knob rho=0.5")
        if name in knobs:
            raise SpecError(f"--knob {name} is given twice; give it once")
        knobs[name] = _parse(text.strip(), HINTS[_known(name)])
    return knobs


def presets() -> tuple[str, ...]:
    """Return the names ``synthesize`` takes as a family."""
    return tuple(_table()["preset"])


def preset(name: str) -> tuple[str, dict[str, Any]]:
    """Return the family of a preset and all its knobs, defaults included."""
    one_of("family", name, presets())
    chosen = _table()["preset"][name]
    leaves = _table()["knob"] | chosen["knobs"]
    return chosen["family"], {key: leaf["value"] for key, leaf in leaves.items()}


def check_knobs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in their types; one out of bounds or of an unknown name raises SpecError."""
    return {_known(name): _checked(name, value) for name, value in values.items()}


@cache
def _table() -> dict[str, Any]:
    table = read_toml(PRESETS)
    for knobs in (table["knob"], *(p["knobs"] for p in table["preset"].values())):
        for name, leaf in knobs.items():
            _check_leaf(name, leaf)
    return table


def _check_leaf(name: str, leaf: Mapping[str, Any]) -> None:
    where = f"{PRESETS.name}: {_known(name)}"
    if sorted(leaf) != sorted(LEAF_KEYS):
        raise SpecError(f"{where} = {leaf}; expected {{{', '.join(LEAF_KEYS)}}}")
    if (
        leaf["unit"] != _bound(name).unit
        or leaf["confidence"] not in CONFIDENCES
        or not leaf["source"].strip()
    ):
        raise SpecError(
            f"{where}: expected unit {_bound(name).unit!r}, a source, and one of {', '.join(CONFIDENCES)}"
        )


def _known(name: str) -> str:
    if name not in FIELDS:
        raise SpecError(f"knob {name!r} is not known{closest(name, FIELDS)}; valid: {', '.join(FIELDS)}")
    return name


def _bound(name: str) -> Bound:
    bound = bound_of(FIELDS[name])
    if bound is None:
        raise TypeError(name)
    return bound


def _checked(name: str, value: Any) -> Any:
    items = get_args(HINTS[name])
    if not items:
        return _scalar(name, value, HINTS[name])
    listed = value if isinstance(value, list | tuple) else (value,)
    checked = tuple(_scalar(name, item, items[0]) for item in listed)
    return tuple(sorted(set(checked))) if items[0] is int else checked


def _scalar(name: str, value: Any, kind: Any) -> Any:
    bound = _bound(name)
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
