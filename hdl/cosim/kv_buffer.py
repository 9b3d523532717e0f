"""Co-simulation of the KV buffer within the memory system: RTL = simulator in every cycle, burst, round and bit."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_rules import RULES
from skipopu.hdl.cosim.axi_memory_state import EVENT, stall_names
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.kv_buffer_coverage import Coverage, coverage, missing
from skipopu.hdl.cosim.kv_buffer_events import COLUMNS, EVENTS, STREAMS
from skipopu.hdl.cosim.kv_buffer_model import Rounds, Simulated, simulate
from skipopu.hdl.cosim.kv_buffer_outputs import expected_outputs, names_of_columns, read_outputs
from skipopu.hdl.cosim.kv_buffer_rules import broken_rule
from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence, sequences
from skipopu.hdl.cosim.kv_buffer_streams import bench_inputs
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import Pattern, patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.memory_system import MemorySystem
from skipopu.hdl.verilog import Block
from skipopu.sim.error import SimulationError
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.kv_buffer_bench"


@dataclass(frozen=True)
class KvBufferRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    operations: int
    rounds: int
    entries: int  # tokens in rounds
    bursts: int
    transfers: int  # of the output
    coverage: Coverage
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, transactions: int, seed: int, *, rtl: Overlay | None = None, board: str = "u280",
    waves: Path | None = None,
) -> KvBufferRun:  # fmt: skip
    """Run random sequences with at least ``transactions`` AXI bursts, and random stalls, through RTL and simulator.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    SimulationError where the work would leave the buffer, or a kind of read, unexercised.
    """
    began = time.perf_counter()
    rng = np.random.default_rng(seed)
    stalls = patterns(rng, (*STREAMS, *stall_names(overlay.dma.hbm_ports)))
    model = simulate(overlay, Board.load(board), sequences(overlay, rng), stalls, transactions)
    covered = _covered(overlay, model, transactions)
    modelled, block = time.perf_counter() - began, MemorySystem(overlay=rtl or overlay)
    testbench = Testbench(Shell(block=block), BENCH, waves=waves)
    given = _inputs(overlay, block, model, stalls) | {"board": board}
    difference = _compare(overlay, model, testbench.outputs(given))
    seconds = testbench.build_seconds, modelled + testbench.run_seconds
    return _summary(overlay, model, covered, seconds, difference)


def _covered(overlay: Overlay, model: Simulated, transactions: int) -> Coverage:
    shape = kv_shape(overlay)
    found = coverage(shape, _operations(model))
    absent = missing(shape, found)
    if absent:
        what = f"{transactions} bursts leave unexercised: {', '.join(absent)}; ask for more, or for another seed"
        raise SimulationError(f"kv_buffer of {overlay.name}: {what}")
    return found


def _inputs(overlay: Overlay, block: Block, model: Simulated, stalls: dict[str, Pattern]) -> dict[str, Any]:
    """What the bench needs; its pins are the flags of ``block``."""
    return bench_inputs(kv_shape(overlay), model.sequences) | {
        "expected": model.trace, "drives": model.drives, "ratio": overlay.clock.hbm_ratio,
        "ports": overlay.dma.hbm_ports, "flags_in": flag_names(block, In),
        "flags_out": flag_names(block, Out), **{f"stall_{name}": pattern for name, pattern in stalls.items()},
    }  # fmt: skip


def _compare(overlay: Overlay, model: Simulated, found: Arrays) -> Difference | None:
    """Broken rules of AXI first, then cycles, bursts and bits; last what holds whatever the model says."""
    rule, port, tick = (int(value) for value in found["broken"])
    if rule:
        return Difference("tick", tick, f"port {port} breaks a rule: {RULES[rule]}", 0, 1)
    if not found["constants"]:
        return Difference("cycle", len(model.trace), "AxBURST, AxSIZE, WSTRB, RREADY, BREADY", 1, 0)
    return (
        first_difference("cycle", _columns(model.trace), _columns(found["trace"]), COLUMNS)
        or first_difference("AXI event", model.bursts, found["bursts"], EVENT)
        or first_difference("run", np.zeros((1, 1)), found["error"].reshape(1, 1), ("error",))
        or _different_output(overlay, model, found["outputs"])
        or broken_rule(kv_shape(overlay), model.sequences, found)
    )


def _columns(trace: NDArray[np.uint8]) -> NDArray[Any]:
    return np.column_stack([trace[:, :1] >> np.arange(len(EVENTS), dtype=np.uint8) & 1, trace[:, 1]])


def _different_output(overlay: Overlay, model: Simulated, payloads: NDArray[np.uint8]) -> Difference | None:
    """Operation by operation: masks, ends of rounds, and the bits of all lanes in the mask."""
    shape, first = kv_shape(overlay), 0
    names, found = names_of_columns(shape), read_outputs(payloads, shape)
    for number, (sequence, operation, rounds) in enumerate(_operations(model)):
        expected = expected_outputs(shape, sequence, sequence.placement(shape.ports), operation, rounds)
        part = found.part(first, len(expected.mask))
        first += len(expected.mask)
        difference = first_difference(f"operation {number}, transfer", expected.table(), part.table(), names)
        if difference:
            return difference
    return first_difference("run", np.array([[first]]), np.array([[len(payloads)]]), ("transfers",))


def _operations(model: Simulated) -> Iterator[tuple[Sequence, Operation, Rounds]]:
    for sequence, rounds in zip(model.sequences, model.rounds, strict=True):
        for operation, each in zip(sequence.operations, rounds, strict=True):
            yield sequence, operation, each


def _summary(
    overlay: Overlay, model: Simulated, covered: Coverage, seconds: tuple[float, float],
    difference: Difference | None,
) -> KvBufferRun:  # fmt: skip
    work = list(_operations(model))
    return KvBufferRun(
        overlay.name, len(work), sum(len(r.first) - 1 for _, _, r in work), sum(len(r.lane) for _, _, r in work),
        len(model.bursts), sum((len(r.first) - 1) * o.chunks for _, o, r in work), covered, len(model.trace),
        *seconds, difference,
    )  # fmt: skip
