"""Late input: nothing moves until a step's input arrives, and only the memories' refresh goes on.

Such cycles are all alike. As long as they are, they are taken together up to the next in which something can happen:
the input arrives, a channel of a memory wakes, a window of the bandwidth record ends.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.machine import HISTORY, Machine

SETTLED = 2 * HISTORY  # cycles after which all that is kept of the last ones is the same


@jit
def alike(m: Machine) -> int:
    """Return how many cycles from now on are like the one that has just passed, in which the sequencer waited."""
    t, s = m.total, m.sequencer
    if t.retired < s.next or t.now - t.progress < SETTLED or not _memories_rest(m):
        return 0
    end = min(m.work[s.next].arrival, t.now + m.p.window_cycles - t.now % m.p.window_cycles - 1)
    end = min(end, t.hbm_wake // m.p.hbm_ratio)
    for channel in range(m.p.ddr_channels):
        end = min(end, m.ddr.channels[channel].wake * m.p.ddr_cycles // m.p.ddr_ticks - 1)
    return max(end - t.now, 0)  # type: ignore[no-any-return]


@jit
def _memories_rest(m: Machine) -> bool:
    """Every burst has ended, and its count is known."""
    ports, d = m.ports, m.ddr_ports
    for port in range(m.p.ports):
        if ports.reads[port] != ports.completed[port] or ports.writes[port] != ports.acknowledged[port]:
            return False
    for channel in range(m.p.ddr_channels):
        if d.reads[channel] != d.reads_known[channel] or d.writes != d.writes_known[channel]:
            return False
    return True
