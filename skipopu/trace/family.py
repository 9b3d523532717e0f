"""The families of dynamic computation: what is known of each, and its traces at the size of published models.

A family is a TOML file in ``families/``. Those that skip tokens at random rates name a preset of ``presets.toml``;
the others have a generator beside their file: a module with a dataclass ``Knobs`` and a function ``make``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import CONFIDENCES
from skipopu.spec.load import read_toml
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.check import in_range, one_of
from skipopu.trace.knob_fields import KnobFields
from skipopu.trace.knobs import Knobs, preset, preset_leaves, presets
from skipopu.trace.schema import Trace
from skipopu.trace.synthetic import MOST_TOKENS, synthesize

FAMILIES = Path(__file__).parent / "families"


@dataclass(frozen=True)
class Family:
    """What is known of a family; ``confidence`` is that of ``published``.

    ``cuts``: which of M, N, K and of the K/V length it makes smaller. ``knobs``: value, unit, source and confidence
    of every knob's default.
    """

    name: str
    title: str
    source: str
    cuts: str
    published: str
    confidence: str
    shape: str
    preset: str
    knobs: Mapping[str, Mapping[str, Any]]

    @property
    def fields(self) -> KnobFields:
        """The knobs its generator takes."""
        return KnobFields(Knobs if self.preset else _module(self.name).Knobs)


def families() -> tuple[str, ...]:
    """Return the names of all families."""
    return tuple(sorted({path.stem for path in FAMILIES.glob("*.toml")} | set(presets())))


@cache
def family(name: str) -> Family:
    """Return what is known of a family; SpecError for an unknown name and for a file that lacks something."""
    one_of("family", name, families())
    path = FAMILIES / f"{name}.toml"
    if not path.is_file():  # another operating point of a family that has a file
        owner = family(preset(name)[0])
        return Family(**{**vars(owner), "name": name, "preset": name, "knobs": preset_leaves(name)})
    table = read_toml(path)
    wanted = {f.name for f in fields(Family)} - {"name", "knobs", "preset"}
    if missing := sorted(wanted - set(table)):
        raise SpecError(f"{path.name}: key {missing[0]!r} is missing; expected {', '.join(sorted(wanted))}")
    one_of(f"{path.name}: confidence", table["confidence"], CONFIDENCES)
    point = table.get("preset", "")
    knobs = preset_leaves(point) if point else table.get("knobs", {})
    found = Family(name, **{key: table[key] for key in wanted}, preset=point, knobs=knobs)
    _check_defaults(found, path.name)
    return found


def generate(
    name: str,
    shape: ModelShape | str | None = None,
    prompt: int = 128,
    decode: int = 1024,
    skip: float | None = None,
    seed: int = 0,
    knobs: Iterable[str] = (),
) -> Trace:
    """Make a trace of a family: ``prompt`` text tokens prefilled, ``decode`` tokens generated, at batch 1.

    ``knobs`` are settings like ``"rho=0.5"``; `Family.knobs` says which and with what defaults. ``skip`` is the mean
    skip rate of families that have one. Raises SpecError for a bad knob, naming its range and the nearest valid value.
    """
    known = family(name)
    model = ModelShape.load(shape or known.shape) if not isinstance(shape, ModelShape) else shape
    given = known.fields.parse(knobs)
    if known.preset:
        return synthesize(known.preset, model, prompt, decode, skip, seed, **given)
    if skip is not None:
        raise SpecError(f"--skip {skip:g}: {name} has no mean skip rate; set its knobs: {', '.join(known.knobs)}")
    in_range("prompt", prompt, 1, MOST_TOKENS)
    in_range("decode", decode, 0, MOST_TOKENS - prompt)
    in_range("seed", seed, 0, 2**63 - 1)
    module, values = _module(name), {key: leaf["value"] for key, leaf in known.knobs.items()}
    made: Trace = module.make(model, prompt, decode, seed, module.Knobs(**known.fields.check(values | given)))
    return made


def _module(name: str) -> Any:
    return import_module(f"skipopu.trace.families.{name}")


def _check_defaults(found: Family, where: str) -> None:
    """Every knob has a default in its bounds, and no other has."""
    declared = found.fields
    for name, leaf in found.knobs.items():
        declared.check_leaf(where, name, leaf)
    declared.check({name: leaf["value"] for name, leaf in found.knobs.items()})
    if missing := sorted(set(declared.bounds) - set(found.knobs)):
        raise SpecError(f"{where}: knob {missing[0]!r} has no default; add it under [knobs]")
