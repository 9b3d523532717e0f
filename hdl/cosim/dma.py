"""Co-simulation of the DMA: RTL = simulator in every cycle, request and bit, with random stalls on every channel."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import new_axi_memory, stall_names
from skipopu.hdl.cosim.difference import Difference
from skipopu.hdl.cosim.dma_comparison import compare
from skipopu.hdl.cosim.dma_model import simulated_trace
from skipopu.hdl.cosim.dma_model_state import DmaModel, new_model
from skipopu.hdl.cosim.dma_stimulus import DmaWork, dma_work
from skipopu.hdl.cosim.dma_trace import stream_names
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import Pattern, patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.dma import Dma, routed_write_layout
from skipopu.hdl.read_master import burst_layout
from skipopu.hdl.weight_stream import weights_layout
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

BENCH = "skipopu.hdl.cosim.dma_bench"


@dataclass(frozen=True)
class DmaRun:
    """What was compared, and the first difference if there is one."""

    overlay: str
    bursts: int
    words: int
    chunks: int
    cycles: int
    build_seconds: float
    run_seconds: float
    difference: Difference | None


def cosimulate(
    overlay: Overlay, bursts: int, seed: int, *, rtl: Overlay | None = None, board: str = "u280",
    waves: Path | None = None,
) -> DmaRun:  # fmt: skip
    """Run at least ``bursts`` random AXI bursts with random stalls through RTL and simulator.

    ``rtl`` builds the hardware from another overlay than the model. Waves go to the directory ``waves``.
    """
    block = Dma(overlay=rtl or overlay)
    testbench = Testbench(Shell(block=block), BENCH, waves=waves)
    rng = np.random.default_rng(seed)
    work = dma_work(overlay, bursts, rng)
    ports = overlay.dma.hbm_ports
    stalls = patterns(rng, (*stall_names(ports), *stream_names(ports)))
    model = _model(overlay, work, stalls, board)
    trace = simulated_trace(model)
    given = _inputs(overlay, work, stalls) | {"cycles": len(trace), "board": board}
    given |= {"flags_in": flag_names(block, In), "flags_out": flag_names(block, Out)}
    found = testbench.outputs(given)
    difference = compare(overlay, model, trace, found)
    seconds = testbench.build_seconds, testbench.run_seconds
    taken, words, chunks = int(model.memory.total[0].events), len(found["words"]), int(work.kv[:, :, 1].sum())
    return DmaRun(overlay.name, taken - int(work.writes[:, 1].sum()), words, chunks, len(trace), *seconds, difference)


def _model(overlay: Overlay, work: DmaWork, stalls: dict[str, Pattern], board: str) -> DmaModel:
    ports = overlay.dma.hbm_ports
    memory = new_axi_memory(Board.load(board), ports, stalls, _most_beats(overlay, work), work.bursts)
    return new_model(overlay, work, memory, np.stack([stalls[name] for name in stream_names(ports)]))


def _most_beats(overlay: Overlay, work: DmaWork) -> int:
    """Beats written to the port that is written to most."""
    return int(np.bincount(work.writes[:, 0]).max()) * overlay.clock.hbm_ratio


def _inputs(overlay: Overlay, work: DmaWork, stalls: dict[str, Pattern]) -> dict[str, Any]:
    ratio, ports = overlay.clock.hbm_ratio, overlay.dma.hbm_ports
    operation = weights_layout(ratio)
    operations = [operation.const({"address": a, "sets": s}).as_bits() for a, s in work.operations.tolist()]
    return {
        "ratio": ratio, "ports": ports, "kv_chunks": overlay.dma.kv_chunks, "chunk_bytes": overlay.chunk_bytes,
        "beats": _most_beats(overlay, work), "bursts": work.bursts,
        "address_bits": burst_layout(ratio)["address"].width,
        "operations": _bytes(operations), "writes": _bytes(_write_words(overlay, work)),
        "kv": work.kv, "kv_count": work.kv_count,
        **{f"stall_{name}": pattern for name, pattern in stalls.items()},
    }  # fmt: skip


def _write_words(overlay: Overlay, work: DmaWork) -> list[int]:
    """Payloads of the write stream."""
    layout = routed_write_layout(overlay.dma.hbm_ports, overlay.clock.hbm_ratio)
    chunk = layout["chunk"].shape
    at = {name: chunk[name].offset for name in ("last", "burst")}
    length = chunk["burst"].shape["chunks"].offset
    return [
        int.from_bytes(data.tobytes(), "little") | last << at["last"] | (size << length | address) << at["burst"]
        | port << layout["port"].offset
        for data, (port, last, address, size) in zip(work.write_data, work.writes.tolist(), strict=True)
    ]  # fmt: skip


def _bytes(values: list[int]) -> NDArray[np.uint8]:
    size = max(value.bit_length() for value in values) // 8 + 1
    return np.frombuffer(b"".join(value.to_bytes(size, "little") for value in values), np.uint8).reshape(-1, size)
