"""Co-simulation of MatrixControl: RTL = the layouts as they are stated, = the simulator in every start and end."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.matrix_model import MatrixModel
from skipopu.hdl.cosim.matrix_places import operands, words
from skipopu.hdl.cosim.matrix_said import Cycle
from skipopu.hdl.cosim.matrix_shell import MatrixShell, Port, ports
from skipopu.hdl.cosim.matrix_stimulus import Stimulus
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.program.isa import Opcode
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.word_bench"  # a word in and a word out a cycle
PRODUCTS = (Opcode.MATMUL, Opcode.SCORES, Opcode.CONTEXT)


@dataclass(frozen=True)
class MatrixRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    instructions: dict[Opcode, int]
    tiles: int  # row tiles read
    words: int  # of results
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(overlay: Overlay, instructions: int, seed: int, *, waves: Path | None = None) -> MatrixRun:
    """Run random instructions through MatrixControl, with all that surrounds it drawn at random."""
    testbench = Testbench(MatrixShell(overlay=overlay), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    work = Stimulus(overlay, rng).instructions(instructions)
    cycles = MatrixModel(work, overlay, rng).run()
    found = testbench.outputs({"given": _given(cycles, ports(overlay, In))})["found"]
    some = [i for i in work if i.listed]
    return MatrixRun(
        overlay.name, dict(Counter(Opcode(i.opcode) for i in work)),
        sum(1 for i in some for _ in operands(i, overlay)),
        sum(1 for i in some if i.opcode in PRODUCTS for _ in words(i, overlay)),
        len(cycles), testbench.build_seconds, testbench.run_seconds, _compare(cycles, found, ports(overlay, Out)),
    )  # fmt: skip


def _given(cycles: Sequence[Cycle], places: dict[str, Port]) -> NDArray[np.uint8]:
    size = -(-max(p.at + p.width for p in places.values()) // 8)
    rows = (_word(cycle.given, places).to_bytes(size, "little") for cycle in cycles)
    return np.frombuffer(b"".join(rows), np.uint8).reshape(-1, size)


def _word(values: dict[str, int], places: dict[str, Port]) -> int:
    return sum((value & (1 << places[name].width) - 1) << places[name].at for name, value in values.items())


def _compare(cycles: Iterable[Cycle], found: NDArray[np.uint8], places: dict[str, Port]) -> Difference | None:
    """The first bits that are said and differ."""
    for number, (cycle, row) in enumerate(zip(cycles, found, strict=True)):
        word = int.from_bytes(row.tobytes(), "little")
        for name, (value, mask) in cycle.expected.items():
            port = places[name]
            said = mask & (1 << port.width) - 1
            rtl = word >> port.at & said
            if rtl != value & said:
                return Difference("cycle", number, name, value & said, rtl)
    return None
