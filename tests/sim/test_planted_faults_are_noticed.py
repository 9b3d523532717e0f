"""Each planted fault turns the audit, the counts worked out apart, or the machine itself red."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from expected_counts import differences
from planted_faults import FAULTS
from small_machine import BOARD, TINY, failed, shape, skipping

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode
from skipopu.sim import reference
from skipopu.sim.error import SimulationError
from skipopu.sim.work import Work, resolve_work


def test_faults_in_kernels_are_noticed_and_the_true_machine_passes() -> None:
    """What each fault in a kernel led to, from one process without the compiler."""
    script = Path(__file__).with_name("planted_faults.py")
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    command = [sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    notices = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert list(notices) == list(FAULTS)
    assert [fault for fault, notice in notices.items() if not notice] == ["none"]


WORK_FAULTS = {  # fault → column of the work table, opcode it is changed for, new value from old
    "semaphores are not waited for": ("wait", None, lambda v: 0 * v),
    "a product takes half of its weights": ("tile_bytes", Opcode.MATMUL, lambda v: v // 2),
    "half of the results leave": ("results", None, lambda v: v // 2),
    "a tile has a row more": ("tile_rows", Opcode.MATMUL, lambda v: v + 1),
    "weights come in half": ("amount", Opcode.LOAD_WEIGHTS, lambda v: v // 2),
    "a chunk of weights too many": ("amount", Opcode.LOAD_WEIGHTS, lambda v: v + 1),
    "a row too few is appended": ("rows", Opcode.APPEND_KV, lambda v: np.maximum(v - 1, 0)),
    "a row more is stored": ("amount", Opcode.STORE_ROWS, lambda v: v + 8),
    "a K-tile is left out": ("depth", Opcode.MATMUL, lambda v: np.maximum(v - 1, 1)),
    "only one head of a pair is read": ("pairs", Opcode.READ_KV, lambda v: 2 * v),
    "the last block is not drained": ("blocks", Opcode.MATMUL, lambda v: np.maximum(v - 1, 1)),
}


@pytest.mark.parametrize("fault", WORK_FAULTS)
def test_a_fault_in_the_loop_bounds_is_noticed(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    column, opcode, change = WORK_FAULTS[fault]

    def wrong(*given: object) -> Work:
        work = resolve_work(*given)
        at = work.opcode == opcode if opcode is not None else np.full(len(work), True)
        work[column][at] = change(work[column][at])
        return work

    trace = skipping(shape(), 12, 3, 0.3, kv_policy="evict")
    program = compile_trace(trace, TINY, BOARD)
    monkeypatch.setattr(reference, "resolve_work", wrong)
    monkeypatch.setattr(reference, "WATCHDOG_CYCLES", 5000)
    try:
        run = reference.simulate(program, TINY, BOARD)
    except SimulationError:
        return
    assert failed(run, trace) + differences(program, TINY, run)
