"""A cycle of the memory system in the simulator's own functions, with the AXI memory instead of the machine's HBM."""

from typing import Any

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.cosim.axi_memory import serve
from skipopu.hdl.cosim.axi_memory_state import AR, AxiMemory
from skipopu.hdl.cosim.kv_buffer_events import (
    ANNOUNCED,
    ANNOUNCED_END,
    ANNOUNCEMENT,
    DONE,
    OPERATION,
    OUTPUT,
)
from skipopu.hdl.ker_bank import HALVES
from skipopu.numerics.jit import jit
from skipopu.sim import causes
from skipopu.sim.hbm_port import KV, accept_read, begin_cycle, can_read, note_kv, request_tick, take_beat
from skipopu.sim.kv_announcements import END, NOTHING, round_announced, take_announcement
from skipopu.sim.kv_buffer import begin_read, end_read, read_finished, schedule_token
from skipopu.sim.kv_fetch import kv_address, kv_burst, kv_requested, no_room, waiting_entry
from skipopu.sim.kv_rounds import output_valid, read_cause, stream_round
from skipopu.sim.machine import MAX_PORTS, OUTSTANDING, KvCache

REQUESTS = [  # on the way to AR, [port] or [port, place]
    ("asked", "i8", (MAX_PORTS,)), ("taken", "i8", (MAX_PORTS,)),
    ("tick", "i8", (MAX_PORTS, OUTSTANDING)),  # in which it can stand at AR
    ("address", "i8", (MAX_PORTS, OUTSTANDING)), ("beats", "i8", (MAX_PORTS, OUTSTANDING)),
]  # fmt: skip
PROGRESS = [
    "now", "first", "offered",  # cycle; that of the sequence's first operation, at least; one is at the port
    "moved",  # chunk sets taken of the operation
    "heard",  # rounds of which the announcements were taken, since the end of an operation was announced
    "unheard",  # operations whose end was not, with the running one
]  # fmt: skip


@jit
def run_operation(
    p: Any, k: Any, c: KvCache, ports: Any, memory: AxiMemory, requests: Any, progress: Any, operation: Any,
    last: bool, stalls: Any, trace: Any, drives: Any,
) -> bool:  # fmt: skip
    """Step until the operation is done (true), or until the trace is full.

    The next one is offered meanwhile, unless this is the ``last`` of its sequence.
    """
    while progress.now < len(trace):
        now = progress.now
        _arrive(p, ports, memory, requests, now)
        at = now % stalls.shape[1]
        events = _hear(k, progress, stalls[2, at])
        may_offer = now >= progress.first and not (k.active and last) and progress.unheard < 2
        progress.offered |= stalls[0, at] == 1 and may_offer
        takes = stalls[1, at] == 1 and _may_take(k, progress)
        drives[now] = progress.offered | takes << 1 | stalls[2, at] << 2
        trace[now, 0] = events | _cycle(p, k, c, ports, requests, progress, operation, takes, now)
        trace[now, 1] = k.cause
        progress.now += 1
        if trace[now, 0] & DONE:
            return True
    return False


@jit
def _hear(k: Any, progress: Any, takes: int) -> int:
    """Take an announcement or not; return the events."""
    found = round_announced(k)
    if found == NOTHING:
        return 0
    if not takes:
        return ANNOUNCED
    take_announcement(k)
    progress.heard += 1
    if found != END:
        return ANNOUNCED | ANNOUNCEMENT
    progress.heard = 0
    progress.unheard -= 1
    return ANNOUNCED | ANNOUNCEMENT | ANNOUNCED_END


@jit
def _may_take(k: Any, progress: Any) -> bool:
    """KER loads the tiles of a round at most ``HALVES`` ahead of its announcement, and V behind the end of K."""
    if k.value or progress.unheard != 1:
        return progress.unheard == 0  # type: ignore[no-any-return]
    return progress.moved // k.chunks < progress.heard + HALVES  # type: ignore[no-any-return]


@jit
def _arrive(p: Any, ports: Any, memory: AxiMemory, requests: Any, now: int) -> None:
    """The memory's ticks of a core cycle."""
    for port in range(p.ports):
        begin_cycle(ports, port)
    for tick in range(now * p.hbm_ratio, (now + 1) * p.hbm_ratio):
        for port in range(p.ports):
            _ask(memory.ports[port], requests, port, tick)
        serve(memory, tick)
        for port in range(p.ports):
            a = memory.ports[port]
            requests.taken[port] += a.valid[AR] and a.ready[AR]
            if a.r_valid:
                take_beat(ports, p, port, tick, a.r_ID << 1 | a.r_last)
    note_kv(ports, p, now)


@jit
def _ask(a: Any, requests: Any, port: int, tick: int) -> None:
    """What stands at AR in this tick."""
    place = requests.taken[port] % OUTSTANDING
    a.valid[AR] = requests.taken[port] < requests.asked[port] and requests.tick[port, place] <= tick
    if a.valid[AR]:
        a.address[AR], a.beats[AR], a.ID[AR] = requests.address[port, place], requests.beats[port, place], KV


@jit
def _cycle(
    p: Any, k: Any, c: KvCache, ports: Any, requests: Any, progress: Any, operation: Any, takes: bool, now: int
) -> int:
    """A core cycle as `skipopu.sim.kv_buffer.kv_buffer` steps it; return its events."""
    if not k.active:
        return _offer(p, k, c, progress, operation, now)
    rounds = c.schedule.s.rounds
    k.taken = takes and output_valid(k, p)
    k.cause = read_cause(k, p, now, rounds)
    if read_finished(k, c, now):
        end_read(k, c)
        return DONE
    progress.moved += k.taken
    events = OUTPUT if k.taken else 0
    schedule_token(k, c, p, now)
    for port in range(p.ports):
        _request(p, k, c, ports, requests, port, now)
    stream_round(k, c, p, ports, now, rounds)
    k.taken = 0
    return events


@jit
def _offer(p: Any, k: Any, c: KvCache, progress: Any, operation: Any, now: int) -> int:
    k.cause = causes.BUSY if progress.offered else causes.IDLE
    if not progress.offered:
        return 0
    progress.offered = progress.moved = 0
    executed, decode, value, layer, tokens, offset, chunks = operation
    begin_read(k, c, now, executed == 1, decode == 1, value, layer, tokens)
    k.offset, k.chunks = offset * p.chunk_bytes, chunks
    progress.unheard += executed and not value
    return OPERATION


@jit
def _request(p: Any, k: Any, c: KvCache, ports: Any, requests: Any, port: int, now: int) -> None:
    if no_room(k, p, port) or not waiting_entry(k, p, port):
        return
    address = kv_address(k, c, p, port)
    chunks = kv_burst(k, p, port, address)
    if chunks == 0 or not can_read(ports, p, port, now):
        return
    accept_read(ports, port, now)
    place = requests.asked[port] % OUTSTANDING
    requests.tick[port, place] = request_tick(p, now)
    requests.address[port, place] = port << PORT_ADDRESS_BITS | address
    requests.beats[port, place] = chunks * p.hbm_ratio
    requests.asked[port] += 1
    kv_requested(k, p, port, chunks)
