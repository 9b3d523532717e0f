"""The first difference of each kind between overlay and model, in words; those with a cycle come first, by cycle."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class OverlayDifference:
    """One difference: where, and both values."""

    kind: str  # what was compared: cause, instruction, counter, …
    cycle: int | None  # core cycle since the program began; None: known when all is over
    where: str
    model: str
    rtl: str

    def __str__(self) -> str:
        """One line."""
        when = "" if self.cycle is None else f"cycle {self.cycle}, "
        return f"{when}{self.kind}, {self.where}: model {self.model}, RTL {self.rtl}"


def in_order(found: Iterable[OverlayDifference | None]) -> tuple[OverlayDifference, ...]:
    """Leave out what did not differ, and put the others in the order of time."""
    there = [each for each in found if each is not None]
    timed = sorted((each for each in there if each.cycle is not None), key=lambda each: each.cycle or 0)
    return (*timed, *(each for each in there if each.cycle is None))
