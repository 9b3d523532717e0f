"""Co-simulation of load, store, global buffer and DDR4 ports: RTL = simulator in every cycle, = image in every byte."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_comparison import broken, different_cycles, different_data
from skipopu.hdl.cosim.ddr_events import ENGINES, INSTRUCTION_FIELDS
from skipopu.hdl.cosim.ddr_expected import Moved, moved
from skipopu.hdl.cosim.ddr_memory_state import ddr_stall_names
from skipopu.hdl.cosim.ddr_model import simulated
from skipopu.hdl.cosim.ddr_model_state import BURSTS, DdrModel, new_model
from skipopu.hdl.cosim.ddr_shell import DdrEngines
from skipopu.hdl.cosim.ddr_stimulus import AT, DdrWork, Ints, ddr_work
from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import Pattern, patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.ddr_burst import BURST
from skipopu.hdl.global_buffer import write_back_latency
from skipopu.program.isa import NAMES, encode
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.ddr_bench"
BOARD = "u280"
SLOWER = 40  # times the cycles of the simulator that a run with stalls may take: a deadlock beyond


@dataclass(frozen=True)
class DdrRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    instructions: int
    bursts: int
    stalled_bursts: int  # of these with a memory that stalls: where time is free, and every byte is compared
    tiles_loaded: int
    tiles_stored: int
    tiles_read: int  # by the other users of the global buffer
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


class _Bench:
    """The RTL, run once in step with the simulator and once with a memory that stalls."""

    def __init__(self, overlay: Overlay, rtl: Overlay, waves: Path | None) -> None:
        self._overlay, self._rtl, self._block = overlay, rtl, DdrEngines(overlay=rtl)
        self.testbench = Testbench(Shell(block=self._block), BENCH, waves=waves)
        self.instructions = self.tiles_loaded = self.tiles_stored = self.tiles_read = self.cycles = 0

    def run(self, bursts: int, seed: int, stalled: bool) -> tuple[int, Difference | None]:
        """Return the bursts and the first difference."""
        work, trace, events = _modelled(self._overlay, bursts, seed)
        stalls = patterns(np.random.default_rng(seed), ddr_stall_names()) if stalled else {}
        given = _inputs(self._rtl, work, stalls) | {"cycles": len(trace) * (SLOWER if stalled else 1)}
        given |= {"flags_in": flag_names(self._block, In), "flags_out": flag_names(self._block, Out)}
        found = self.testbench.outputs(given)
        expected = moved(self._overlay, work, found["trace"])
        self._count(work, expected, found)
        difference = broken(found) or (None if stalled else different_cycles(trace, events, found))
        return len(found["events"]), difference or different_data(expected, found)

    def _count(self, work: DdrWork, expected: Moved, found: Arrays) -> None:
        self.instructions += len(work.load) + len(work.store)
        self.tiles_loaded += len(expected.tile_address)
        self.tiles_stored += len(expected.read_address)
        self.tiles_read += sum(map(len, expected.reads.values()))
        self.cycles += len(found["trace"])


def cosimulate(
    overlay: Overlay, bursts: int, seed: int, *, rtl: Overlay | None = None, waves: Path | None = None
) -> DdrRun:
    """Run random loads and stores that make at least ``bursts`` AXI bursts, then as many with a memory that stalls.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    bench = _Bench(overlay, rtl or overlay, waves)
    count, difference = bench.run(bursts, seed, False)
    stalled = 0
    if difference is None:
        stalled, difference = bench.run(bursts, seed + 1, True)
    return DdrRun(
        overlay.name, bench.instructions, count + stalled, stalled, bench.tiles_loaded, bench.tiles_stored,
        bench.tiles_read, bench.cycles, bench.testbench.build_seconds, bench.testbench.run_seconds, difference,
    )  # fmt: skip


def _modelled(overlay: Overlay, bursts: int, seed: int) -> tuple[DdrWork, Ints, Ints]:
    """Double the work until it makes so many bursts."""
    count = max(bursts // 16, 4)
    while True:
        work = ddr_work(overlay, count, np.random.default_rng(seed))
        model: DdrModel = new_model(overlay, Board.load(BOARD), work)
        trace, events = simulated(model)
        if len(events) >= bursts:
            return work, trace, events
        count *= 2


def _inputs(overlay: Overlay, work: DdrWork, stalls: dict[str, Pattern]) -> dict[str, Any]:
    given = [AT[name] for name in ("executed", "rounds", "gap", "blocked")]
    fetch = [BURST.const({"address": address, "beats": beats}).as_bits() for address, beats in work.fetch.tolist()]
    engines = zip(ENGINES, (work.load, work.store), strict=True)
    leaves = {key: leaf.value for key, leaf in overlay.provenance.items()}
    return {
        "overlay": "tiny", "settings": [f"{key}={_text(value)}" for key, value in leaves.items()],
        "contents": work.contents, "bursts": BURSTS * len(work.load), "stalled": bool(stalls),
        "fetch": np.array(fetch, np.int64), "fetch_beats": work.fetch[:, 1].sum(),
        "addresses": work.addresses, "data": work.data, "mask": work.mask,
        "read_stages": overlay.global_buffer.read_stages, "result_latency": overlay.result_latency,
        "write_back_latency": write_back_latency(overlay),
        **{f"stall_{name}": pattern for name, pattern in {**work.stalls, **stalls}.items()},
        **{f"{name}_{what}": value for name, table in engines
           for what, value in (("words", _words(table)), ("given", table[:, given]))},
    }  # fmt: skip


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _words(table: Ints) -> NDArray[np.uint8]:
    """Encoded instructions, as bytes."""
    fields = np.zeros((len(table), len(NAMES)), np.int64)
    for name in INSTRUCTION_FIELDS:
        fields[:, NAMES.index(name)] = table[:, AT[name]]
    return encode(fields).view(np.uint8)
