"""Co-simulation of Control and the performance counters with a model of a host's view."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skipopu.hdl.axi import OKAY
from skipopu.hdl.cosim.control_model import ControlModel
from skipopu.hdl.cosim.control_shell import HELD, ControlShell
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.control_bench"
ANSWER = ("cycle", "response", "data")


@dataclass(frozen=True)
class ControlRun:
    """What was compared, and the first difference if there is one."""

    accesses: int
    refused: int
    difference: Difference | None


def cosimulate(overlay: Overlay, accesses: int, seed: int, *, waves: Path | None = None) -> ControlRun:
    """Let a host access registers at random."""
    rng = np.random.default_rng(seed)
    model = ControlModel(overlay, rng)
    asked = [model.random_access(rng) for _ in range(accesses)]
    found = Testbench(ControlShell(overlay=overlay), BENCH, waves=waves).outputs(
        {"accesses": np.array(asked, np.int64), "shown": model.shown_bytes(), "seed": seed}
    )
    answers = found["answers"]
    expected, held = model.run(asked, answers[:, 0].tolist(), len(found["held"]))
    difference = first_difference("access", expected, answers, ANSWER)
    rtl = np.array([[int.from_bytes(v.tobytes(), "little") for v in row] for row in found["held"]], object)
    return ControlRun(
        accesses, int((answers[:, 1] != OKAY).sum()), difference or first_difference("cycle", held, rtl, HELD)
    )
