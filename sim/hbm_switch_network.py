"""One tick of a mini-switch in one of the switch's networks: who wants which output, who gets it.

An item goes to its own exit if that belongs to this mini-switch, else over a lateral link towards it. Of the
parallel links a burst takes the one of its port, requests and what they bring back alike, so that nothing of a port
overtakes. An output asks its inputs in turn, beginning with the one after the last that it served.

An exit passes an item a tick. A link passes ``link_beats`` beats of data a tick, beat by beat for reads, a whole
burst in a row for writes, and a request without data or a response a tick. An item is in the next queue after the
link's ticks; a write is when its first beat is, as its data follow as fast as anybody may use them.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.hbm_switch_queues import enter, has_room, head, leave, left_in
from skipopu.sim.hbm_switch_state import CONTROLLER, DATA, WRITES, SwitchedHbm


@jit
def look(h: SwitchedHbm, network: int, mini: int, now: int) -> None:
    """Note for every output of a mini-switch which inputs want it."""
    p = h.p[0]
    first = (network * p.minis + mini) * p.inputs
    for i in range(first, first + p.inputs):
        h.outputs[i].wanted = 0
    for i in range(p.inputs):
        item = head(h, first + i, now)
        if item >= 0 and left_in(h, first + i, now) < h.queues[first + i].rate:
            h.outputs[first + _route(h, network, mini, item >> 1)].wanted |= 1 << i


@jit
def _route(h: SwitchedHbm, network: int, mini: int, burst: int) -> int:
    """Output that brings a burst's item nearer to its end."""
    p = h.p[0]
    b = h.bursts[burst]
    end = b.channel if network <= WRITES else b.port
    there = end >> p.mini_shift
    output: int = p.mini_ports + b.link + (p.links if there > mini else 0)
    if there == mini:
        output = end - (mini << p.mini_shift)
    return output


@jit
def forward(h: SwitchedHbm, network: int, mini: int, now: int) -> None:
    """Let every output that fills a queue pass an item."""
    p = h.p[0]
    first = (network * p.minis + mini) * p.inputs
    for index in range(first, first + p.inputs):
        o = h.outputs[index]
        if o.wanted != 0 and o.queue != CONTROLLER and is_free(h, index, now):
            if o.is_link and not has_room(h, o.queue, now):
                continue
            enter(h, o.queue, grant(h, network, first, index, now), now + o.ticks)


@jit
def is_free(h: SwitchedHbm, index: int, now: int) -> bool:
    """Whether an output has time left in ``now``."""
    return bool(h.outputs[index].next_beat < (now + 1) * h.p[0].link_beats)


@jit
def chosen(h: SwitchedHbm, index: int) -> int:
    """The input whose turn it is among those that want an output."""
    o = h.outputs[index]
    i: int = o.turn
    ahead = o.wanted >> i
    if ahead == 0:
        ahead = o.wanted
        i = 0
    while ahead & 1 == 0:
        ahead >>= 1
        i += 1
    return i


@jit
def grant(h: SwitchedHbm, network: int, first: int, index: int, now: int) -> int:
    """Take the chosen input's item and let it occupy the output; ``first``: input 0 of the mini-switch."""
    o = h.outputs[index]
    i = chosen(h, index)
    item = leave(h, first + i, now)
    o.turn = i + 1
    o.wanted = 0
    b = h.bursts[item >> 1]
    beats = b.beats if network == WRITES else 1
    per_tick = h.p[0].link_beats
    carried = o.is_link and network in (WRITES, DATA)
    o.next_beat = max(o.next_beat, now * per_tick) + (beats if carried else per_tick)
    o.sent += beats
    if network >= DATA and i < h.p[0].mini_ports:
        h.channels[b.channel].held -= item & 1  # its place in the controller's queue
    return item
