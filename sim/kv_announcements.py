"""KV announcements: rounds of K that are formed, and that all are; IFM asks for a round's row tiles behind its own."""

from skipopu.numerics.jit import jit
from skipopu.sim.machine import ANNOUNCED, Record

NOTHING, ROUND, END = range(3)


@jit
def announce(k: Record, end: int) -> None:
    """Tell IFM, from the next cycle on, that a round of K is formed, or that all are."""
    if not k.value:
        k.announced_end[k.announced_tail % ANNOUNCED] = end
        k.announced_tail += 1


@jit
def round_announced(k: Record) -> int:
    """What stands at the head of the announcements: NOTHING, ROUND or END. IFM steps before this block."""
    if k.announced_head == k.announced_tail:
        return NOTHING
    return END if k.announced_end[k.announced_head % ANNOUNCED] else ROUND


@jit
def take_announcement(k: Record) -> None:
    """Go on to the next one."""
    k.announced_head += 1
