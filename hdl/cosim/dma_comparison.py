"""The first difference between the model of the DMA and what the bench has seen of the RTL."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_contents import contents
from skipopu.hdl.cosim.axi_memory_rules import RULES
from skipopu.hdl.cosim.axi_memory_state import EVENT, AxiMemory
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.difference import Difference, first_difference
from skipopu.hdl.cosim.dma_model_state import DmaModel
from skipopu.hdl.cosim.dma_trace import event_names
from skipopu.spec.overlay import Overlay


def compare(overlay: Overlay, model: DmaModel, trace: NDArray[np.int64], found: Arrays) -> Difference | None:
    """Broken rules of AXI first, then cycles, then requests, then bits."""
    ports, memory = overlay.dma.hbm_ports, model.memory
    rule, port, tick = (int(value) for value in found["broken"])
    if rule:
        return Difference("tick", tick, f"port {port} breaks a rule: {RULES[rule]}", 0, 1)
    if not found["constants"]:
        return Difference("cycle", len(trace), "AxBURST, AxSIZE, WSTRB, RREADY, BREADY", 1, 0)
    names = event_names(ports)
    return (
        first_difference("cycle", _bits(trace, len(names)), _bits(found["trace"], len(names)), names)
        or first_difference("AXI event", memory.events[: memory.total[0].events], found["events"], EVENT)
        or _different_data(overlay, model, found)
        or _different_contents(memory, found)
    )


def _bits(trace: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    return trace[:, None] >> np.arange(count) & 1


def _different_data(overlay: Overlay, model: DmaModel, found: Arrays) -> Difference | None:
    """Weight words, port by port, and every port's K/V chunks."""
    ports, words = overlay.dma.hbm_ports, overlay.chunk_bytes // 8
    weights = model.weights.reshape(ports, -1, words).transpose(1, 0, 2).reshape(-1, ports * words)
    names = tuple(f"port {port}, 64-bit word {place}" for port in range(ports) for place in range(words))
    difference = first_difference("weight word", weights, found["words"], names)
    for port in range(ports):
        chunks = model.chunks[port, : model.lines[port].r_beats[1]].reshape(-1, words)
        part = names[port * words : (port + 1) * words]
        difference = difference or first_difference("K/V chunk", chunks, found[f"chunks_{port}"], part)
    return difference


def _different_contents(memory: AxiMemory, found: Arrays) -> Difference | None:
    keys, data = contents(memory)
    names = tuple(f"64-bit word {place}" for place in range(data.shape[1]))
    return (
        first_difference("beat written", keys[:, None], found["keys"][:, None], ("address",))
        or first_difference("beat written", data, found["contents"], names)
    )  # fmt: skip
