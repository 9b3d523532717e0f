"""What the simulator's sequencer, queues and semaphores do with engines of the simplest kind."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.frontend_stimulus import FrontendWork
from skipopu.numerics.jit import jit
from skipopu.program.instruction_check import ENGINE_OF_CODE
from skipopu.program.isa import COLUMN, ENGINES, unpack
from skipopu.sim.ddr import new_ddr
from skipopu.sim.engine import ENGINE_COUNT, begin, commit, leave_queue, retire
from skipopu.sim.machine import (
    COUNTS,
    ENGINES_STATE,
    SEQUENCER,
    TOTAL,
    Machine,
    Record,
    new_ddr_ports,
    overlay_parameters,
    record,
)
from skipopu.sim.sequencer import BEAT_INSTRUCTIONS, sequencer
from skipopu.sim.work import WORK
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block
from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, DDR_CHANNELS, IN_FLIGHT, Overlay

Ints = NDArray[np.int64]
COMPUTE = ENGINES.index(Block.PE_ARRAY)
LONGEST = 1 << 14  # cycles of a run
TRACE = ("cause", "blocked", "at work")
REQUEST = ("cycle", "address", "beats")
BENCH = [  # what stands round the frontend
    ("elapsed", "i8", (len(ENGINES),)),  # cycles that each engine's instruction has worked
    ("flying", "i8", (IN_FLIGHT, 2)),  # instructions that left the PE array's queue, and when they retire
    "begun", "ended", "free",  # how many left, how many retired; first cycle in which the next one may
    "bursts", "asked",  # asked for so far, and their beats
]  # fmt: skip


class Times(NamedTuple):
    """How long all takes: as in FrontendWork, and ``arrival`` of every beat."""

    work: Ints
    flight: Ints
    latency: Ints
    gap: Ints
    ready: Ints
    arrival: Ints


def expected(work: FrontendWork, overlay: Overlay) -> tuple[Ints, Ints, Ints]:
    """Return the trace [cycle, TRACE], the requests [burst, REQUEST] and [instruction, (issue, first, last)]."""
    m, b, n = _machine(work, overlay), record(BENCH), len(work.words)
    trace, requests = np.zeros((LONGEST, len(TRACE)), np.int64), np.zeros((n, len(REQUEST)), np.int64)
    times = Times(work.work, work.flight, work.latency, work.gap, work.ready, np.zeros(n, np.int64))
    _run(m, b, times, trace, requests)
    cycles = np.stack([m.work.issue, m.work.first, m.work.last], axis=1)
    return trace[: m.total.now], requests[: b.bursts], cycles


def _machine(work: FrontendWork, overlay: Overlay) -> Machine:
    fields, _ = unpack(work.words)
    todo = np.zeros(len(fields), WORK).view(np.recarray)
    todo.opcode, todo.engine = fields[:, 0], ENGINE_OF_CODE[fields[:, 0]]
    todo.wait, todo.signal = fields[:, COLUMN["wait"]], fields[:, COLUMN["signal"]]
    p = overlay_parameters(overlay)
    p.ddr_channels = DDR_CHANNELS
    p.program_address = work.address * AXI3_BURST_BEATS * DDR_BEAT_BYTES * DDR_CHANNELS
    parts: dict[str, Any] = {name: record(["unused"]) for name in Machine._fields}
    parts |= {
        "p": p, "work": todo, "engines": record(ENGINES_STATE), "sequencer": record(SEQUENCER),
        "total": record(TOTAL), "counts": record(COUNTS), "ddr": new_ddr(Board.load("u280")),
        "ddr_ports": new_ddr_ports(),
    }  # fmt: skip
    return Machine(**parts)


@jit
def _run(m: Machine, b: Record, times: Times, trace: Ints, requests: Ints) -> None:
    """Run to the last retirement."""
    t, s = m.total, m.sequencer
    while t.retired < len(m.work) and t.now < len(trace):
        while s.fetched_beats < b.asked and times.arrival[s.fetched_beats] <= t.now:
            s.fetched_beats += 1
        trace[t.now, 2] = _engines(m, b, times)
        for engine in range(ENGINE_COUNT):
            trace[t.now, 1] |= m.engines.blocked[engine] << engine
        if not times.ready[t.now % len(times.ready)]:
            m.ddr_ports.asked[0] = t.now  # the load engine was first
        before = s.requested
        sequencer(m)
        if s.requested > before:
            _request(m, b, times, s.requested - before, requests)
        trace[t.now, 0] = s.cause
        commit(m)
        t.now += 1


@jit
def _engines(m: Machine, b: Record, times: Times) -> int:
    """One cycle of all engines; return which are at work."""
    now, at_work, in_flight = m.total.now, 0, b.begun - b.ended
    oldest = b.ended % IN_FLIGHT
    if in_flight > 0 and b.flying[oldest, 1] == now:
        retire(m, COMPUTE, b.flying[oldest, 0])
        b.ended += 1
    for engine in range(ENGINE_COUNT):
        instruction = begin(m, engine)
        if instruction < 0:
            continue
        at_work |= 1 << engine
        if b.elapsed[engine] < times.work[instruction] or (engine == COMPUTE and in_flight == IN_FLIGHT):
            b.elapsed[engine] += 1
            continue
        b.elapsed[engine] = 0
        leave_queue(m, engine)
        if engine == COMPUTE:
            _fly(b, instruction, now + 1 + times.flight[instruction])
        else:
            retire(m, engine, instruction)
    return at_work


@jit
def _fly(b: Record, instruction: int, soonest: int) -> None:
    """Products retire in order, one a cycle."""
    newest, finish = b.begun % IN_FLIGHT, max(soonest, b.free)
    b.flying[newest, 0], b.flying[newest, 1] = instruction, finish
    b.free = finish + 1
    b.begun += 1


@jit
def _request(m: Machine, b: Record, times: Times, instructions: int, requests: Ints) -> None:
    """Note a burst, and say when its beats come."""
    channel, now, beats = m.ddr.channels[0], m.total.now, (instructions + BEAT_INSTRUCTIONS - 1) // BEAT_INSTRUCTIONS
    pushed = (channel.pushed - 1) % len(channel.beat)
    request = requests[b.bursts]
    request[0], request[1], request[2] = now, channel.beat[pushed], channel.beats[pushed]
    channel.finished = channel.pushed
    m.ddr_ports.reads_known[0] = m.ddr_ports.reads[0]
    for beat in range(b.asked, b.asked + beats):
        after = times.arrival[beat - 1] + 1 + times.gap[beat] if beat > 0 else 0
        times.arrival[beat] = max(after, now + times.latency[b.bursts])
    b.bursts += 1
    b.asked += beats
