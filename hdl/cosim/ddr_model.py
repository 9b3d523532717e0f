"""The simulator's load, store and DDR4 beside the RTL: what happens in every cycle, every burst."""

from typing import Any

from skipopu.hdl.cosim import ddr_events as events
from skipopu.hdl.cosim.axi_memory_state import AR, AW, W
from skipopu.hdl.cosim.ddr_events import CAUSE_SHIFT, PATTERNS
from skipopu.hdl.cosim.ddr_model_state import CAUSE_BITS, DdrModel
from skipopu.hdl.cosim.ddr_stimulus import AT, Ints
from skipopu.numerics.jit import jit
from skipopu.program.isa import Opcode
from skipopu.sim.ddr_port import FETCH, WRITE, arrive_ddr, ask_read, may_read
from skipopu.sim.dram_state import QUEUE
from skipopu.sim.global_buffer import begin_cycle, can_read, can_write, read, reserve_write
from skipopu.sim.load import ENGINE as LOAD
from skipopu.sim.load import load
from skipopu.sim.machine import HISTORY, MAX_QUEUE, MOST_BURSTS, Machine
from skipopu.sim.store import ENGINE as STORE
from skipopu.sim.store import store
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, TRANSFER_STAGES

GAP, BLOCKED, OPCODE, VALUE, AMOUNT = (AT[name] for name in ("gap", "blocked", "opcode", "value", "amount"))
APPEND, RESIDUAL, OPERAND, PACKED, RESULT, WRITE_BACK, FETCHES = range(len(PATTERNS))
LOAD_CONSTANTS = int(Opcode.LOAD_CONSTANTS)
ENGINES = (LOAD, STORE)


def simulated(model: DdrModel) -> tuple[Ints, Ints]:
    """Run to the end; return the trace of every cycle, and every burst."""
    cycles = _run(model)
    return model.trace[:cycles], model.bursts[: model.state.bursts]


@jit
def _run(model: DdrModel) -> int:
    m, s = model.machine, model.state
    count = model.given.shape[1]
    while s.next[0] < count or s.next[1] < count or s.fetch < len(model.fetch) or _words_to_come(m, s):
        model.trace[m.total.now] = _cycle(model)
        m.total.now += 1
    return m.total.now  # type: ignore[no-any-return]


@jit
def _words_to_come(m: Machine, s: Any) -> bool:
    """Instructions are on their way."""
    d = m.ddr_ports
    waits: bool = d.reads[0] > d.reads_ended[0] or _told(m, s, m.total.now - 1) < m.sequencer.fetched_beats
    return waits


@jit
def _told(m: Machine, s: Any, now: int) -> int:
    """Beats of instructions that have come, across the crossing, by cycle ``now``."""
    beats: int = s.fetched[(now - m.p.crossing_stages) % HISTORY]
    return beats


@jit
def _cycle(model: DdrModel) -> int:
    """One cycle: the order is that of `skipopu.sim.reference.step`."""
    m, s, now = model.machine, model.state, model.machine.total.now
    for engine in range(2):
        _feed(model, engine)
    arrive_ddr(m)
    begin_cycle(m)
    store(m)
    seen = m.buffer.reads << events.READ | _others(model, now)
    popped, streamed = m.load.popped, m.pe.stream_tiles
    load(m)
    seen |= _load_moves(model, m.load.popped > popped) | (m.pe.stream_tiles > streamed) << events.STREAMED
    seen |= _fetch(model, now) << events.FETCH
    s.fetched[now % HISTORY] = m.sequencer.fetched_beats
    seen |= (_told(m, s, now) > _told(m, s, now - 1)) << events.WORD
    _note_bursts(model, now)
    for engine, event in ((0, events.LOAD_LEAVES), (1, events.STORE_LEAVES)):
        seen |= _leaves(model, engine, now) << event
    causes = m.load.cause | m.store.cause << CAUSE_BITS
    return seen | causes << CAUSE_SHIFT  # type: ignore[no-any-return]


@jit
def _feed(model: DdrModel, engine: int) -> None:
    """The next instruction comes to its queue, and the semaphore it waits for is given."""
    m, s, number = model.machine, model.state, ENGINES[engine]
    e, i = m.engines, s.next[engine]
    if i == model.given.shape[1]:
        return
    due, blocked = s.free[engine] + model.given[engine, i, GAP], model.given[engine, i, BLOCKED]
    if e.head[number] == e.tail[number] and (blocked or m.total.now >= due):
        e.queue[number, e.tail[number] % MAX_QUEUE] = engine * model.given.shape[1] + i
        e.ready[number, e.tail[number] % MAX_QUEUE] = m.total.now
        e.tail[number] += 1
    if blocked and m.total.now == due:
        e.semaphore[0, number] += 1


