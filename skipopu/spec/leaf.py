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


def number(unit: str, low: float, high: float, *, power_of_two: bool = False) -> Any:
    """Declare a numeric leaf of a specification dataclass, ``low <= value <= high`` in ``unit``."""
    return field(metadata={"bound": Bound(unit, low, high, power_of_two=power_of_two)})


def word(*choices: str) -> Any:
    """Declare a leaf that is one of ``choices``."""
    return field(metadata={"bound": Bound("word", choices=choices)})


def flag() -> Any:
    """Declare a leaf that is true or false."""
    return field(metadata={"bound": Bound("flag")})


def bound_of(declared: "Field[Any]") -> Bound | None:
    """Return the bound of a leaf field, or None where the field is a section."""
    return declared.metadata.get("bound")
