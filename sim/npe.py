"""NPE: takes results out of PSUM, retires a matrix operation once its last result is written.

Its lanes take one row tile a cycle: a result here, or an operand on its way into IFM; results go first.
"""

from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.engine import retire
from skipopu.sim.machine import FAR, IN_FLIGHT, Machine
from skipopu.sim.psum import psum_ready, take_entry

ENGINE = 5


@jit
def npe(m: Machine) -> None:
    """One cycle: one slot of the oldest finished column block, and the retirement that falls due."""
    n, psum, now = m.npe, m.psum, m.total.now
    _retire_due(m)
    n.cause = causes.IDLE
    m.pe.lane_taken = 0
    if psum.head == psum.tail:
        if n.flight_head < n.flight_tail and m.pe.instruction < 0:
            n.cause = causes.DRAINING
        return
    if not psum_ready(psum, now):
        n.cause = causes.DRAINING
        return
    half = psum.head & 1
    if psum.slots[half] > 0:
        m.pe.lane_taken = 1
        n.cause = causes.BUSY
    if take_entry(psum, now) and psum.last[half]:
        _set_finish(m)


@jit
def _set_finish(m: Machine) -> None:
    """The oldest operation without a last cycle has sent its last result into the pipeline."""
    n = m.npe
    for entry in range(n.flight_head, n.flight_tail):
        slot = entry % IN_FLIGHT
        if n.finish[slot] == FAR:
            n.finish[slot] = m.total.now + m.work.result_stages[n.flight[slot]]
            return


@jit
def _retire_due(m: Machine) -> None:
    n = m.npe
    if n.flight_head < n.flight_tail:
        slot = n.flight_head % IN_FLIGHT
        if n.finish[slot] <= m.total.now:
            retire(m, ENGINE, n.flight[slot])
            n.flight_head += 1