@jit
def _leaves(model: DdrModel, engine: int, now: int) -> int:
    m, s = model.machine, model.state
    left: int = m.engines.head[ENGINES[engine]] - s.next[engine]
    if left:
        s.next[engine] += 1
        s.free[engine] = now + 1
    return left


@jit
def _load_moves(model: DdrModel, popped: bool) -> int:
    """What the load engine wrote in this cycle; its first one begins with all tiles."""
    m, s = model.machine, model.state
    if s.next[0] == model.given.shape[1] or m.work[s.next[0]].first > m.total.now:
        return 0
    given, event = model.given[0, s.next[0]], events.WRITTEN
    if given[OPCODE] == LOAD_CONSTANTS:
        event = events.ROTARY if given[VALUE] else events.CONSTANTS
        return popped << event
    before, s.tiles = s.tiles, m.load.tiles
    since = m.total.now - m.work[s.next[0]].first
    if since == TRANSFER_STAGES:
        before = given[AMOUNT]
    written: bool = since >= TRANSFER_STAGES and m.load.tiles < before
    return written << event


@jit
def _others(model: DdrModel, now: int) -> int:
    """Other readers by priority, and who reserves the write port."""
    m = model.machine
    wants = model.stalls[:, now % model.stalls.shape[1]]
    seen = 0
    for place, event in ((APPEND, events.APPEND), (RESIDUAL, events.RESIDUAL)):
        if wants[place] and can_read(m, 1):
            read(m, 1)
            seen |= 1 << event
    if wants[RESULT] and can_write(m, m.p.result_latency):
        reserve_write(m, m.p.result_latency)
        seen |= 1 << events.RESULT
    if wants[OPERAND] and can_read(m, 1 + wants[PACKED]):
        read(m, 1 + wants[PACKED])
        seen |= 1 << events.OPERAND
    back = m.p.read_stages + m.p.operand_latency
    if wants[WRITE_BACK] and can_write(m, back):
        reserve_write(m, back)
        seen |= 1 << events.WRITE_BACK
    return seen


@jit
def _fetch(model: DdrModel, now: int) -> int:
    """The fetch wants a burst until it gets it; the load engine had its turn."""
    m, s = model.machine, model.state
    if not s.offered and s.fetch < len(model.fetch) and model.stalls[FETCHES, now % model.stalls.shape[1]]:
        s.offered = 1
    if not s.offered or not may_read(m, 0):
        return 0
    ask_read(m, 0, model.fetch[s.fetch, 0] * DDR_BEAT_BYTES, model.fetch[s.fetch, 1], FETCH)
    s.offered = 0
    s.fetch += 1
    return 1


@jit
def _note_bursts(model: DdrModel, now: int) -> None:
    """Bursts that a channel has got in this cycle, and write bursts whose last beat has left."""
    m, s, d = model.machine, model.state, model.machine.ddr_ports
    for channel in range(DDR_CHANNELS):
        c = m.ddr.channels[channel]
        for n in range(s.pushed[channel], c.pushed):
            slot = n & (QUEUE - 1)
            identifier = 0 if c.tag[slot] == WRITE else c.tag[slot]
            address = c.beat[slot] * DDR_BEAT_BYTES
            _note(model, now, channel, AW if c.is_write[slot] else AR, identifier, address, c.beats[slot])
            if c.is_write[slot] and channel == 0:
                s.places[d.writes - 1 & MOST_BURSTS - 1] = address
        s.pushed[channel] = c.pushed
        if s.written < d.writes and d.ends[s.written % MOST_BURSTS] == d.sent_beats:
            before = d.ends[(s.written - 1) % MOST_BURSTS] if s.written else 0
            _note(model, now, channel, W, 0, s.places[s.written & MOST_BURSTS - 1], d.sent_beats - before)
    s.written += s.written < d.writes and d.ends[s.written % MOST_BURSTS] == d.sent_beats


@jit
def _note(model: DdrModel, now: int, channel: int, kind: int, identifier: int, address: int, beats: int) -> None:
    event = model.bursts[model.state.bursts]
    event[0], event[1], event[2], event[3], event[4], event[5] = now, channel, kind, identifier, address, beats
    model.state.bursts += 1
