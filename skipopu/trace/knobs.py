"""Knobs of the synthetic generator: what each means, its bounds, its default and the presets."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skipopu.spec.leaf import flag, number, word
from skipopu.spec.load import read_toml
from skipopu.trace.check import one_of
from skipopu.trace.knob_fields import KnobFields
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


FIELDS = KnobFields(Knobs)


def parse_knobs(settings: Iterable[str]) -> dict[str, Any]:
    """Parse ``["rho=0.5", "always_on_attention=0,1"]`` into keyword arguments of ``synthesize``."""
    return FIELDS.parse(settings)


def presets() -> tuple[str, ...]:
    """Return the names ``synthesize`` takes as a family."""
    return tuple(_table()["preset"])


def preset(name: str) -> tuple[str, dict[str, Any]]:
    """Return the family of a preset and all its knobs, defaults included."""
    one_of("family", name, presets())
    return _table()["preset"][name]["family"], {key: leaf["value"] for key, leaf in preset_leaves(name).items()}


def preset_leaves(name: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the knobs of a preset with unit, source and confidence."""
    merged: Mapping[str, Mapping[str, Any]] = _table()["knob"] | _table()["preset"][name]["knobs"]
    return merged


def check_knobs(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values in their types; one out of bounds or of an unknown name raises SpecError."""
    return FIELDS.check(values)


@cache
def _table() -> dict[str, Any]:
    table = read_toml(PRESETS)
    for knobs in (table["knob"], *(p["knobs"] for p in table["preset"].values())):
        for name, leaf in knobs.items():
            FIELDS.check_leaf(PRESETS.name, name, leaf)
    return table
