"""Programs that the sequencer must refuse: the overlay's status registers say what the validator says."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_registers import Registers, found
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl, Work
from skipopu.program.image import build_image
from skipopu.program.instruction_check import check_instructions
from skipopu.program.isa import COLUMN, ENGINE_OF, ENGINES, PLACES, WIDTH, WORD_BITS, Opcode, Words, unpack
from skipopu.program.status import WATCHDOG_CYCLES, Status
from skipopu.sim.reference import simulate
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, HBM_BEAT_BYTES

Spoil = Callable[[Words, int], Words]


@dataclass(frozen=True)
class ErrorRun:
    """What validator and hardware say of a program, and what the overlay did with it."""

    validator: Status
    registers: Registers
    retired: int  # entries of the retire stream


def run_spoiled(case: Case, name: str, index: int, rtl: OverlayRtl) -> ErrorRun:
    """Run the program of a case with one of SPOILS at instruction ``index``; it is not validated before."""
    words = SPOILS[name](case.program.words, index)
    image, c = build_image(case.program, case.parameters), case.program.context
    data = np.ascontiguousarray(words.astype("<u8")).reshape(-1).view(np.uint8)
    image.ddr.channels[0].write(c.memory.ddr["program"] // DDR_CHANNELS, data)
    moved = simulate(case.program, case.overlay, case.board).traffic.sum(axis=0)
    work = Work(
        instructions=len(words), hbm_beats=int(moved[Traffic.KV_WRITE]) // HBM_BEAT_BYTES,
        bursts=int(moved.sum()) // min(HBM_BEAT_BYTES, DDR_BEAT_BYTES), patience=2 * WATCHDOG_CYCLES,
    )  # fmt: skip
    arrays = rtl.run(image, c, case.board, work)
    registers = found(arrays["registers"].astype(np.int64).tolist())
    return ErrorRun(check_instructions(words, case.overlay), registers, len(arrays["retired"]))


def with_field(words: Words, index: int, name: str, value: int) -> Words:
    """Put a value into a field of one instruction, as it stands in the word."""
    word, shift, width = PLACES[COLUMN[name]]
    mask = np.uint64(((1 << width) - 1) << shift)
    found = words.copy()
    found[index, word] = (found[index, word] & ~mask) | np.uint64(value << shift)
    return found


def illegal_opcode(words: Words, index: int) -> Words:
    """An opcode that means nothing."""
    return with_field(words, index, "opcode", (1 << WIDTH["opcode"]) - 1)


def reserved_bit(words: Words, index: int) -> Words:
    """The uppermost bit of an instruction."""
    found = words.copy()
    found[index, -1] |= np.uint64(1 << WORD_BITS - 1)
    return found


def misaligned_address(words: Words, index: int) -> Words:
    """The first transfer from ``index`` on begins in the second channel."""
    fields, _ = unpack(words)
    transfers = np.isin(fields[:, 0], (Opcode.LOAD_ROWS, Opcode.LOAD_CONSTANTS, Opcode.STORE_ROWS))
    at = index + int(np.flatnonzero(transfers[index:])[0])
    return with_field(words, at, "address", int(fields[at, COLUMN["address"]]) + 1)


def semaphore_underflow(words: Words, index: int) -> Words:
    """An instruction waits for a signal of its own engine, which nobody gives."""
    fields, _ = unpack(words)
    engine = ENGINE_OF[Opcode(int(fields[index, 0]))]
    return with_field(words, index, "wait", int(fields[index, COLUMN["wait"]]) | 1 << ENGINES.index(engine))


def early_halt(words: Words, index: int) -> Words:
    """HALT, and more instructions behind it."""
    return np.concatenate([words[:index], words[-1:], words[index:]])


def no_halt(words: Words, index: int) -> Words:
    """The program ends with another instruction."""
    return words[: index + 1]


SPOILS: dict[str, Spoil] = {
    spoil.__name__: spoil
    for spoil in (illegal_opcode, reserved_bit, misaligned_address, semaphore_underflow, early_halt, no_halt)
}
