"""Lock-step: the causes of all blocks in every cycle, the retire stream, and the counters, RTL beside simulator."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.overlay_causes import Causes, cause_name, unpacked
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.hdl.cosim.overlay_retired import COLUMNS, TIMES, table_of
from skipopu.program.isa import Words, disassemble
from skipopu.sim.run import Retired
from skipopu.spec.ledger import Block, Cause

Ints = NDArray[np.int64]


def different_cause(model: Causes, rtl: Causes) -> OverlayDifference | None:
    """Return the first cycle in which a block has another cause, or in which only one of both still runs."""
    common = min(len(model), len(rtl))
    cycles = np.flatnonzero(model[:common] != rtl[:common])
    if cycles.size:
        cycle = int(cycles[0])
        ours, theirs = unpacked(model[cycle : cycle + 1])[0], unpacked(rtl[cycle : cycle + 1])[0]
        block = int(np.flatnonzero(ours != theirs)[0])
        values = cause_name(int(ours[block])), cause_name(int(theirs[block]))
        return OverlayDifference("cause", cycle, f"block {Block(block).label}, signal cause", *values)
    if len(model) == len(rtl):
        return None
    states = ("ended", "runs") if len(model) < len(rtl) else ("runs", "ended")
    return OverlayDifference("cause", common, "all blocks, signal running", *states)


def different_retirement(model: Retired, rtl: Ints, words: Words) -> OverlayDifference | None:
    """Return the difference of an instruction that shows first; ``rtl`` [entry, COLUMNS] in the order of the stream."""
    found = [_repeated(rtl, len(words)), _different_entry(table_of(model), rtl)]
    there = [each for each in found if each is not None]
    if not there:
        return None
    cycle, index, signal, ours, theirs = min(there)
    return OverlayDifference("instruction", cycle, f"{_named(index, words)}, {signal}", ours, theirs)


def _named(index: int, words: Words) -> str:
    """An instruction with its disassembled line."""
    line = "beyond the program"
    if index < len(words):
        line = " ".join(disassemble(words[index : index + 1])[0].split()[1:])
    return f"instruction {index} ({line})"


def never_retired(rtl: Ints, words: Words) -> OverlayDifference | None:
    """Whatever the times: every instruction retires, and once."""
    index = rtl[:, COLUMNS.index("index")]
    counts = np.bincount(index, minlength=len(words))
    wrong = np.flatnonzero(counts != (np.arange(len(counts)) < len(words)))
    if not wrong.size:
        return None
    at = int(wrong[0])
    expected, found = str(int(at < len(words))), str(int(counts[at]))
    return OverlayDifference("instruction", None, f"{_named(at, words)}, retirements", expected, found)


def different_counters(ledger: Ints, counters: Ints, of: str) -> OverlayDifference | None:
    """Compare the counters [Block, Cause] with a ledger; ``of`` says whose it is."""
    places = np.argwhere(ledger != counters)
    if not len(places):
        return None
    block, cause = (int(n) for n in places[0])
    where = f"{Block(block).label} {Cause(cause).label}, of {of}"
    values = str(int(ledger[block, cause])), str(int(counters[block, cause]))
    return OverlayDifference("counter", None, where, *values)


_Entry = tuple[int, int, str, str, str]  # cycle, instruction, signal, both values


def _repeated(rtl: Ints, instructions: int) -> _Entry | None:
    """An instruction retires once, and is of the program."""
    seen: set[int] = set()
    for entry in rtl:
        index, last = int(entry[COLUMNS.index("index")]), int(entry[COLUMNS.index("last")])
        if index in seen or index >= instructions:
            return last, index, "retirements", "1" if index in seen else "0", "2" if index in seen else "1"
        seen.add(index)
    return None


def _different_entry(model: Ints, rtl: Ints) -> _Entry | None:
    """The signal of an instruction that differs first in time."""
    place = {int(index): n for n, index in reversed(list(enumerate(rtl[:, COLUMNS.index("index")])))}
    here = np.array([place.get(index, -1) for index in range(len(model))], np.int64)
    absent = np.flatnonzero(here < 0)
    found = [(int(model[i, -1]), int(i), "last", str(int(model[i, -1])), "never retires") for i in absent]
    both = np.flatnonzero(here >= 0)
    ours, theirs = model[both], rtl[here[both]]
    for row, column in np.argwhere(ours != theirs):
        signal, values = COLUMNS[column], (int(ours[row, column]), int(theirs[row, column]))
        cycle = min(values) if signal in TIMES else int(ours[row, COLUMNS.index("last")])
        found.append((cycle, int(both[row]), signal, *_texts(signal, values)))
    return min(found, default=None)


def _texts(signal: str, values: tuple[int, int]) -> tuple[str, str]:
    ours, theirs = (Block(v).label if signal == "engine" and v in Block._value2member_map_ else str(v) for v in values)
    return ours, theirs
