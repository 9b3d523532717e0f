"""A parameter as it stands in a TOML file: value, unit, and where the value comes from."""

from dataclasses import Field, dataclass, field
from typing import Any, Literal, get_args

Confidence = Literal["paper", "datasheet", "measured", "derived", "decision"]
Value = int | float | str | bool
CONFIDENCES: tuple[str, ...] = get_args(Confidence)
LEAF_KEYS = ("value", "unit", "source", "confidence")


@dataclass(frozen=True, slots=True)
class Leaf:
    """One resolved parameter with its provenance."""

    value: Value
    unit: str
    source: str
    confidence: Confidence


@dataclass(frozen=True, slots=True)
class Bound:
    """What a leaf may be: a closed range for numbers, a set of words for strings.

    ``power_of_two`` restricts an integer to powers of two.
    """

    unit: str
    low: float = 0
    high: float = float(2**48)
    choices: tuple[str, ...] = ()
    power_of_two: bool = False


def number(unit: str, low: float, high: float, *, power_of_two: bool = False, usual: float | None = None) -> Any:
    """Declare a numeric leaf of a specification dataclass, ``low <= value <= high`` in ``unit``.

    A file may leave a leaf out that has a ``usual`` value.
    """
    return _leaf(Bound(unit, low, high, power_of_two=power_of_two), usual)


def word(*choices: str, usual: str | None = None) -> Any:
    """Declare a leaf that is one of ``choices``."""
    return _leaf(Bound("word", choices=choices), usual)


def flag(*, usual: bool | None = None) -> Any:
    """Declare a leaf that is true or false."""
    return _leaf(Bound("flag"), usual)


def _leaf(bound: Bound, usual: Value | None) -> Any:
    metadata = {"bound": bound}
    return field(metadata=metadata) if usual is None else field(default=usual, metadata=metadata)


def bound_of(declared: "Field[Any]") -> Bound | None:
    """Return the bound of a leaf field, or None where the field is a section."""
    return declared.metadata.get("bound")
