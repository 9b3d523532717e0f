"""PSUM: partial sums in two halves. One takes the sums of a column block while the other leaves row by row."""

from skipopu.numerics.jit import jit
from skipopu.sim.machine import Record
from skipopu.spec.overlay import BLOCK_RAM_READ


@jit
def psum_free(psum: Record, now: int) -> bool:
    """A column block may begin: one half is empty since the cycle before."""
    return psum.tail - psum.head < 2 and psum.writable[psum.tail & 1] <= now  # type: ignore[no-any-return]


@jit
def close_block(psum: Record, now: int, latency: int, slots: int, last: int) -> None:
    """The last row of a block is issued: its half can leave once that row's sum is written and read back."""
    half = psum.tail & 1
    psum.readable[half] = now + latency + BLOCK_RAM_READ
    psum.slots[half] = slots
    psum.last[half] = last
    psum.tail += 1


@jit
def psum_ready(psum: Record, now: int) -> bool:
    """The next entry of the older half stands at the output."""
    return psum.head < psum.tail and psum.readable[psum.head & 1] <= now  # type: ignore[no-any-return]


@jit
def take_entry(psum: Record, now: int) -> bool:
    """Take one slot of the older half; True when that leaves the half empty."""
    half = psum.head & 1
    psum.slots[half] -= 1
    if psum.slots[half] > 0:
        return False
    psum.writable[half] = now + 1
    psum.head += 1
    return True
