"""Published figures of training methods, from published.toml."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from skipopu.spec.leaf import number, word
from skipopu.spec.load import build, read_toml
from skipopu.trace.check import one_of

PUBLISHED = Path(__file__).parent / "published.toml"


@dataclass(frozen=True)
class Method:
    """``kept_share``: mean generated tokens relative to the model before; ``how`` they came to be fewer."""

    kept_share: float = number("share", 0, 1)
    how: str = word("scaled", "terminated")


def methods() -> tuple[str, ...]:
    """Return the names of the methods."""
    return tuple(_table())


def method(name: str) -> Method:
    """Return the figures of a method; SpecError for an unknown name."""
    one_of("method", name, methods())
    made: Method = build(Method, _table()[name], f"{PUBLISHED.name} [{name}]")[0]
    return made


@cache
def _table() -> dict[str, Any]:
    return read_toml(PUBLISHED)
