"""Global buffer: read ports shared by all, and one write port whose cycles are reserved ahead.

Results and row tiles that were normalised are written a fixed time after they were asked for, so that their cycle is
reserved then; the load engine writes when nobody has reserved.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.machine import WRITES_AHEAD, Machine


@jit
def begin_cycle(m: Machine) -> None:
    """All read ports are free, and the write cycle that has passed can be reserved again."""
    g = m.buffer
    g.reads = 0
    g.reserved[(m.total.now + WRITES_AHEAD - 1) % WRITES_AHEAD] = 0


@jit
def can_read(m: Machine, tiles: int) -> bool:
    """Read ports are left for ``tiles`` tiles."""
    return m.buffer.reads + tiles <= m.p.read_ports  # type: ignore[no-any-return]


@jit
def read(m: Machine, tiles: int) -> None:
    """Take the read ports."""
    m.buffer.reads += tiles


@jit
def can_write(m: Machine, latency: int) -> bool:
    """Nobody writes ``latency`` cycles from now; less than `WRITES_AHEAD`."""
    return m.buffer.reserved[(m.total.now + latency) % WRITES_AHEAD] == 0  # type: ignore[no-any-return]


@jit
def reserve_write(m: Machine, latency: int) -> None:
    """Write ``latency`` cycles from now."""
    m.buffer.reserved[(m.total.now + latency) % WRITES_AHEAD] = 1
