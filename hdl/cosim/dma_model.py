"""What the RTL of the DMA must do: the simulator's own functions, stepped with the bench's sources and stalls."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.dma_model_axi import axi_tick
from skipopu.hdl.cosim.dma_model_core import kv_port, pop_weights, take_write, weight_engine
from skipopu.hdl.cosim.dma_model_state import DmaModel
from skipopu.hdl.cosim.dma_trace import EVENTS, PENDING, PORT_EVENTS
from skipopu.numerics.jit import jit
from skipopu.sim.hbm_port import KV, begin_cycle, note_kv, note_weights, writes_pending

WATCHDOG = 50_000  # cycles in which nothing moves: a deadlock
SETTLING = 32  # cycles after the last event
BLOCK = 1 << 16
FIRST_PORT, OF_PORT = len(EVENTS), len(PORT_EVENTS)


def simulated_trace(m: DmaModel) -> NDArray[np.int64]:
    """Events of every cycle until all work is done, and of a few more."""
    trace, length = np.zeros(BLOCK, np.int64), 0
    while length == 0:
        start = len(trace) - BLOCK
        length = _run(m, trace, start)
        if length == 0:
            if not np.ptp(trace[-WATCHDOG:]):
                raise RuntimeError(f"the simulated DMA has stood still for {WATCHDOG} cycles")
            trace = np.concatenate([trace, np.zeros(BLOCK, np.int64)])
    return trace[:length]


@jit
def _run(m: DmaModel, trace: NDArray[np.int64], start: int) -> int:
    """Step from cycle ``start`` to the end of ``trace``; return the cycles of the whole run, 0 if there are more."""
    for now in range(start, len(trace)):
        if _finished(m, now):
            m.core.finished += 1
            if m.core.finished == SETTLING:
                return now
        trace[now] = _step(m, now)
    return 0


@jit
def _finished(m: DmaModel, now: int) -> bool:
    for port in range(m.p.ports):
        line = m.lines[port]
        taken = line.kv_popped * m.p.hbm_ratio == line.r_beats[KV]
        if line.kv_next < m.kv_count[port] or m.ports.completed[port] < m.ports.reads[port] or not taken:
            return False
    if m.core.write < len(m.writes) or writes_pending(m.ports, now):
        return False
    asked = m.core.operation == len(m.operations) and not m.dma.active
    return asked and m.dma.popped == m.dma.goal


@jit
def _step(m: DmaModel, now: int) -> int:
    """One core cycle: the memory's ticks, then the block, consumers before producers."""
    for port in range(m.p.ports):
        begin_cycle(m.ports, port)
        m.lines[port].kv_credit = m.lines[port].kv_popped
    m.dma.credit = m.dma.popped
    for tick in range(now * m.p.hbm_ratio, (now + 1) * m.p.hbm_ratio):
        axi_tick(m, tick)
    note_weights(m.ports, m.p, now)
    note_kv(m.ports, m.p, now)
    at = now % m.stalls.shape[1]
    found = writes_pending(m.ports, now) << PENDING
    found |= pop_weights(m, now, at)
    for port in range(m.p.ports):
        found |= kv_port(m, port, now, at) << FIRST_PORT + port * OF_PORT
    return found | weight_engine(m, now, at) | take_write(m, now, at)
