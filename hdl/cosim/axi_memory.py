"""The memory behind AXI ports under test: the simulator's bank-level timing, random stalls, checked rules.

Whoever has the ports, RTL or model, fills in AR, AW and W of a tick, calls `serve`, and finds the memory's side of all
channels filled in. A burst enters the DRAM model in the tick in which it is taken, AW before AR; what the model
delivers leaves in order, in its own tick or, where R or B stalls, later. A read finds what was promised by the AWs
taken before it, whenever their data come.
"""

from typing import Any

from skipopu.hdl.cosim.axi_memory_contents import beat_key, found_word, promise, version
from skipopu.hdl.cosim.axi_memory_rules import (
    LAST,
    OUTSTANDING,
    TOO_MUCH,
    UNASKED,
    break_rule,
    check_data,
    check_request,
)
from skipopu.hdl.cosim.axi_memory_state import AR, AW, BURSTS, WORDS, AxiMemory, B, R, W
from skipopu.numerics.jit import jit
from skipopu.sim.dram import free_slots, push, tick
from skipopu.spec.overlay import HBM_BEAT_BYTES


@jit
def serve(memory: AxiMemory, now: int) -> None:
    """One tick of all ports."""
    at = now % memory.stalls.shape[2]
    for port in range(len(memory.ports)):
        stalls = memory.stalls[port, :, at]
        _take(memory, port, AW, now, stalls[AW])
        _take(memory, port, AR, now, stalls[AR])
        _take_data(memory, port, now, stalls[W])
        _advance(memory, port, now)
        _give_data(memory, port, stalls[R])
        _respond(memory.ports[port], stalls[B])
        _pack(memory.ports[port])


@jit
def _take(memory: AxiMemory, port: int, channel: int, now: int, may: int) -> None:
    """AR or AW: take what stands there if the DRAM has a free slot."""
    c = memory.ports[port]
    check_request(memory, port, channel, now)
    c.ready[channel] = may != 0 and free_slots(memory.dram, port) > 0
    c.held[channel] = c.valid[channel] and not c.ready[channel]
    if not c.ready[channel] or not c.valid[channel]:
        return
    if channel == AW:
        _promise_write(memory, port, now)
    else:
        _note_read(memory, port, now)
    push(memory.dram, port, c.address[channel], c.beats[channel], channel == AW, c.ID[channel], now)
    _log(memory, now, port, channel)


@jit
def _log(memory: AxiMemory, now: int, port: int, channel: int) -> None:
    c, event = memory.ports[port], memory.events[memory.total[0].events % len(memory.events)]
    memory.total[0].events += 1
    event[0], event[1], event[2] = now, port, channel
    if channel == W:
        event[3], event[6] = c.w_since, c.burst_beats
    else:
        event[3], event[4], event[5], event[6] = c.since[channel], c.ID[channel], c.address[channel], c.beats[channel]


@jit
def _promise_write(memory: AxiMemory, port: int, now: int) -> None:
    c = memory.ports[port]
    beats = c.beats[AW]
    if c.promised + beats >= memory.log.shape[1]:
        break_rule(memory, port, now, TOO_MUCH)
    for n in range(beats):
        if c.promised + n < memory.log.shape[1]:
            promise(memory, beat_key(port, c.address[AW] + n * HBM_BEAT_BYTES), c.promised + n)
    if c.bursts_written > c.writes and c.written_beats[c.writes % BURSTS] != beats:
        break_rule(memory, port, now, LAST)
    c.promised += beats
    c.write_beats[c.writes % BURSTS] = beats
    c.writes += 1


@jit
def _note_read(memory: AxiMemory, port: int, now: int) -> None:
    c = memory.ports[port]
    slot = c.reads % BURSTS
    if c.reads - c.reads_done == BURSTS:
        break_rule(memory, port, now, OUTSTANDING)
    c.read_address[slot], c.read_beats[slot], c.read_ID[slot] = c.address[AR], c.beats[AR], c.ID[AR]
    for n in range(c.beats[AR]):
        c.version[slot, n] = version(memory, beat_key(port, c.address[AR] + n * HBM_BEAT_BYTES))
    c.reads += 1


@jit
def _take_data(memory: AxiMemory, port: int, now: int, may: int) -> None:
    """W: take a beat; it may come before its AW is taken, not before it stands there."""
    c = memory.ports[port]
    c.w_ready = may
    if not c.w_valid:
        return
    if c.bursts_written == c.writes + c.held[AW]:
        break_rule(memory, port, now, UNASKED)
    if c.w_since < 0:
        c.w_since = now
    if may == 0:
        return
    if c.written < memory.log.shape[1]:
        for place in range(WORDS):
            memory.log[port, c.written, place] = c.w_data[place]
    c.written += 1
    c.burst_beats += 1
    check_data(memory, port, now)
    if c.w_last:
        _log(memory, now, port, W)
        c.written_beats[c.bursts_written % BURSTS] = c.burst_beats
        c.bursts_written += 1
        c.burst_beats, c.w_since = 0, -1


@jit
def _advance(memory: AxiMemory, port: int, now: int) -> None:
    """The DRAM's own tick."""
    c, channel = memory.ports[port], memory.dram.channels[port]
    if tick(memory.dram, port, now) >= 0:
        c.beats_here += 1
    c.responses = channel.write_responses


@jit
def _give_data(memory: AxiMemory, port: int, may: int) -> None:
    """R: the next beat, if the DRAM has delivered it and what it finds has been written."""
    c = memory.ports[port]
    slot, beat = c.reads_done % BURSTS, c.beats_done
    found = c.version[slot, beat]
    c.r_valid = may != 0 and c.beats_here > 0 and found < c.written
    if not c.r_valid:
        return
    key = beat_key(port, c.read_address[slot] + beat * HBM_BEAT_BYTES)
    for place in range(WORDS):
        c.r_data[place] = found_word(memory, key, found, place)
    c.beats_here -= 1
    c.beats_done += 1
    c.r_ID = c.read_ID[slot]
    c.r_last = c.beats_done == c.read_beats[slot]
    if c.r_last:
        c.reads_done += 1
        c.beats_done = 0


@jit
def _respond(c: Any, may: int) -> None:
    """B: once the DRAM has answered and all data of the burst have come."""
    c.b_valid = may != 0 and c.answered < min(c.responses, c.bursts_written)
    c.answered += c.b_valid


@jit
def _pack(c: Any) -> None:
    """Flags that answer, in one integer."""
    reads = c.ready[AR] | c.r_last << 1 | c.r_valid << 2
    c.answers = reads | c.ready[AW] << 3 | c.w_ready << 4 | c.b_valid << 5
