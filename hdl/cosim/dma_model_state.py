"""What the model of the DMA's bench adds to the simulator's own records: queues of AXI requests, sources, notes."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import WORDS, AxiMemory
from skipopu.hdl.cosim.dma_stimulus import DmaWork, write_beats
from skipopu.sim.machine import PARAMETERS, new_ports, record
from skipopu.spec.overlay import Overlay

RING = 64  # requests of a channel on their way; spec bounds the bursts outstanding by it
PORT = np.dtype(
    [
        # requests on their way to AR and AW, absolute indices into rings
        ("head", "i8", (2,)), ("tail", "i8", (2,)),
        *((name, "i8", (2, RING)) for name in ("due", "address", "beats", "ID")),
        ("w_burst", "i8"), ("w_beat", "i8"), ("w_sent", "i8"),  # burst that W is at, its beats, beats of all
        ("kv_next", "i8"), ("kv_offered", "i8"), ("kv_requested", "i8"), ("kv_popped", "i8"), ("kv_credit", "i8"),
        ("r_beats", "i8", (2,)),  # beats taken from R, of each ID
    ],
    align=True,
)  # fmt: skip
CORE = ["operation", "operation_offered", "write", "write_offered", "finished"]


class DmaModel(NamedTuple):
    """The simulator's records of the block, the memory, and what the bench drives."""

    p: Any
    dma: Any
    ports: Any
    memory: AxiMemory
    lines: Any  # records PORT [port]
    core: Any
    stalls: NDArray[np.uint8]  # [stream, cycle]
    operations: NDArray[np.int64]
    kv: NDArray[np.int64]
    kv_count: NDArray[np.int64]
    writes: NDArray[np.int64]
    write_beats: NDArray[np.uint64]  # [port, beat, word]
    weights: NDArray[np.uint64]  # [port, beat, word], as they came
    chunks: NDArray[np.uint64]  # [port, K/V beat, word]


def new_model(overlay: Overlay, work: DmaWork, memory: AxiMemory, stalls: NDArray[np.uint8]) -> DmaModel:
    """Return everything at cycle 0."""
    ratio, ports = overlay.clock.hbm_ratio, overlay.dma.hbm_ports
    p, (state, dma) = record(PARAMETERS), new_ports(overlay)
    for name, value in _parameters(overlay).items():
        p[name] = value
    kv = int(work.kv[:, :, 1].sum(axis=1).max())
    weights = int(work.operations[:, 1].sum())
    return DmaModel(
        p, dma, state, memory, np.zeros(ports, PORT).view(np.recarray), record(CORE), stalls, work.operations,
        work.kv, work.kv_count, work.writes, write_beats(work, ports),
        np.zeros((ports, weights * ratio, WORDS), np.uint64), np.zeros((ports, kv * ratio, WORDS), np.uint64),
    )  # fmt: skip


def _parameters(overlay: Overlay) -> dict[str, int]:
    dma = overlay.dma
    return {
        "ports": dma.hbm_ports, "hbm_ratio": overlay.clock.hbm_ratio, "chunk_bytes": overlay.chunk_bytes,
        "burst_chunks": overlay.hbm_burst_chunks, "weight_chunks": dma.weight_chunks, "kv_chunks": dma.kv_chunks,
        "crossing_stages": dma.crossing_stages, "request_ticks": dma.request_ticks,
        "read_bursts": dma.read_bursts, "write_bursts": dma.write_bursts,
    }  # fmt: skip
