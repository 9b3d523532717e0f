"""Programs written by hand, and a machine to watch cycle by cycle."""

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from small_machine import BOARD, shape, skipping

from skipopu.program.context import Context, resolve
from skipopu.program.isa import COLUMN, FIELDS, Opcode, encode
from skipopu.program.program import Program
from skipopu.sim import reference
from skipopu.sim.hbm_port import SHIFT
from skipopu.sim.machine import Machine, new_kv_cache, new_machine
from skipopu.sim.run import Run
from skipopu.sim.work import resolve_work
from skipopu.spec.ledger import Phase
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace

DMA, LOAD, STORE, KV_BUFFER, KV_APPEND, PE = (1 << engine for engine in range(6))  # bits of wait and signal
LONGEST = 200_000  # cycles: no hand-made program takes longer
Instruction = tuple[Opcode, dict[str, int]]
Seen = TypeVar("Seen")


def carrier(prompt: int = 8, **dimensions: Any) -> Trace:
    """A trace without skipping, for the rows and the K/V of hand-made programs."""
    return skipping(shape(**dimensions), prompt=prompt, decode=1, skip=0.0)


def hand_made(instructions: list[Instruction], overlay: Overlay, trace: Trace | None = None) -> Program:
    """Encode ``instructions`` and a HALT; they work on layer 0 in the first row block of ``trace``."""
    rows = np.zeros((len(instructions) + 1, len(FIELDS)), np.int64)
    for row, (opcode, fields) in zip(rows, instructions, strict=False):
        row[0] = opcode
        for name, value in fields.items():
            row[COLUMN[name]] = value
    context: Context = resolve(trace or carrier(), overlay, BOARD)
    return Program(encode(rows), np.zeros((len(rows), 3), np.int64), context, np.zeros(len(rows), np.int64))


def matmul(overlay: Overlay, rows: int, k_tiles: int, columns: int, **fields: int) -> list[Instruction]:
    """A matrix operation and the stream of its INT4 weights."""
    size = k_tiles * columns * overlay.pe_array.dot_length // 2
    sets = -(-size // overlay.hbm_bytes_per_cycle)
    product = {"rows": rows, "k_tiles": k_tiles, "columns": columns} | fields
    return [(Opcode.LOAD_WEIGHTS, {"columns": sets}), (Opcode.MATMUL, product)]


def simulate(program: Program, overlay: Overlay) -> Run:
    """Run a hand-made program to its end."""
    return reference.simulate(program, overlay, BOARD, max_cycles=LONGEST)


def cycles(program: Program, overlay: Overlay) -> Iterator[Machine]:
    """Yield the machine at the end of every cycle, until its last instruction has retired."""
    work = resolve_work(program, overlay)
    m, c = new_machine(program, work, overlay, BOARD, LONGEST, 1 << 40), new_kv_cache(program)
    for _ in range(LONGEST):
        reference.step(m, c)
        yield m
        m.total.now += 1
        if m.total.left_of_prefill == 0:
            m.total.phase = int(Phase.DECODE)
        if m.total.retired == len(program):
            return
    raise AssertionError(f"{m.total.retired} of {len(program)} instructions after {LONGEST} cycles")


def watch(program: Program, overlay: Overlay, look: Callable[[Machine], Seen]) -> list[Seen]:
    """Return what ``look`` sees at the end of every cycle."""
    return [look(m) for m in cycles(program, overlay)]


def early_chunks(m: Machine) -> bool:
    """Whether a chunk of weights or of K/V has left its FIFO before it came, or a FIFO holds too many."""
    ports, ratio = int(m.p.ports), int(m.p.hbm_ratio)
    beats = [divmod(int(m.ports.beats[port]), 1 << SHIFT) for port in range(ports)]
    weights = [count // ratio - int(m.dma.popped) for _, count in beats]
    kv = [count // ratio - int(m.kv.popped[port]) for port, (count, _) in enumerate(beats)]
    fits = max(weights) <= m.p.weight_chunks and max(kv) <= m.p.kv_chunks
    return not (fits and min(weights) >= 0 and min(kv) >= 0)
