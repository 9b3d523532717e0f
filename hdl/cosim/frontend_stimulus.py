"""Programs for the frontend: any instructions, semaphores that a program order allows, and how long all takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.frontend_shell import FLIGHT, WORK
from skipopu.program.builder import OPCODE_ENGINE
from skipopu.program.instruction_check import LENGTH_MULTIPLES, address_multiples, highest_values
from skipopu.program.isa import COLUMN, ENGINES, FIELDS, Opcode, Words, encode
from skipopu.spec.ker_shape import LOGITS
from skipopu.spec.overlay import Overlay

Ints = NDArray[np.int64]
OPCODES = [op for op in Opcode if op != Opcode.HALT]
STYLES = ("mixed", "short", "one engine", "few semaphores")
SHORT, LONG = 3, 60  # cycles
ADDRESSES = 1 << 20  # bursts of the channel


@dataclass(frozen=True)
class FrontendWork:
    """A program and its surroundings; ``ready`` and ``taken`` repeat."""

    words: Words
    address: int  # bursts
    work: Ints  # [instruction]: cycles
    flight: Ints
    latency: Ints  # [burst]: cycles from its request to its first beat, at least
    gap: Ints  # [beat]: cycles between it and the one before, less one, at least
    ready: Ints  # [cycle]: the channel takes a request
    taken: Ints  # [cycle]: the retire stream moves


def frontend_work(overlay: Overlay, count: int, rng: np.random.Generator) -> FrontendWork:
    """Return a legal program of about ``count`` instructions."""
    fields = legal_program(overlay, count, rng)
    n, stalls = len(fields), float(rng.choice([0.0, 0.3, 0.9]))
    return FrontendWork(
        words=encode(fields), address=int(rng.integers(ADDRESSES)),
        work=fields[:, COLUMN[WORK]], flight=fields[:, COLUMN[FLIGHT]],
        latency=rng.integers(1, rng.choice([4, 100]), n), gap=rng.integers(0, rng.choice([1, 2, 20]), n),
        ready=(rng.random(997) >= stalls).astype(np.int64), taken=np.ones(1, np.int64),
    )  # fmt: skip


def legal_program(overlay: Overlay, count: int, rng: np.random.Generator) -> Ints:
    """Random fields, but for what the sequencer checks."""
    style = str(rng.choice(STYLES))
    found, standing = [], np.zeros((len(ENGINES), len(ENGINES)), np.int64)
    for _ in range(count):
        opcodes = OPCODES[:1] if style == "one engine" and rng.random() < 0.9 else OPCODES
        row = _instruction(overlay, Opcode(int(rng.choice(opcodes))), SHORT if style == "short" else LONG, rng)
        _order(row, standing, 0.1 if style == "few semaphores" else 0.5, rng)
        found.append(row)
    return np.array([*found, *_waits(overlay, standing, rng), np.zeros(len(FIELDS), np.int64)])


def _instruction(overlay: Overlay, opcode: Opcode, longest: int, rng: np.random.Generator) -> Ints:
    row = np.array([rng.integers(1 << width) for _, width in FIELDS], np.int64)
    for name, multiples in (("address", address_multiples(overlay)), ("columns", LENGTH_MULTIPLES)):
        row[COLUMN[name]] -= row[COLUMN[name]] % multiples.get(opcode, 1)
    for name, most in highest_values(overlay).items():
        row[COLUMN[name]] = min(row[COLUMN[name]], most)
    if opcode == Opcode.ROUTE:
        row[COLUMN["columns"]] = rng.choice([*LOGITS, *([0] if row[COLUMN["normalize"]] else [])])
    short = rng.integers(0, SHORT, 2)
    times = short if rng.random() < 0.5 else rng.integers(0, longest, 2)
    row[0], row[COLUMN["wait"]], row[COLUMN["signal"]] = opcode, 0, 0
    row[COLUMN[WORK]], row[COLUMN[FLIGHT]] = times
    return row


def _order(row: Ints, standing: Ints, often: float, rng: np.random.Generator) -> None:
    """Wait for some of what has been signalled, signal some engines."""
    engine = OPCODE_ENGINE[Opcode(int(row[0]))]
    waits = (standing[:, engine] > 0) & (rng.random(len(ENGINES)) < often)
    signals = (standing[engine] < 8) & (rng.random(len(ENGINES)) < often)
    standing[:, engine] -= waits
    standing[engine] += signals
    bits = 1 << np.arange(len(ENGINES))
    row[COLUMN["wait"]], row[COLUMN["signal"]] = bits[waits].sum(), bits[signals].sum()


def _waits(overlay: Overlay, standing: Ints, rng: np.random.Generator) -> list[Ints]:
    """Instructions that wait for what is left."""
    found = []
    for opcode in {OPCODE_ENGINE[op]: op for op in OPCODES}.values():
        engine = OPCODE_ENGINE[opcode]
        while standing[:, engine].any():
            row = _instruction(overlay, opcode, SHORT, rng)
            row[COLUMN["wait"]] = (1 << np.flatnonzero(standing[:, engine])).sum()
            standing[:, engine] -= standing[:, engine] > 0
            found.append(row)
    return found
