"""Queues of the HBM switch: rings in two shared arrays."""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_switch_state import SwitchedHbm


@jit
def enter(h: SwitchedHbm, queue: int, item: int, when: int) -> None:
    """Add ``item``, which may be taken from tick ``when`` on; the caller knows that there is room."""
    q = h.queues[queue]
    place = q.origin + q.tail % q.places
    h.when[place] = when
    h.what[place] = item
    q.tail += 1
    h.waiting[q.mini] += 1


@jit
def head(h: SwitchedHbm, queue: int, now: int) -> int:
    """The oldest item, or −1 where there is none or it may not be taken in ``now``."""
    q = h.queues[queue]
    place = q.origin + q.head % q.places
    if q.head == q.tail or h.when[place] > now:
        return -1
    item: int = h.what[place]
    return item


@jit
def leave(h: SwitchedHbm, queue: int, now: int) -> int:
    """Take the oldest item out."""
    q = h.queues[queue]
    item: int = h.what[q.origin + q.head % q.places]
    if q.popped_at != now:
        q.popped_at = now
        q.before = q.head
    q.head += 1
    h.waiting[q.mini] -= 1
    return item


@jit
def left_in(h: SwitchedHbm, queue: int, now: int) -> int:
    """Items that have left in ``now`` so far."""
    q = h.queues[queue]
    count: int = q.head - q.before if q.popped_at == now else 0
    return count


@jit
def has_room(h: SwitchedHbm, queue: int, now: int) -> bool:
    """Whether there is room as a sender knows it: a place is known to be free the tick after its item left."""
    q = h.queues[queue]
    return bool(q.tail - (q.head - left_in(h, queue, now)) < q.places)
