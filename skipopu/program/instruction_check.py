"""What the sequencer checks of every instruction before it dispatches it, for a whole program at once."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.builder import OPCODE_ENGINE
from skipopu.program.isa import (
    ADDRESS_UNIT,
    COLUMN,
    ENGINES,
    SEMAPHORE_BITS,
    WIDTH,
    Fields,
    Gate,
    Opcode,
    Post,
    Words,
    unpack,
)
from skipopu.program.status import Condition, Status, status
from skipopu.spec.ker_shape import LOGITS
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, Overlay

Ints = NDArray[np.int64]
STRIPED = (Opcode.LOAD_ROWS, Opcode.LOAD_CONSTANTS, Opcode.STORE_ROWS)  # over all DDR4 channels
CHUNKED = (Opcode.LOAD_WEIGHTS, Opcode.READ_KV, Opcode.APPEND_KV)  # HBM
ENGINE_OF_CODE: Ints = np.full(1 << WIDTH["opcode"], -1, np.int64)  # −1: none
ENGINE_OF_CODE[list(OPCODE_ENGINE)] = list(OPCODE_ENGINE.values())


def address_multiples(overlay: Overlay) -> dict[Opcode, int]:
    """Opcode → what its address is a multiple of, in units of ADDRESS_UNIT bytes."""
    word, chunk = DDR_CHANNELS * DDR_BEAT_BYTES, max(overlay.chunk_bytes, ADDRESS_UNIT)
    return dict.fromkeys(STRIPED, word // ADDRESS_UNIT) | dict.fromkeys(CHUNKED, chunk // ADDRESS_UNIT)


LENGTH_MULTIPLES = {Opcode.LOAD_CONSTANTS: DDR_CHANNELS}  # of ``columns``; a transfer of rows is filled up


def highest_values(overlay: Overlay, simulated: bool = False) -> dict[str, int]:
    """Field → the highest of its values that mean something to the RTL, or where ``simulated`` to the simulator.

    Row lists, results that meet a gate and rows that see later ones are the simulator's alone.
    """
    if simulated:
        return {"gate": max(Gate), "post": max(Post)}
    return {
        "gate": max(Gate), "post": Post.GELU if overlay.npe.gelu else Post.RELU, "list": 0, "bidirectional": 0,
    }  # fmt: skip


def most_signals(overlay: Overlay) -> int:
    """Signals of a semaphore that may stand before their waits, in program order, so that no counter overflows.

    While the program is dispatched, a semaphore counts no more than that and the waits that are in its engine's queue.
    """
    return (1 << SEMAPHORE_BITS) - 1 - overlay.sequencer.queue_depth


def check_instructions(words: Words, overlay: Overlay, simulated: bool = False) -> Status:
    """Return the fault that the hardware would report, the first in program order; OK if there is none.

    ``simulated``: what only the simulator carries is none.
    """
    if len(words) == 0:
        return status(Condition.NO_INSTRUCTION)
    fields, rest = unpack(words)
    found = [*_encoding(fields, rest), *_illegal(fields, highest_values(overlay, simulated)), *_halts(fields)]
    found += [*_misaligned(fields, overlay), *_semaphores(fields, most_signals(overlay))]
    return min(found, key=lambda s: (s.index, s.code), default=Status())


def _first(bad: Any) -> Iterator[int]:
    """Yield the first index of a fault in a vector of bits, if there is one."""
    if bad.any():
        yield int(bad.argmax())


def _encoding(fields: Fields, rest: Words) -> Iterator[Status]:
    for i in _first(fields[:, 0] > max(Opcode)):
        yield status(Condition.ILLEGAL_OPCODE, i, opcode=int(fields[i, 0]))
    for i in _first((rest != 0).any(axis=1)):
        yield status(Condition.RESERVED_BITS, i)


def _illegal(fields: Fields, highest: dict[str, int]) -> Iterator[Status]:
    """Of several fields of an instruction the first one's fault: gate, post, list, bidirectional, columns."""
    bad = {name: fields[:, COLUMN[name]] > most for name, most in highest.items()}
    logits, statistics = fields[:, COLUMN["columns"]], fields[:, COLUMN["normalize"]] == 1
    routes = np.isin(logits, LOGITS) | (statistics & (logits == 0))
    bad["columns"] = (fields[:, 0] == Opcode.ROUTE) & ~routes
    for name, at in bad.items():
        column = COLUMN[name]
        for i in _first(at):
            opcode, value = int(fields[i, 0]), int(fields[i, column])
            yield status(Condition.ILLEGAL_FIELD, i, opcode=opcode, field=column, value=value)


def _misaligned(fields: Fields, overlay: Overlay) -> Iterator[Status]:
    tables = (
        ("address", Condition.MISALIGNED_ADDRESS, address_multiples(overlay)),
        ("columns", Condition.MISALIGNED_LENGTH, LENGTH_MULTIPLES),
    )
    for name, code, multiples in tables:
        for opcode, multiple in multiples.items():
            past = fields[:, COLUMN[name]] % multiple
            for i in _first((fields[:, 0] == opcode) & (past > 0)):
                yield status(code, i, opcode=opcode, past=int(past[i]), multiple=multiple)


def _halts(fields: Fields) -> Iterator[Status]:
    halt, last = fields[:, 0] == Opcode.HALT, len(fields) - 1
    for i in _first(halt[:-1]):
        yield status(Condition.EARLY_HALT, i, last=last)
    if not halt[-1]:
        yield status(Condition.NO_HALT, last)


def _semaphores(fields: Fields, most: int) -> list[Status]:
    """Of several semaphores of an instruction the first one's fault: that of the lowest source, then target."""
    engine = ENGINE_OF_CODE[fields[:, 0]]
    wait, signal = fields[:, COLUMN["wait"]], fields[:, COLUMN["signal"]]
    found: list[Status] = []
    for source in range(len(ENGINES)):
        for target in range(len(ENGINES)):
            gives = (engine == source) & (signal >> target & 1 == 1)
            takes = (engine == target) & (wait >> source & 1 == 1)
            if gives.any() or takes.any():
                found += _semaphore(gives, takes, most, {"source": source, "target": target})
    return found


def _semaphore(gives: NDArray[np.bool_], takes: NDArray[np.bool_], most: int, ends: dict[str, int]) -> Iterator[Status]:
    after = np.cumsum(gives.astype(np.int64) - takes)
    before = after - gives + takes
    for i in _first(takes & (before <= 0)):
        yield status(Condition.SEMAPHORE_UNDERFLOW, i, **ends)
    for i in _first(gives & (before >= most)):
        yield status(Condition.SEMAPHORE_OVERFLOW, i, count=most, **ends)
    if after[-1] > 0:
        yield status(Condition.SEMAPHORE_LEFT, len(after) - 1, count=int(after[-1]), **ends)
