"""The K/V reads of a trace alone: no weights, and a consumer that takes whatever stands at the output.

The KV buffer, the HBM ports and the memory are those of the whole machine, stepped by the same functions; what is
missing are the other engines. So reads follow one another at once, K then V, layer after layer, pass after pass,
while the memory's clock and its refreshes go on. A layer in which no query executes takes the scheduler's time (its
table of tokens is brought up to date) and reads nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import announce_first_compilation
from skipopu.numerics.kv_schedule import new_schedule
from skipopu.program.context import Context
from skipopu.program.status import WATCHDOG_CYCLES
from skipopu.sim.dram import counters
from skipopu.sim.error import DeadlockError
from skipopu.sim.hbm import new_hbm
from skipopu.sim.kv_stream_pass import KEY_AND_VALUE, READ, STREAM_TOTAL, Reader, read_pass
from skipopu.sim.machine import COUNTS, KV, KvCache, new_ports, overlay_parameters, record
from skipopu.spec.board import Board
from skipopu.spec.ledger import Cause, Traffic

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KvStream:
    """What the reads of some passes came to.

    ``passes``: indices into the context's passes, in the order streamed. ``reads`` [passes, layers, 2]: a record of
    READ for K and for V of every layer; one without an executed query has cycles only. ``executed`` [passes, layers].
    ``core_cycles``: of all passes. ``hbm_bytes``: delivered by the ports. ``port_bytes`` [ports]: taken from the FIFO
    of each. ``dram``: the memory's own counters.
    """

    passes: NDArray[np.int64]
    reads: "np.recarray[Any, Any]"
    executed: NDArray[np.bool_]
    core_cycles: int
    hbm_bytes: int
    port_bytes: NDArray[np.int64]
    dram: dict[str, int]


def stream(context: Context, board: Board, passes: NDArray[np.int64], progress: Progress | None = None) -> KvStream:
    """Stream the K/V of the given ``passes`` of a trace, one after the other.

    ``progress`` is called with (passes done, passes). Raises DeadlockError if nothing moves any more.
    """
    announce_first_compilation()
    m, c = _new_reader(context, board), _new_cache(context)
    executed = executed_layers(context)[passes]
    reads = np.zeros((*executed.shape, KEY_AND_VALUE), READ).view(np.recarray)
    pairs, seen = context.shape.dimensions.kv_heads // 2, context.passes.seen()
    for i, index in enumerate(passes.tolist()):
        decode, shown = bool(context.passes.decode[index]), context.passes.shown[index]
        if not read_pass(m, c, seen[index], shown, decode, pairs, executed[i], reads[i]):
            raise DeadlockError(int(m.total.now), int(m.p.watchdog), [_blocked(m, c)])
        if progress is not None:
            progress(i + 1, len(passes))
    delivered = int(m.counts.window[Traffic.KV_READ])
    taken = m.kv.popped[: m.p.ports] * m.p.chunk_bytes
    return KvStream(passes, reads, executed, int(m.total.now), delivered, taken, counters(m.hbm))


def executed_layers(context: Context) -> NDArray[np.bool_]:
    """Which layers of each pass have an executed query, [passes, layers]."""
    found: NDArray[np.bool_] = context.passes.counts(context.trace.rows("q")) > 0
    return found


def _new_reader(context: Context, board: Board) -> Reader:
    overlay, memory = context.overlay, context.memory
    kv, p = record(KV), overlay_parameters(overlay)
    kv.pushed = -1
    p.vector_bytes, p.stride_bytes = memory.vector_bytes, memory.stride_bytes
    p.kv_base, p.slots = memory.kv_base, memory.slots
    p.pair_bytes = memory.vector_bytes // (context.shape.dimensions.kv_heads // 2)
    p.watchdog = WATCHDOG_CYCLES + context.trace.tokens  # in a skipped layer only the scan moves
    ports, _ = new_ports(overlay)
    return Reader(p, ports, kv, record(STREAM_TOTAL), record(COUNTS), new_hbm(board, overlay.dma.hbm_ports))


def _new_cache(context: Context) -> KvCache:
    tokens, limits = context.placement.source.shape[1], context.limits
    return KvCache(limits, context.placement, new_schedule(tokens, limits), np.zeros((limits.ports, tokens), np.int32))


def _blocked(m: Reader, c: KvCache) -> str:
    """What the running read waits for."""
    k, s = m.kv, c.schedule.s
    what = f"{'V' if k.value else 'K'} of layer {k.layer}"
    done = f"round {k.current} of {s.rounds}, token {s.scan} of {s.tokens}"
    return f"kv_buffer: {what} waits for {Cause(int(k.cause)).label} ({done})"
