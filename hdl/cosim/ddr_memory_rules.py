"""Rules that a master of the DDR4 can break where the memory sees it; the first one broken is kept."""

from skipopu.hdl.cosim.axi_memory_state import AR
from skipopu.hdl.cosim.ddr_memory_state import DdrMemory
from skipopu.numerics.jit import jit
from skipopu.spec.overlay import AXI3_BURST_BEATS, BOUNDARY, DDR_BEAT_BYTES

DDR_RULES = (
    "",
    "AR stays as it is until it is taken",
    "AW stays as it is until it is taken",
    "a burst has 1 to 16 beats of 64 bytes within 4 KiB",
    "a burst lies in what the memory holds",
    "WLAST comes with the last beat of its burst",
    "W does not come before its AW is taken",
    "nothing is read that is being written",
)
NONE, AR_STABLE, AW_STABLE, SHAPE, OUTSIDE, LAST, UNASKED, HAZARD = range(len(DDR_RULES))


@jit
def break_rule(memory: DdrMemory, channel: int, now: int, rule: int) -> None:
    """Keep the rule that was broken first."""
    t = memory.total[0]
    if t.broken == NONE:
        t.broken, t.broken_channel, t.broken_cycle = rule, channel, now


@jit
def check_request(memory: DdrMemory, channel: int, kind: int, now: int) -> None:
    """AR or AW: what was not taken stands there unchanged; what comes is a burst in the memory, or is made one."""
    c = memory.ports[channel]
    if c.held[kind]:
        same = c.address[kind] == c.held_address[kind] and c.beats[kind] == c.held_beats[kind]
        if not (c.valid[kind] and same and c.ID[kind] == c.held_ID[kind]):
            break_rule(memory, channel, now, AR_STABLE if kind == AR else AW_STABLE)
    c.held_address[kind], c.held_beats[kind], c.held_ID[kind] = c.address[kind], c.beats[kind], c.ID[kind]
    if c.valid[kind]:
        _check_shape(memory, channel, kind, now)


@jit
def _check_shape(memory: DdrMemory, channel: int, kind: int, now: int) -> None:
    c = memory.ports[channel]
    begin, beats = c.address[kind] % BOUNDARY, c.beats[kind]
    whole = begin % DDR_BEAT_BYTES == 0 and begin + beats * DDR_BEAT_BYTES <= BOUNDARY
    inside = c.address[kind] // DDR_BEAT_BYTES + beats <= memory.contents.shape[1]
    if whole and 1 <= beats <= AXI3_BURST_BEATS and inside:
        return
    break_rule(memory, channel, now, SHAPE if inside else OUTSIDE)
    c.beats[kind], c.address[kind] = 1, 0  # what no memory takes would end the run here
