"""The two ends of the HBM switch: the pseudo-channels' controllers and the AXI ports."""

from skipopu.numerics.jit import jit
from skipopu.sim.dram import push, tick
from skipopu.sim.hbm_switch_network import chosen, grant, is_free
from skipopu.sim.hbm_switch_queues import enter, head, leave
from skipopu.sim.hbm_switch_state import DATA, READS, RESPONSES, WRITES, SwitchedHbm


@jit
def entrance(h: SwitchedHbm, network: int, end: int) -> int:
    """Queue in front of a network's input for a port or pseudo-channel."""
    p = h.p[0]
    index: int = (network * p.minis + (end >> p.mini_shift)) * p.inputs + (end & (p.mini_ports - 1))
    return index


@jit
def accept(h: SwitchedHbm, mini: int, now: int) -> None:
    """Let the controllers of a mini-switch take a read and a write each, the one pushed first before the other."""
    p = h.p[0]
    if h.waiting[READS * p.minis + mini] + h.waiting[WRITES * p.minis + mini] == 0:
        return
    for channel in range(mini << p.mini_shift, (mini + 1) << p.mini_shift):
        read, write = _offer(h, READS, channel, now), _offer(h, WRITES, channel, now)
        write_first = read >= 0 and write >= 0 and h.bursts[write].order < h.bursts[read].order
        if write_first:
            _take(h, WRITES, channel, now)
        if read >= 0:
            _take(h, READS, channel, now)
        if write >= 0 and not write_first:
            _take(h, WRITES, channel, now)


@jit
def _offer(h: SwitchedHbm, network: int, channel: int, now: int) -> int:
    """Burst whose turn it is at a controller, or −1."""
    output = entrance(h, network, channel)
    if h.outputs[output].wanted == 0 or not is_free(h, output, now):
        return -1
    first = output - (channel & (h.p[0].mini_ports - 1))
    return head(h, first + chosen(h, output), now) >> 1


@jit
def _take(h: SwitchedHbm, network: int, channel: int, now: int) -> None:
    """Hand the burst whose turn it is to the controller, if that has room."""
    c, p = h.channels[channel], h.p[0]
    if c.held == p.queue_depth:
        return
    output = entrance(h, network, channel)
    item = grant(h, network, output - (channel & (p.mini_ports - 1)), output, now)
    b = h.bursts[item >> 1]
    c.held += 1
    push(h.dram, channel, b.address, b.beats, b.is_write != 0, item >> 1, now)
    if network == WRITES:
        enter(h, p.writes + channel, item, now)


@jit
def memory(h: SwitchedHbm, now: int) -> None:
    """Advance every pseudo-channel; what it gives stands in front of the switch in the same tick."""
    for channel in range(len(h.channels)):
        beat = tick(h.dram, channel, now)  # its tag is the burst's index
        if beat >= 0:
            enter(h, entrance(h, DATA, channel), beat, now)
        c = h.channels[channel]
        if h.dram.channels[channel].write_responses > c.answered:
            c.answered += 1
            enter(h, entrance(h, RESPONSES, channel), leave(h, h.p[0].writes + channel, now), now)


@jit
def deliver(h: SwitchedHbm, now: int) -> int:
    """Give the ports what has come to the end of its way; return how many beats and responses that are."""
    p = h.p[0]
    count = 0
    for port in range(len(h.ports)):
        s = h.ports[port]
        beat, response = p.deliveries + port, p.acknowledgements + port
        s.beat = s.response = -1
        if head(h, beat, now) >= 0:
            item = leave(h, beat, now)
            s.beat = h.bursts[item >> 1].tag * 2 + (item & 1)
            _finish(h, port, item)
            count += 1
        if head(h, response, now) >= 0:
            item = leave(h, response, now)
            s.response = h.bursts[item >> 1].tag
            _finish(h, port, item)
            count += 1
    return count


@jit
def _finish(h: SwitchedHbm, port: int, item: int) -> None:
    """Free the place of a burst with its last item."""
    if item & 1 == 0:
        return
    s, b = h.ports[port], h.bursts[item >> 1]
    s.outstanding -= 1
    s.free[s.outstanding] = (item >> 1) - port * h.p[0].queue_depth
    s.thread[b.is_write, b.identifier] -= 1
