"""Co-simulation of DmaControl and KvControl: what an instruction asks of the HBM's blocks, and what a cycle is for."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.hbm_control_model import UNSAID, expected
from skipopu.hdl.cosim.hbm_control_shell import GIVEN, HbmControlShell
from skipopu.hdl.cosim.hbm_control_stimulus import random_cycles
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.word_bench"  # a word in and a word out a cycle


@dataclass(frozen=True)
class HbmControlRun:
    """What was compared, and the first difference if there is one."""

    cycles: int
    instructions: int
    difference: Difference | None


def cosimulate(overlay: Overlay, cycles: int, seed: int) -> HbmControlRun:
    """Give both controls random instructions and answers."""
    given = random_cycles(overlay, cycles, np.random.default_rng(seed))
    shell = HbmControlShell(overlay=overlay)
    raw = b"".join(word.to_bytes(GIVEN.size // 8 + 1, "little") for word in map(pack_given, given))
    rows = np.frombuffer(raw, np.uint8).reshape(len(given), -1)
    answers = Testbench(shell, BENCH).outputs({"given": rows})["found"]
    model = expected(given, overlay)
    names = list(model[0])
    table = np.array([list(row.values()) for row in model], object)
    rtl = np.array([_unpack(row, shell.found_layout) for row in answers], object)
    signals = [name for name, _ in shell.found_layout]
    rtl = np.where(table == UNSAID, table, rtl[:, [signals.index(name) for name in names]])
    begun = sum(int(cycle[name]) for cycle in given for name in ("dma_begins", "kv_begins"))
    return HbmControlRun(len(given), begun, first_difference("cycle", table, rtl, names))


def pack_given(values: dict[str, int]) -> int:
    """Return what the shell is given in a cycle."""
    return sum(values[name] << field.offset for name, field in GIVEN)


def _unpack(row: NDArray[np.uint8], layout: Any) -> list[int]:
    word = int.from_bytes(row.tobytes(), "little")
    return [word >> field.offset & (1 << field.width) - 1 for _, field in layout]
