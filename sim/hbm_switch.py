"""HBM behind its switch: every AXI port addresses all of the memory.

    hbm = new_switched_hbm(board)                                    # board.hbm_switch.enabled
    push(hbm, port, address, beats, is_write, identifier, tag, now)  # while accepts(hbm, port, ...)
    if tick(hbm, now): hbm.ports[port].beat, hbm.ports[port].response      # for every now

========================  =====================================================================================
mini-switch               4 ports and 4 pseudo-channels, a full crossbar: an item a tick from an input and to an output
lateral links             2 between neighbours each way; ports 0 and 1 of a mini-switch take one, 2 and 3 the other
link                      an AXI bus: a request, a beat of write data, a beat of read data and a response a tick
ticks added               7 in a mini-switch, 2 a link, 10 for the link between the stacks: both ways together
arbitration               an output asks its inputs in turn, a beat at a time for read data, else a burst
buffers                   16 entries at the far end of a link, which stops when they are full
order                     AXI's: bursts of a port with one ID and direction come back in the order asked
========================  =====================================================================================

The values are leaves of `spec/data/board/u280.toml`. Nothing here says how much bandwidth is lost when ports reach
far: that follows from the links that they share. Nor is it shared evenly: with turns taken mini-switch by mini-switch,
what passes many of them gets less at each (`hbm_study`).

While bursts of an ID are on their way to one pseudo-channel, the port does not accept that ID for another: order
needs no buffer then. A controller is a channel of `dram`, with the same timing as without the switch. It takes a read
and a write a tick, the one pushed first before the other, and only what it has room for: its queue is as deep as a
port's, and a burst keeps its place until its data have left for the port. Its data then wait in front of the switch
in the order in which they came from the DRAM.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_switch_ends import accept, deliver, entrance, memory
from skipopu.sim.hbm_switch_layout import new_state
from skipopu.sim.hbm_switch_network import forward, look
from skipopu.sim.hbm_switch_queues import enter
from skipopu.sim.hbm_switch_state import DATA, READS, RESPONSES, WRITES, SwitchedHbm
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import BOUNDARY


def new_switched_hbm(board: Board) -> SwitchedHbm:
    """Return the HBM of ``board`` at tick 0, idle. Raises SpecError where its switch is not enabled."""
    if not board.hbm_switch.enabled:
        raise SpecError(f"board {board.name}: hbm_switch.enabled = False; a switched HBM needs true")
    return new_state(board)


@jit
def free_slots(h: SwitchedHbm, port: int) -> int:
    """Bursts that the port could still have outstanding: queue depth less those not finished at the port."""
    free: int = h.p[0].queue_depth - h.ports[port].outstanding
    return free


@jit
def accepts(h: SwitchedHbm, port: int, address: int, is_write: bool, identifier: int, now: int) -> bool:
    """Whether `push` may be called: a free slot, no read (write) pushed in this tick, the ID not bound elsewhere."""
    s = h.ports[port]
    way = 1 if is_write else 0
    bound = s.thread[way, identifier] > 0 and s.thread_channel[way, identifier] != address // h.p[0].channel_bytes
    return bool(free_slots(h, port) > 0 and s.pushed_at[way] != now and not bound)


@jit
def push(
    h: SwitchedHbm, port: int, address: int, beats: int, is_write: bool, identifier: int, tag: int, now: int
) -> None:
    """Accept one AXI burst at ``port`` in tick ``now``, before or after `tick` of the same.

    ``address``: byte address in the whole memory, a multiple of the beat; ``beats``: 1 to max_burst_beats, not
    across a 4 KiB boundary; ``identifier``: AXI ID; ``tag``: 0 to 2³⁰ − 1, comes back with each read beat and with
    the response to a write. The data of a write come with the request. Raises ValueError for a burst that no port
    would take.
    """
    p = h.p[0]
    if not 1 <= beats <= p.max_burst_beats or address % BOUNDARY + beats * p.beat_bytes > BOUNDARY:
        raise ValueError("an AXI burst must have 1 to max_burst_beats beats and stay inside 4 KiB")
    if not (0 <= address < p.total_bytes and 0 <= identifier < p.identifiers and 0 <= port < len(h.ports)):
        raise ValueError("a burst needs a port, an address and an ID that the HBM has")
    if not accepts(h, port, address, is_write, identifier, now):
        raise ValueError("a burst was pushed to an HBM port that does not accept it")
    index = _admit(h, port, address // p.channel_bytes, 1 if is_write else 0, identifier, now)
    b = h.bursts[index]
    b.address = address % p.channel_bytes
    b.beats = beats
    b.tag = tag
    enter(h, entrance(h, WRITES if is_write else READS, port), index * 2 + 1, now + p.request_ticks)


@jit
def _admit(h: SwitchedHbm, port: int, channel: int, way: int, identifier: int, now: int) -> int:
    """Find a place for a burst and note whose it is and where it goes; return its index."""
    p, s = h.p[0], h.ports[port]
    index: int = port * p.queue_depth + s.free[s.outstanding]
    b = h.bursts[index]
    b.port = port
    b.channel = channel
    b.link = (port & (p.mini_ports - 1)) * p.links >> p.mini_shift
    b.is_write = way
    b.identifier = identifier
    b.order = h.pushes[0]
    h.pushes[0] += 1
    s.outstanding += 1
    s.pushed_at[way] = now
    s.thread[way, identifier] += 1
    s.thread_channel[way, identifier] = channel
    return index


@jit
def tick(h: SwitchedHbm, now: int) -> int:
    """Advance everything by one tick; return how many beats and responses the ports got in it."""
    p = h.p[0]
    for _ in range(p.link_beats):
        for mini in range(p.minis):
            _pass_on(h, READS, mini, now)
            _pass_on(h, WRITES, mini, now)
            accept(h, mini, now)
    memory(h, now)
    for _ in range(p.link_beats):
        for mini in range(p.minis):
            _pass_on(h, DATA, mini, now)
            _pass_on(h, RESPONSES, mini, now)
    return deliver(h, now)


@jit
def _pass_on(h: SwitchedHbm, network: int, mini: int, now: int) -> None:
    if h.waiting[network * h.p[0].minis + mini] > 0:  # else no output is wanted
        look(h, network, mini, now)
        forward(h, network, mini, now)
