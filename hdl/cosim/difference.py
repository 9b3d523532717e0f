"""The first place where RTL and model differ, named so that one can look at it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Difference:
    """A place, what stands there, and both values."""

    kind: str  # what is counted: cycle, entry, …
    index: int
    signal: str
    model: int | None  # None: there is nothing here
    rtl: int | None

    def __str__(self) -> str:
        """One line."""
        model, rtl = ("nothing" if v is None else f"{v:#x}" for v in (self.model, self.rtl))
        return f"{self.kind} {self.index}, {self.signal}: model {model}, RTL {rtl}"


def first_difference(
    kind: str, model: NDArray[Any], rtl: NDArray[Any], signals: Sequence[str]
) -> Difference | None:
    """Compare two tables [places, signals] and return their first difference in order of places."""
    common = min(len(model), len(rtl))
    places, columns = np.nonzero(model[:common] != rtl[:common])
    if len(places):
        at, column = int(places[0]), int(columns[0])
        return Difference(kind, at, signals[column], int(model[at, column]), int(rtl[at, column]))
    if len(model) == len(rtl):
        return None
    there = [int(table[common, 0]) if len(table) > common else None for table in (model, rtl)]
    return Difference(kind, common, signals[0], *there)
