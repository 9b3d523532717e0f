"""Proof of the KV scheduler: queues neither overflow nor underflow, every token is read once, no head is forgotten.

For one token, any, of any sequence of operations with any bitmask: it is looked at once, given to a round at most
once, and at the end exactly if it is visible. A round has a lane a token, so never two tokens of an HBM port nor more
reads or keeps than banks. Fairness: the head of a waiting queue is in one of the next ``hbm_ports`` rounds that are
formed. An operation ends: each cycle in which neither the round queue nor a fetch queue is full takes it on, so that
with such a cycle in every N at least, it has formed its rounds after N · ((hbm_ports + 1) · tokens + 1) cycles.

The ring of the buffer holds the tokens that the table says it holds, in places that follow on one another, within its
capacity; for that the bitmask must stay from one layer to the next (`kv_scheduler_ring`). Its queues keep order; the
fetch of a port keeps its credit, and its bursts stay within 4 KiB (`kv_scheduler_queues`).

All by induction, for runs of any length and inputs that follow the protocol, for sizes as printed. Left to
co-simulation: which tokens are visible, their addresses, and that the queues are emptied.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

from skipopu.hdl.formal.kv_scheduler_claims import scheduler_bench
from skipopu.hdl.formal.kv_scheduler_queues import fetch_bench, queue_bench
from skipopu.hdl.formal.kv_scheduler_ring import ring_bench
from skipopu.hdl.formal.smtbmc import main
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.kv_layout import KvShape

FETCH = {"kv_chunks": 4, "burst_chunks": 2}
UNUSED = {"read_stages": 1, "announcements": 1, "rounds": 2, "rows": 2}  # of what is not here
CHUNK_BYTES, SLOTS = 64, 2  # of tiny; tokens of a bank, with K and V of a chunk


def shape(
    ports: int, banks: int, round_tokens: int, queue_depth: int = 2, tokens: int = 3, *, lock_step: bool = False
) -> KvShape:
    """Return sizes of a small scheduler."""
    return KvShape(
        ports=ports, banks=banks, bank_chunks=2 * SLOTS * (banks > 0), round_tokens=round_tokens,
        queue_depth=queue_depth, chunk_bytes=CHUNK_BYTES, lock_step=lock_step, tokens=tokens, **FETCH,
        **UNUSED,
    )  # fmt: skip


def small() -> Iterator[Bench]:
    """Both ways to form rounds, with and without a buffer."""
    yield scheduler_bench(shape(2, 1, 2))
    yield scheduler_bench(shape(2, 0, 1))
    yield scheduler_bench(shape(2, 2, 2, lock_step=True))
    yield ring_bench(shape(2, 1, 2))
    yield queue_bench(3)
    yield fetch_bench(shape(2, 0, 1))


def larger() -> Iterator[Bench]:
    """Numbers that are no powers of two; windows smaller than the ports; more tokens."""
    yield scheduler_bench(shape(1, 1, 1))
    yield scheduler_bench(shape(2, 2, 2))
    yield scheduler_bench(shape(3, 2, 2))
    yield scheduler_bench(shape(3, 3, 2, tokens=4))
    yield scheduler_bench(shape(4, 1, 3, queue_depth=3, tokens=5))
    yield scheduler_bench(shape(4, 0, 4))
    yield scheduler_bench(shape(3, 2, 4, lock_step=True))
    yield scheduler_bench(shape(4, 2, 4, queue_depth=4, tokens=8))
    yield ring_bench(shape(2, 2, 2, tokens=4))
    yield ring_bench(shape(3, 2, 4, tokens=4, lock_step=True))
    yield queue_bench(2)
    yield queue_bench(8)
    yield fetch_bench(replace(shape(2, 0, 1, queue_depth=4), kv_chunks=16))


if __name__ == "__main__":
    sys.exit(main((*small(), *larger())))
