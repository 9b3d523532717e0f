"""What a program can see and change: memories on chip, registers, and the image of those outside."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import limits_of
from skipopu.numerics.kv_schedule import Limits, Schedule, new_schedule
from skipopu.numerics.softmax import SoftmaxState
from skipopu.program.image import Image
from skipopu.program.isa import Gate
from skipopu.spec.error import SpecError
from skipopu.spec.npe import word_columns
from skipopu.spec.overlay import FP16_BYTES, Overlay

Bits = NDArray[np.uint16]
Ints = NDArray[np.int64]
Instruction = Mapping[str, int]  # fields by name
BANKS = HALVES = 2


@dataclass(frozen=True)
class Round:
    """A K/V round: a row of numbers for every KER column, or dot position, that has a token; the others are zero."""

    places: Ints  # [tokens]: column or dot position
    tokens: Ints  # [tokens]
    numbers: Bits  # [tokens, numbers of the part of a vector that was read]


@dataclass(frozen=True)
class Written:
    """Tiles of the global buffer as an instruction left them, for the log."""

    instruction: int
    tiles: Ints  # [n]
    data: Bits  # [n, dot]


@dataclass
class State:
    """The machine between two instructions."""

    overlay: Overlay
    image: Image
    buffer: Bits  # [tiles, dot]
    constants: Bits  # [halves, elements]
    rotary: Bits
    limits: Limits
    schedule: Schedule
    bitmask: NDArray[np.bool_]  # [layers, tokens]
    mean: NDArray[np.uint32]  # [rows of the block], FP32 bits
    inverse: NDArray[np.uint32]
    log: list[Written] | None
    masks: dict[tuple[int, int], NDArray[np.bool_]] = field(default_factory=dict)  # (gate, register) → [rows]
    scores: list[dict[int, SoftmaxState]] = field(default_factory=lambda: [{} for _ in range(BANKS)])  # tile of a round
    rounds: int = 0  # of the last SCORES
    buffer_valid: bool = False  # the invariance buffer holds what the layer before kept
    weights: deque[NDArray[np.uint8]] = field(default_factory=deque)  # streams on their way to KER
    kv: deque[list[Round]] = field(default_factory=deque)
    instruction: int = 0

    @property
    def lanes(self) -> int:
        """Columns of a word of results."""
        return word_columns(self.overlay.pe_array.columns, self.overlay.npe.lanes)

    @property
    def dot(self) -> int:
        """Elements of a row tile."""
        return self.overlay.pe_array.dot_length


def new_state(overlay: Overlay, image: Image, log: bool) -> State:
    """Return the machine after reset: all zero, nothing executed."""
    _check(overlay)
    o, nothing = overlay, np.uint16(0)
    limits = limits_of(o, 2 * image.settings.vector * o.chunk_bytes)
    rows = o.npe.statistics_rows
    return State(
        overlay=o, image=image, buffer=np.full((o.global_buffer.tiles, o.pe_array.dot_length), nothing),
        constants=np.full((HALVES, o.constants.half_bytes // FP16_BYTES), nothing),
        rotary=np.full(o.npe.rotary_bytes // FP16_BYTES, nothing),
        limits=limits, schedule=new_schedule(o.bitmask.tokens, limits),
        bitmask=np.zeros((o.bitmask.rows, o.bitmask.tokens), np.bool_),
        mean=np.zeros(rows, np.uint32), inverse=np.zeros(rows, np.uint32), log=[] if log else None,
    )  # fmt: skip


def _check(overlay: Overlay) -> None:
    """A word of results lies in one tile and in one column block; tokens lie in one port each."""
    o, lanes = overlay, word_columns(overlay.pe_array.columns, overlay.npe.lanes)
    if o.pe_array.dot_length % lanes or o.pe_array.columns % lanes:
        nearest = next(
            n for n in range(lanes, 0, -1) if not (o.pe_array.dot_length % n or o.pe_array.columns % n or n % 2)
        )
        raise SpecError(
            f"overlay {o.name}: words of {lanes} results (npe.lanes, pe_array.columns); must divide"
            f" pe_array.dot_length = {o.pe_array.dot_length} and pe_array.columns; nearest: npe.lanes={nearest}"
        )
    if o.kv_buffer.map != "token_wise":
        raise SpecError(
            f"overlay {o.name}: kv_buffer.map = {o.kv_buffer.map}; real K/V are read from one port a token;"
            " nearest: token_wise"
        )


def listed(s: State, f: Instruction) -> Ints:
    """Return the rows of the block that the gate of an instruction lets through."""
    if f["gate"] == Gate.ALL:
        return np.arange(f["rows"])
    return np.flatnonzero(s.masks[f["gate"], f["mask"]])


def places(first: int, tiles: int, rows: Ints, stride: int) -> Ints:
    """Return where tiles [tiles, rows] of a place lie: tile t of row r at first + t · stride + r."""
    found: Ints = first + np.arange(tiles)[:, None] * stride + rows
    return found


def write(s: State, at: Ints, data: Bits) -> None:
    """Write whole tiles ``data`` [..., dot]."""
    s.buffer[at] = data
    note(s, at)


def note(s: State, at: Ints) -> None:
    """Put tiles as they are now into the log."""
    if s.log is not None:
        flat = at.reshape(-1).copy()
        s.log.append(Written(s.instruction, flat, s.buffer[flat]))
