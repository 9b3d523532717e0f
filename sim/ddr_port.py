"""AXI ports of the DDR4 channels: bursts outstanding, one beat a core cycle each way, responses.

`arrive_ddr` is the DDR4's own clock: it advances the channels by the ticks that fall into a core cycle. A port hands
out one read beat a core cycle, so that the beats of load and instruction fetch leave it one after the other; a write
burst's data follow its request from the next cycle on, one beat a core cycle, and its response comes after the last of
them. Who keeps count learns what arrives in a cycle with the next one.
"""

from skipopu.numerics.jit import jit
from skipopu.sim.dram import push, tick
from skipopu.sim.machine import BEATS_WAITING, HISTORY, MOST_BURSTS, Machine

DATA, FETCH, WRITE = 0, 1, 2  # tags of the bursts in the DDR4 model; of reads the AXI IDs


@jit
def arrive_ddr(m: Machine) -> None:
    """Advance DDR4 up to this core cycle; a beat of the load engine counts once all channels gave theirs."""
    t, p, d, load = m.total, m.p, m.ddr_ports, m.load
    end = (t.now + 1) * p.ddr_ticks // p.ddr_cycles
    while t.ddr_now < end:
        for channel in range(p.ddr_channels):
            if m.ddr.channels[channel].wake <= t.ddr_now:
                beat = tick(m.ddr, channel, t.ddr_now)
                if beat >= 0:
                    d.waiting[channel, d.delivered[channel] % BEATS_WAITING] = beat
                    d.delivered[channel] += 1
        t.ddr_now += 1
    for channel in range(p.ddr_channels):
        d.reads_known[channel] = d.reads_ended[channel]
        d.writes_known[channel] = d.answered[channel]
        _give_beat(m, channel)
        _respond(m, channel)
    least = load.channel_beats[0]
    for channel in range(1, p.ddr_channels):
        least = min(least, load.channel_beats[channel])
    load.history[t.now % HISTORY] = least


@jit
def _give_beat(m: Machine, channel: int) -> None:
    """R: the oldest beat that the DRAM has delivered."""
    d = m.ddr_ports
    if d.given[channel] == d.delivered[channel]:
        return
    beat = d.waiting[channel, d.given[channel] % BEATS_WAITING]
    d.given[channel] += 1
    d.reads_ended[channel] += beat & 1
    m.total.progress = m.total.now
    if beat >> 1 == DATA:
        m.load.channel_beats[channel] += 1
    else:
        m.sequencer.fetched_beats += 1


@jit
def _respond(m: Machine, channel: int) -> None:
    """B: the DRAM has answered, and the burst's last beat left in an earlier cycle."""
    d, answered = m.ddr_ports, m.ddr_ports.answered[channel]
    if answered < m.ddr.channels[channel].write_responses and d.ends[answered % MOST_BURSTS] <= d.sent_beats:
        d.answered[channel] += 1


@jit
def may_read(m: Machine, channel: int) -> bool:
    """A read burst may be asked for: credit is left, and nobody has asked the channel in this cycle."""
    d = m.ddr_ports
    outstanding = d.reads[channel] - d.reads_known[channel]
    return d.asked[channel] != m.total.now and outstanding < m.p.ddr_read_bursts  # type: ignore[no-any-return]


@jit
def ask_read(m: Machine, channel: int, address: int, beats: int, tag: int) -> None:
    """AR; the caller has seen `may_read`."""
    d = m.ddr_ports
    d.asked[channel] = m.total.now
    d.reads[channel] += 1
    push(m.ddr, channel, address, beats, False, tag, m.total.ddr_now)


@jit
def send_write_beats(m: Machine) -> None:
    """W on all channels: a beat of a burst that was asked for in an earlier cycle; before `ask_write`."""
    d = m.ddr_ports
    if d.sent_beats < d.write_beats:
        d.sent_beats += 1


@jit
def may_write(m: Machine) -> bool:
    """A write burst may be asked for on all channels."""
    for channel in range(m.p.ddr_channels):
        if m.ddr_ports.writes - m.ddr_ports.writes_known[channel] >= m.p.ddr_write_bursts:
            return False
    return True


@jit
def ask_write(m: Machine, address: int, beats: int) -> None:
    """AW, the same on all channels; the caller has seen `may_write`."""
    d = m.ddr_ports
    d.write_beats += beats
    d.ends[d.writes % MOST_BURSTS] = d.write_beats
    d.writes += 1
    for channel in range(m.p.ddr_channels):
        push(m.ddr, channel, address, beats, True, WRITE, m.total.ddr_now)


@jit
def writes_pending(m: Machine) -> bool:
    """A write burst is not known to be acknowledged."""
    for channel in range(m.p.ddr_channels):  # noqa: SIM110  (no generators in kernels)
        if m.ddr_ports.writes_known[channel] < m.ddr_ports.writes:
            return True
    return False
