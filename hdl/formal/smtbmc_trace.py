"""Counterexample of yosys-smtbmc: the values of signals, step by step, out of its VCD."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VARIABLE = r"var wire \d+ (?P<code>\S+) (?P<name>\S+)"
SCOPE = re.compile(rf"^\$(?:scope module (?P<into>\S+)|(?P<out>upscope)|{VARIABLE}) ?.*\$end$")
VALUE = re.compile(r"^b(?P<bits>[01]+) (?P<code>\S+)$")
DIGITS = 8  # most that are shown, the last ones
UNTOLD = re.compile(r"_EN$|^first_step$")  # made by Yosys, by the bench


@dataclass(frozen=True)
class Trace:
    """Signal → value of steps 0, 1, …; printed as a table, a step a column, hexadecimal, a dot: as before."""

    values: Mapping[str, tuple[int, ...]]

    def __str__(self) -> str:
        steps = max(map(len, self.values.values()), default=0)
        rows = [("step", [str(step) for step in range(steps)])]
        rows += [(name, _changes(values)) for name, values in sorted(self.values.items())]
        widths = [max(len(cells[step]) for _, cells in rows) for step in range(steps)]
        names = max(len(name) for name, _ in rows)
        lines = (f"{name:<{names}} " + " ".join(map(str.rjust, cells, widths)) for name, cells in rows)
        return "\n".join(f"    {line}" for line in lines)


def read_trace(vcd: str, inside: frozenset[str]) -> Trace:
    """Return the signals of the bench, and of those of the design the ones named in ``inside``."""
    head, _, body = vcd.partition("$enddefinitions $end\n")
    told = ((code, name) for code, name in _signals(head) if not UNTOLD.search(name))
    shown = {code: name for code, name in told if "." not in name or name in inside}
    values: dict[str, list[int]] = {name: [] for name in shown.values()}
    for step in body.split("\n1!\n")[1:]:  # the clock event that begins a step
        for match in map(VALUE.match, step.splitlines()):
            if match and match["code"] in shown:
                values[shown[match["code"]]].append(int(match["bits"], 2))
    return Trace({name: tuple(each) for name, each in values.items()})


def _signals(head: str) -> Iterator[tuple[str, str]]:
    """Code and name, below the bench."""
    scope: list[str] = []
    for match in filter(None, map(SCOPE.match, head.splitlines())):
        if match["into"]:
            scope.append(match["into"])
        elif match["out"]:
            scope.pop()
        else:
            yield match["code"], ".".join((*scope[1:], match["name"]))


def _changes(values: tuple[int, ...]) -> list[str]:
    before = (None, *values)
    return ["." if value == last else _short(f"{value:x}") for last, value in zip(before, values, strict=False)]


def _short(digits: str) -> str:
    return digits if len(digits) <= DIGITS else f"…{digits[-DIGITS:]}"
