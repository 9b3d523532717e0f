"""Programs with faults for the frontend, and a machine that runs them."""

import dataclasses
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.frontend import BENCH, NEVER, WATCHDOG, Seen, outputs
from skipopu.hdl.cosim.frontend_shell import WORK, FrontendShell
from skipopu.hdl.cosim.frontend_stimulus import FrontendWork, frontend_work
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.program.instruction_check import check_instructions
from skipopu.program.isa import COLUMN, FIELDS, Opcode, Words, encode, unpack
from skipopu.program.status import Condition
from skipopu.spec.overlay import Overlay

OVERLAY = Overlay.load("tiny", ("clock.hbm_ratio=4",))  # chunks of 128 bytes: every address can be misaligned
MOST = 4000  # cycles of a program
Fields = NDArray[np.int64]


def run(works: Sequence[FrontendWork], error: NDArray[np.int64] = NEVER) -> list[Seen]:
    """Run on the RTL."""
    testbench = Testbench(FrontendShell(overlay=OVERLAY, watchdog=WATCHDOG), BENCH)
    return outputs(testbench, works, OVERLAY, error=error, most=MOST)


def work_of(words: Words, seed: int = 1) -> FrontendWork:
    """``words`` in some surroundings."""
    long_enough = frontend_work(OVERLAY, len(words) + 64, np.random.default_rng(seed))
    return dataclasses.replace(long_enough, words=words)


def legal(count: int, seed: int) -> Words:
    """A legal program."""
    return frontend_work(OVERLAY, count, np.random.default_rng(seed)).words


def program(*rows: tuple[Opcode, dict[str, int]]) -> Words:
    """Encode instructions."""
    fields = np.zeros((len(rows), len(FIELDS)), np.int64)
    for row, (opcode, values) in zip(fields, rows, strict=True):
        row[0] = opcode
        for name, value in values.items():
            row[COLUMN[name]] = value
    return encode(fields)


def changed(words: Words, index: int, **values: int) -> Words:
    """One instruction with other fields."""
    fields, _ = unpack(words)
    for name, value in values.items():
        fields[index, COLUMN[name]] = value
    return encode(fields)


@cache
def faulty_programs() -> dict[Condition, list[Words]]:
    """Each condition of a program, found by changing legal ones at random places."""
    found: dict[Condition, list[Words]] = {}
    rng = np.random.default_rng(9)
    for seed in range(40):
        words = legal(int(rng.integers(2, 60)), seed)
        for change in (_opcode, _bits, _field, _logits, _address, _length, _halt, _cut, _wait):
            bad = change(words, int(rng.integers(len(words))), rng)
            found.setdefault(check_instructions(bad, OVERLAY).code, []).append(bad)
    del found[Condition.OK]
    signals = [(Opcode.LOAD_WEIGHTS, {"signal": 1 << 3})] * 300
    found[Condition.SEMAPHORE_OVERFLOW] = [program(*signals, (Opcode.HALT, {}))]
    found[Condition.NO_INSTRUCTION] = [np.zeros((0, 4), np.uint64)]
    return found


def _opcode(words: Words, index: int, rng: np.random.Generator) -> Words:
    return changed(words, index, opcode=int(rng.integers(max(Opcode) + 1, 32)))


def _bits(words: Words, index: int, rng: np.random.Generator) -> Words:
    bad = words.copy()
    bad[index, 3] |= np.uint64(1) << np.uint64(rng.integers(50, 64))
    return bad


def _field(words: Words, index: int, rng: np.random.Generator) -> Words:
    name, value = [("gate", 3), ("post", 5), ("post", 6), ("post", 7)][int(rng.integers(4))]
    return changed(words, index, **{name: value})


def _logits(words: Words, index: int, rng: np.random.Generator) -> Words:
    count = int(rng.integers(8))
    return changed(words, index, opcode=Opcode.ROUTE, columns=count, normalize=int(rng.integers(2)))


def _address(words: Words, index: int, rng: np.random.Generator) -> Words:
    fields, _ = unpack(words)
    return changed(words, index, address=int(fields[index, COLUMN["address"]]) | 1)


def _length(words: Words, index: int, rng: np.random.Generator) -> Words:
    return changed(words, index, opcode=Opcode.LOAD_CONSTANTS, columns=2 * int(rng.integers(9)) + 1, address=0)


def _halt(words: Words, index: int, rng: np.random.Generator) -> Words:
    return changed(words, index, opcode=Opcode.HALT)


def _cut(words: Words, index: int, rng: np.random.Generator) -> Words:
    return words[: index + 1]


def _wait(words: Words, index: int, rng: np.random.Generator) -> Words:
    name = str(rng.choice(["wait", "signal"]))
    fields, _ = unpack(words)
    return changed(words, index, **{name: int(fields[index, COLUMN[name]]) ^ 1 << int(rng.integers(6))})


def longer_than_the_watchdog() -> Words:
    """A program whose first instruction works longer than anything may stand still."""
    return program((Opcode.LOAD_WEIGHTS, {WORK: 2 * WATCHDOG}), (Opcode.HALT, {}))
