"""The hierarchy of a written block: which module stands in which, how often, with the flip-flops below it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from skipopu.hdl.netlist import Netlist, totals

LEVELS = 3  # shown below the top
INDENT = "  "


@dataclass(frozen=True)
class Place:
    """A module in its parent: how often it stands there, and what one such holds with all below it."""

    module: str
    level: int
    instances: int
    modules_below: int
    flip_flop_bits: int
    memory_bits: int


def hierarchy(netlists: Mapping[str, Netlist], top: str, levels: int = LEVELS) -> tuple[Place, ...]:
    """Return the tree from ``top`` down, every parent before what stands in it."""
    return tuple(_places(netlists, top, 1, 0, levels))


def _places(netlists: Mapping[str, Netlist], module: str, instances: int, level: int, levels: int) -> Iterator[Place]:
    found = totals(netlists, module)
    below = sum(found.instances.values()) - 1
    yield Place(module, level, instances, below, found.flip_flop_bits, found.memory_bits)
    if level < levels and module in netlists:
        for child, count in Counter(netlists[module].instances.values()).items():
            yield from _places(netlists, child, count, level + 1, levels)


def tree(places: tuple[Place, ...]) -> str:
    """Return it as text, a line a module."""
    names = [INDENT * each.level + each.module + f" ×{each.instances}" * (each.instances > 1) for each in places]
    wide = max(map(len, names))
    return "".join(
        f"{name:{wide}}  {place.flip_flop_bits:>11,} flip-flops  {place.memory_bits:>13,} memory bits\n"
        for name, place in zip(names, places, strict=True)
    )
