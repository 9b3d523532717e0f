"""DDR4 behind AXI ports in the core clock: the simulator's bank-level timing, random stalls, checked rules.

Whoever has the ports fills in AR, AW and W of a core cycle, calls `serve_ddr`, and finds the memory's side of all
channels filled in. The DRAM advances by its own ticks that fall into the cycle; a beat leaves a port in a cycle, so
that what the DRAM delivers faster waits. A burst enters the DRAM in the cycle in which it is taken, AW before AR.
"""

from typing import Any

from skipopu.hdl.cosim.axi_memory_state import AR, AW, B, R, W
from skipopu.hdl.cosim.ddr_memory_rules import HAZARD, LAST, UNASKED, break_rule, check_request
from skipopu.hdl.cosim.ddr_memory_state import BURSTS, WORDS, DdrMemory
from skipopu.numerics.jit import jit
from skipopu.sim.dram import free_slots, push, tick
from skipopu.spec.overlay import DDR_BEAT_BYTES


@jit
def serve_ddr(memory: DdrMemory, now: int) -> None:
    """One core cycle of all channels."""
    t, at = memory.total[0], now % memory.stalls.shape[2]
    end = (now + 1) * t.ticks // t.cycles
    for channel in range(len(memory.ports)):
        c, stalls = memory.ports[channel], memory.stalls[channel, :, at]
        for each in range(t.now, end):
            c.beats_here += tick(memory.dram, channel, each) >= 0
        _give_data(c, stalls[R])
        _respond(memory, channel, stalls[B])
        _take(memory, channel, AW, now, end, stalls[AW])
        _take(memory, channel, AR, now, end, stalls[AR])
        _take_data(memory, channel, now, stalls[W])
        _pack(c)
    t.now = end


@jit
def _give_data(c: Any, may: int) -> None:
    """R: the next beat, if the DRAM has delivered it."""
    c.r_valid = may != 0 and c.beats_here > 0
    if not c.r_valid:
        return
    slot = c.reads_done % BURSTS
    for place in range(WORDS):
        c.r_data[place] = c.found[slot, c.beats_done, place]
    c.beats_here -= 1
    c.beats_done += 1
    c.r_ID = c.read_ID[slot]
    c.r_last = c.beats_done == c.read_beats[slot]
    if c.r_last:
        c.reads_done += 1
        c.beats_done = 0


@jit
def _respond(memory: DdrMemory, channel: int, may: int) -> None:
    """B: the DRAM has answered, and all data of the burst came in earlier cycles."""
    c = memory.ports[channel]
    c.b_valid = may != 0 and c.answered < min(memory.dram.channels[channel].write_responses, c.bursts_written)
    c.answered += c.b_valid


@jit
def _take(memory: DdrMemory, channel: int, kind: int, now: int, tick_now: int, may: int) -> None:
    """AR or AW: take what stands there if the DRAM has a free slot."""
    c = memory.ports[channel]
    check_request(memory, channel, kind, now)
    c.ready[kind] = may != 0 and free_slots(memory.dram, channel) > 0
    c.held[kind] = c.valid[kind] and not c.ready[kind]
    if not c.ready[kind] or not c.valid[kind]:
        return
    if kind == AW:
        c.write_beats[c.writes % BURSTS] = c.beats[AW]
        c.write_address[c.writes % BURSTS] = c.address[AW] // DDR_BEAT_BYTES
        c.writes += 1
    else:
        _find(memory, channel, now)
    push(memory.dram, channel, c.address[kind], c.beats[kind], kind == AW, c.ID[kind], tick_now)
    log(memory, now, channel, kind, c.ID[kind], c.address[kind], c.beats[kind])


@jit
def log(memory: DdrMemory, now: int, channel: int, kind: int, identifier: int, address: int, beats: int) -> None:
    """Note an event."""
    event = memory.events[memory.total[0].events % len(memory.events)]
    memory.total[0].events += 1
    event[0], event[1], event[2], event[3], event[4], event[5] = now, channel, kind, identifier, address, beats


@jit
def _find(memory: DdrMemory, channel: int, now: int) -> None:
    """What a read finds stands there now; a write to it that is not acknowledged is a race."""
    c = memory.ports[channel]
    slot, first = c.reads % BURSTS, c.address[AR] // DDR_BEAT_BYTES
    for n in range(c.answered, c.writes):
        begin = c.write_address[n % BURSTS]
        if begin < first + c.beats[AR] and first < begin + c.write_beats[n % BURSTS]:
            break_rule(memory, channel, now, HAZARD)
    c.read_beats[slot], c.read_ID[slot] = c.beats[AR], c.ID[AR]
    for n in range(c.beats[AR]):
        for place in range(WORDS):
            c.found[slot, n, place] = memory.contents[channel, first + n, place]
    c.reads += 1


@jit
def _take_data(memory: DdrMemory, channel: int, now: int, may: int) -> None:
    """W: write a beat; it comes after its AW was taken."""
    c = memory.ports[channel]
    c.w_ready = may
    if not c.w_valid or may == 0:
        return
    if c.bursts_written == c.writes:
        break_rule(memory, channel, now, UNASKED)
        return
    slot = c.bursts_written % BURSTS
    for place in range(WORDS):
        memory.contents[channel, c.write_address[slot] + c.burst_beats, place] = c.w_data[place]
    c.burst_beats += 1
    if (c.burst_beats == c.write_beats[slot]) != (c.w_last != 0):
        break_rule(memory, channel, now, LAST)
    if c.burst_beats == c.write_beats[slot]:
        log(memory, now, channel, W, 0, c.write_address[slot] * DDR_BEAT_BYTES, c.burst_beats)
        c.bursts_written += 1
        c.burst_beats = 0


@jit
def _pack(c: Any) -> None:
    """Flags that answer, in one integer."""
    reads = c.ready[AR] | c.r_last << 1 | c.r_valid << 2
    c.answers = reads | c.ready[AW] << 3 | c.w_ready << 4 | c.b_valid << 5
