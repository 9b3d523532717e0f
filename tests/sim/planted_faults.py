"""Breaks one rule of the machine at a time and prints what notices it: ``fault: notice`` a line.

Run in plain Python (NUMBA_DISABLE_JIT=1), where a kernel's callees can be replaced.
"""

import sys
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from small_machine import TINY, failed, run, shape, skipping

from skipopu.sim import dma, engine, ifm, ker, kv_append, npe, reference, store
from skipopu.sim.error import SimulationError

MODEL = shape(layers=2, hidden_size=32, intermediate_size=16, attention_heads=2, head_dim=16, vocabulary=16)
TRACE = skipping(MODEL, 2, 2, 0.5, kv_policy="evict")
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
    return lambda m: None if m.total.now == 500 else account(m)


def row_skipped(next_row: Kernel) -> Kernel:
    def skipping_one(m: Any, c: Any, instruction: int) -> None:
        if m.append.group == 0 and m.append.row == m.work[instruction].first_row + 1:
            m.append.row += 1
        next_row(m, c, instruction)

    return skipping_one


def signal_lost(retire: Kernel) -> Kernel:
    def losing(m: Any, engine_index: int, instruction: int) -> None:
        retire(m, engine_index, instruction)
        if instruction == 5:
            m.engines.given[:] = 0

    return losing


FAULTS: dict[str, tuple[Any, str, Callable[[Kernel], Kernel]]] = {
    "none": (reference, "step", lambda kernel: kernel),
    "a K/V round is popped twice": (ker, "pop_round", twice),
    "a signal is given twice": (reference, "commit", lambda k: lambda m: (m.engines.given.__imul__(2), k(m))),
    "semaphores are ignored": (engine, "_try_to_begin", lambda _: ignoring),
    "an instruction retires twice": (npe, "retire", twice),
    "a signal is lost": (dma, "retire", signal_lost),
    "a beat is lost": (dma, "tick", beat_lost),
    "a cycle has no cause": (reference, "_account", cycle_without_a_cause),
    "an append skips a row": (kv_append, "_next_row", row_skipped),
    "a store pushes every burst twice": (store, "push", twice),
    "IFM feeds without rows": (reference, "ifm", lambda _: lambda m: m.pe.__setattr__("filled", m.pe.tiles)),
    "weights are taken twice": (ker, "weight_chunks", lambda k: lambda m: (m.dma.__setattr__("popped", m.dma.popped + 1), k(m))[1]),
}


def ignoring(e: Any, work: Any, now: int, engine_index: int) -> int:
    instruction = int(e.queue[engine_index, e.head[engine_index] % len(e.queue[engine_index])])
    e.seen[engine_index] = e.running[engine_index] = 1
    work[instruction].issue = work[instruction].first = now
    return instruction


@contextmanager
def planted(name: str) -> Any:
    module, kernel, change = FAULTS[name]
    whole = getattr(module, kernel)
    setattr(module, kernel, change(whole))
    try:
        yield
    finally:
        setattr(module, kernel, whole)


def notice(name: str) -> str:
    """What the run says of itself: a failed check of the audit or the machine's own error; "" if nothing."""
    with planted(name):
        try:
            found = failed(run(TRACE, TINY), TRACE, TINY)
        except (SimulationError, ValueError, AssertionError) as error:
            return f"{type(error).__name__}: {error}"
    return "; ".join(found)


if __name__ == "__main__":
    reference.WATCHDOG_CYCLES = 1000
    for fault in FAULTS:
        print(f"{fault}: {notice(fault)}")
