"""Rules of AXI3 that a master can break where the memory sees it; the first one broken is kept."""

from skipopu.hdl.cosim.axi_memory_state import AR, BURSTS, AxiMemory
from skipopu.numerics.jit import jit
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, HBM_BEAT_BYTES

RULES = (
    "",
    "AR stays as it is until it is taken",
    "AW stays as it is until it is taken",
    "a burst has 1 to 16 beats of 32 bytes within 4 KiB",
    "no more bursts are outstanding than the queue takes",
    "WLAST comes with the last beat of its burst",
    "W does not come before its AW stands there",
    "no more is written than the work asks for",
)
NONE, AR_STABLE, AW_STABLE, SHAPE, OUTSTANDING, LAST, UNASKED, TOO_MUCH = range(len(RULES))


@jit
def break_rule(memory: AxiMemory, port: int, now: int, rule: int) -> None:
    """Keep the rule that was broken first."""
    t = memory.total[0]
    if t.broken == NONE:
        t.broken, t.broken_port, t.broken_tick = rule, port, now


@jit
def check_request(memory: AxiMemory, port: int, channel: int, now: int) -> None:
    """AR or AW: what was not taken stands there unchanged; what comes is a burst of AXI3, or is made one."""
    c = memory.ports[port]
    if c.held[channel]:
        same = c.address[channel] == c.held_address[channel] and c.beats[channel] == c.held_beats[channel]
        if not (c.valid[channel] and same and c.ID[channel] == c.held_ID[channel]):
            break_rule(memory, port, now, AR_STABLE if channel == AR else AW_STABLE)
    else:
        c.since[channel] = now
    c.held_address[channel], c.held_beats[channel] = c.address[channel], c.beats[channel]
    c.held_ID[channel] = c.ID[channel]
    if c.valid[channel]:
        _check_shape(memory, port, channel, now)


@jit
def _check_shape(memory: AxiMemory, port: int, channel: int, now: int) -> None:
    c = memory.ports[port]
    begin, beats = c.address[channel] % BOUNDARY, c.beats[channel]
    end = begin + beats * HBM_BEAT_BYTES
    if begin % HBM_BEAT_BYTES or end > BOUNDARY or not 1 <= beats <= AXI3_BURST_BEATS:
        break_rule(memory, port, now, SHAPE)
        c.beats[channel] = 1  # what no memory takes would end the run here
        c.address[channel] -= begin


@jit
def check_data(memory: AxiMemory, port: int, now: int) -> None:
    """W: the beats of a burst are those its AW asked for, where that has been taken."""
    c = memory.ports[port]
    if c.bursts_written < c.writes:
        asked = c.write_beats[c.bursts_written % BURSTS]
        if (c.burst_beats >= asked) != (c.w_last != 0):
            break_rule(memory, port, now, LAST)
