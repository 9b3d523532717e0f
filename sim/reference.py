"""The reference engine: steps every core cycle of the overlay, written to be read beside the RTL."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.jit import announce_first_compilation, jit
from skipopu.program.macs import macs
from skipopu.program.program import Program, validate_program
from skipopu.program.score_layers import ScoreLayer
from skipopu.program.status import WATCHDOG_CYCLES
from skipopu.sim import causes
from skipopu.sim.asked import asked_traffic
from skipopu.sim.ddr_port import arrive_ddr
from skipopu.sim.deadlock import blocked_instructions
from skipopu.sim.dma import arrive, dma
from skipopu.sim.dram import counters
from skipopu.sim.engine import commit
from skipopu.sim.error import DeadlockError, LimitError
from skipopu.sim.global_buffer import begin_cycle
from skipopu.sim.ifm import ifm
from skipopu.sim.ker import ker
from skipopu.sim.kv_append import kv_append
from skipopu.sim.kv_buffer import kv_buffer
from skipopu.sim.late_input import alike
from skipopu.sim.load import load
from skipopu.sim.machine import KvCache, Machine, new_kv_cache, new_machine
from skipopu.sim.npe import npe
from skipopu.sim.pe_array import pe_array
from skipopu.sim.run import KvCount, Retired, Run
from skipopu.sim.sequencer import sequencer
from skipopu.sim.store import store
from skipopu.sim.work import Work, resolve_work
from skipopu.spec.board import Board
from skipopu.spec.ledger import Block, Phase, Traffic
from skipopu.spec.overlay import Overlay

SLICE_CYCLES = 1 << 21  # between two looks at progress, interrupts and the window array
WINDOW_CYCLES = 16384

Ints = NDArray[np.int64]
RUNNING, FINISHED, DEADLOCKED = range(3)


@jit
def step(m: Machine, c: KvCache) -> None:
    """One core cycle. Memories first, then consumers before producers, so that a hand-over takes a cycle."""
    arrive(m)
    arrive_ddr(m)
    begin_cycle(m)
    store(m)
    kv_append(m, c)
    npe(m)
    ifm(m)
    pe_array(m)
    ker(m)
    kv_buffer(m, c)
    dma(m)
    load(m)
    sequencer(m)
    _account(m, 1)
    commit(m)


@jit
def _account(m: Machine, cycles: int) -> None:
    """Give a cycle of every block its cause, and ``cycles`` that are like it."""
    row = m.counts.ledger[m.total.phase]
    row[Block.SEQUENCER, m.sequencer.cause] += cycles
    row[Block.DMA, m.dma.cause] += cycles
    row[Block.LOAD, m.load.cause] += cycles
    row[Block.STORE, m.store.cause] += cycles
    row[Block.KV_BUFFER, m.kv.cause] += cycles
    row[Block.KV_APPEND, m.append.cause] += cycles
    row[Block.PE_ARRAY, m.pe.cause] += cycles
    m.counts.parts[m.total.phase, m.pe.part, m.pe.cause] += cycles
    row[Block.NPE, causes.BUSY if m.pe.lane_taken else m.npe.cause] += cycles


@jit
def run_slice(m: Machine, c: KvCache, windows: Ints, cycles: int) -> int:
    """Advance by at most ``cycles``; stop when every instruction is retired or nothing moves any more."""
    t, until = m.total, m.total.now + cycles
    while t.now < until:
        step(m, c)
        t.now += 1
        if t.now % m.p.window_cycles == 0 or t.retired == len(m.work):
            for kind in range(len(m.counts.window)):
                windows[(t.now - 1) // m.p.window_cycles, kind] = m.counts.window[kind]
                m.counts.window[kind] = 0
        if t.phase == Phase.PREFILL and t.left_of_prefill == 0:
            t.phase, t.prefill_cycles = Phase.DECODE, t.now
        if t.retired == len(m.work):
            return FINISHED
        if t.now - t.progress > m.p.watchdog and not m.sequencer.waits:
            return DEADLOCKED
        if m.sequencer.waits:
            more = min(alike(m), until - t.now)
            _account(m, more)
            t.now += more
    return RUNNING


Progress = Callable[[int, int], None]
Advance = Callable[[Machine, KvCache, Ints, int], int]


def simulate(
    program: Program, overlay: Overlay, board: Board, *,
    max_cycles: int | None = None, progress: Progress | None = None, advance: Advance = run_slice,
) -> Run:  # fmt: skip
    """Run a program on the overlay and return what was counted.

    ``max_cycles`` bounds the run in core cycles; ``progress`` is called with (retired, all) instructions;
    ``advance`` is `run_slice`, or that with an eye on every cycle.
    Raises DeadlockError with every blocked instruction and what it waits for, LimitError beyond the bound.
    """
    validate_program(program.words, overlay, simulated=True)
    announce_first_compilation()
    work = resolve_work(program, overlay)
    m = new_machine(program, work, overlay, board, WATCHDOG_CYCLES, WINDOW_CYCLES)
    c = new_kv_cache(program)
    windows = np.zeros((0, len(Traffic)), np.int64)
    while True:
        cycles = SLICE_CYCLES if max_cycles is None else min(SLICE_CYCLES, max_cycles - int(m.total.now))
        windows = np.concatenate([windows, np.zeros((cycles // WINDOW_CYCLES + 2, len(Traffic)), np.int64)])
        state = advance(m, c, windows, cycles)
        if progress is not None:
            progress(int(m.total.retired), len(program))
        if state == FINISHED:
            return _collect(m, windows, program, work, overlay)
        if state == DEADLOCKED:
            raise DeadlockError(int(m.total.now), WATCHDOG_CYCLES, blocked_instructions(m))
        if max_cycles is not None and m.total.now >= max_cycles:
            raise LimitError(max_cycles, int(m.total.retired), len(program))


def _collect(m: Machine, windows: Ints, program: Program, work: Work, overlay: Overlay) -> Run:
    now = int(m.total.now)
    return Run(
        engine="reference", core_cycles=now,
        prefill_cycles=int(m.total.prefill_cycles) if m.total.phase else now,
        ledger=m.counts.ledger, parts=m.counts.parts,
        traffic=m.counts.traffic, asked=asked_traffic(program, work, overlay),
        window_cycles=WINDOW_CYCLES, windows=windows[: -(-now // WINDOW_CYCLES)],
        step_end=_step_end(work, program), retired=_retired(work, program.context.scores),
        kv=_kv_count(m, program), semaphores=m.engines.semaphore, npe=m.counts.npe, macs=macs(program.context.trace),
        dram={"hbm": counters(m.hbm), "ddr": counters(m.ddr)},
    )  # fmt: skip


def _retired(work: Work, scores: tuple[ScoreLayer, ...]) -> Retired:
    layer = work.layer.copy()
    for score in scores:  # they have a layer of the cache, and belong to one of the model
        layer[layer == score.number] = score.layer
    return Retired(work.engine + 1, work.opcode, work.step, layer, work.issue, work.first, work.last)


def _step_end(work: Work, program: Program) -> Ints:
    """Cycle in which each step's last instruction retired; HALT belongs to none."""
    found = np.zeros(len(program.context.trace.steps), np.int64)
    np.maximum.at(found, work.step[:-1], work.last[:-1])
    return found


def _kv_count(m: Machine, program: Program) -> KvCount:
    c = program.context
    vector = 2 * c.memory.vector_bytes  # K and V
    rows = c.trace.rows("kv")
    decode = Phase.DECODE
    return KvCount(
        bytes_stored=int(rows.sum()) * vector, bytes_dense=rows.size * vector,
        hbm_bytes_read=int(m.counts.traffic[decode, 1]), buffer_bytes_read=int(m.counts.buffer_bytes[decode]),
        read_cycles=int(m.total.kv_cycles), rounds=int(c.demand.rounds[c.trace.steps.decoding()[c.passes.step]].sum()),
    )  # fmt: skip

