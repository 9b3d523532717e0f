"""Breaks one rule of the machine at a time and prints what notices it: ``fault: notice`` a line.

Run in plain Python (NUMBA_DISABLE_JIT=1), where a kernel's callees can be replaced.
"""

import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from expected_counts import differences
from hand_made import early_chunks
from small_machine import BOARD, TINY, failed, shape, skipping

from skipopu.program.compiler import compile_trace
from skipopu.sim import dma, engine, ker, kv_append_rows, kv_rounds, load, npe, reference, store
from skipopu.sim.error import SimulationError

MODEL = shape(layers=2, hidden_size=32, intermediate_size=16, attention_heads=2, head_dim=16, vocabulary=16)
TRACE = skipping(MODEL, 2, 1, 0.5, kv_policy="evict")
Kernel = Callable[..., Any]


def twice(kernel: Kernel) -> Kernel:
    return lambda *given: (kernel(*given), kernel(*given))[1]


def beat_lost(tick: Kernel) -> Kernel:
    seen: list[int] = []

    def losing(*given: Any) -> Any:
        beat = tick(*given)
        if beat >= 0:
            seen.append(beat)
        return -1 if len(seen) == 100 else beat

    return losing


def cycle_without_a_cause(account: Kernel) -> Kernel:
    return lambda m, cycles: None if m.total.now == 500 else account(m, cycles)


def signal_lost(retire: Kernel) -> Kernel:
    seen: list[int] = []

    def losing(m: Any, engine_index: int, instruction: int) -> None:
        retire(m, engine_index, instruction)
        if m.work[instruction].signal and not seen:
            seen.append(instruction)
            m.engines.given[engine_index] = 0

    return losing


def given_twice(commit: Kernel) -> Kernel:
    def doubling(m: Any) -> None:
        m.engines.given *= 2
        commit(m)

    return doubling


def filled(m: Any) -> None:
    m.ifm.requested = m.pe.tiles * m.pe.rows


def ignoring(e: Any, work: Any, now: int, engine_index: int) -> int:
    instruction = int(e.queue[engine_index, e.head[engine_index] % len(e.queue[engine_index])])
    e.seen[engine_index] = e.running[engine_index] = 1
    work[instruction].issue = work[instruction].first = now
    return instruction


FAULTS: dict[str, tuple[Any, str, Callable[[Kernel], Kernel]]] = {
    "none": (reference, "step", lambda kernel: kernel),
    "a K/V round is popped twice": (kv_rounds, "_sources_ready", twice),
    "a signal is given twice": (reference, "commit", given_twice),
    "semaphores are ignored": (engine, "_try_to_begin", lambda _: ignoring),
    "an instruction retires twice": (npe, "retire", twice),
    "a signal is lost": (load, "retire", signal_lost),
    "a beat is lost": (dma, "tick", beat_lost),
    "a cycle has no cause": (reference, "_account", cycle_without_a_cause),
    "an append writes half of a row": (kv_append_rows, "_row_bytes", lambda k: lambda p: k(p) // 2),
    "a store asks for every burst twice": (store, "ask_write", twice),
    "IFM is full without rows": (reference, "ifm", lambda _: filled),
    "weights are there before they come": (ker, "weight_chunks", lambda _: lambda ports, p, now: 1 << 30),
}


@contextmanager
def planted(name: str) -> Any:
    module, kernel, change = FAULTS[name]
    whole = getattr(module, kernel)
    setattr(module, kernel, change(whole))
    try:
        yield
    finally:
        setattr(module, kernel, whole)


@contextmanager
def watched(early: list[str]) -> Any:
    """Note every cycle in which chunks are gone from the FIFOs that have not come yet."""
    step = reference.step

    def watching(m: Any, c: Any) -> None:
        step(m, c)
        if early_chunks(m):
            early.append(f"cycle {m.total.now}: a chunk was taken before it came")

    reference.step = watching  # type: ignore[assignment]
    try:
        yield
    finally:
        reference.step = step


def notice(name: str) -> str:
    """What objects first: the machine itself, the audit, or the counts worked out apart; "" if none."""
    program = compile_trace(TRACE, TINY, BOARD)
    early: list[str] = []
    with planted(name), watched(early):
        try:
            run = reference.simulate(program, TINY, BOARD)
        except SimulationError as error:
            return f"{type(error).__name__}: {error}"
    audited = [f"audit: {check}" for check in failed(run, TRACE)]
    return "; ".join(audited or differences(program, TINY, run) or early)


if __name__ == "__main__":
    reference.WATCHDOG_CYCLES = 1000
    for fault in FAULTS:
        print(f"{fault}: {notice(fault)}")
