"""Function units: pipelines of steps, several settings of which stand in one design."""

import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from amaranth.hdl import Module, Value

from skipopu.hdl.pipeline import delayed, named, registers
from skipopu.hdl.verilog import Block


class Unit(Block):
    """A block whose latency is its parameter ``stages``, 0 on; its module is named after the parameters.

    Without a stage a unit is combinational: as a part of a larger unit it may share a cycle with its neighbours.
    """

    STEPS: ClassVar[int]  # steps of logic over which the stages are spread

    @property
    def module(self) -> str:
        """The class and the parameters, a minus sign as ``m``."""
        words = [super().module, *(str(value).lower() for _, value in self._parameters)]
        return re.sub(r"\W+", "_", "_".join(words).replace("-", "m")).rstrip("_")


def shares(steps: Sequence[int], stages: int) -> list[int]:
    """Return how many of ``stages`` registers each of a row of parts gets, which have so many ``steps``."""
    cuts = iter(registers(sum(steps), stages))
    return [sum(next(cuts) for _ in range(count)) for count in steps]


def combined(m: Module, values: list[Any], both: Callable[[Any, Any], Value], cuts: Sequence[int], name: str) -> Any:
    """Return a tree's root: neighbours of ``values`` combined level by level, each level followed by its cut.

    ``cuts`` has one number a level; an odd one out passes on to the next level.
    """
    for level, cut in enumerate(cuts, 1):
        pairs = zip(values[::2], values[1::2], strict=False)
        found = [named(m, both(a, b), f"{name}{level}_{k}") for k, (a, b) in enumerate(pairs)]
        rest = values[len(found) * 2 :]
        values = [delayed(m, value, cut, f"{name}{level}_{k}") for k, value in enumerate([*found, *rest])]
    return values[0]


def levels(count: int) -> int:
    """Return the levels of a tree with ``count`` leaves."""
    return (count - 1).bit_length()
