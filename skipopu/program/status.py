"""Conditions of the machine: one table for who checks a program, for who runs it, and for who reads the registers.

A `Status` is what the hardware's registers hold: a code, the instruction at fault, and a detail whose fields depend on
the code. `text` puts it in words; validator and hardware find the same status, so both report the same words.
"""

from dataclasses import dataclass
from enum import IntEnum

from skipopu.program.isa import ADDRESS_UNIT, ENGINES, NAMES, WIDTH, Gate, Opcode, Post, illegal_opcode, reserved_bits
from skipopu.spec.ker_shape import LOGITS
from skipopu.spec.ledger import Named

DETAIL_BITS = 32
WATCHDOG_CYCLES = 100_000  # no instruction, row or beat moves for this long: a deadlock (DESIGN §3)
ENGINE_BITS = (len(ENGINES) - 1).bit_length()


class Condition(Named):
    """Codes; of two faults of one instruction the lower is reported, of two instructions the first one's."""

    OK = 0
    ILLEGAL_OPCODE = 1
    RESERVED_BITS = 2
    ILLEGAL_FIELD = 3
    MISALIGNED_ADDRESS = 4
    MISALIGNED_LENGTH = 5
    EARLY_HALT = 6
    NO_HALT = 7
    SEMAPHORE_UNDERFLOW = 8
    SEMAPHORE_OVERFLOW = 9
    SEMAPHORE_LEFT = 10
    NO_INSTRUCTION = 11
    MEMORY_ERROR = 12
    DEADLOCK = 13


class Memory(IntEnum):
    """Who answered with an error."""

    HBM = 0
    DDR4 = 1


MISALIGNED = (("opcode", WIDTH["opcode"]), ("past", 8), ("multiple", 8))  # the latter in units of ADDRESS_UNIT bytes
SEMAPHORE = (("source", ENGINE_BITS), ("target", ENGINE_BITS))
COUNT = ("count", 8)
VALID = {  # values of the fields that have others, in words
    "gate": f"0..{max(Gate)}",
    "post": f"0..{Post.RELU}, {Post.GELU} with npe.gelu",
    "list": "0; row lists are in the simulator only",
    "bidirectional": "0; in the simulator only",
    "columns": f"{', '.join(map(str, LOGITS))}, 0 with normalize",
}
# fields of the detail, the lowest first
DETAIL: dict[Condition, tuple[tuple[str, int], ...]] = {
    Condition.OK: (),
    Condition.ILLEGAL_OPCODE: (("opcode", WIDTH["opcode"]),),
    Condition.RESERVED_BITS: (),
    Condition.ILLEGAL_FIELD:
        (("opcode", WIDTH["opcode"]), ("field", (len(NAMES) - 1).bit_length()), ("value", WIDTH["columns"])),
    Condition.MISALIGNED_ADDRESS: MISALIGNED,
    Condition.MISALIGNED_LENGTH: MISALIGNED,
    Condition.EARLY_HALT: (("last", DETAIL_BITS),),
    Condition.NO_HALT: (),
    Condition.SEMAPHORE_UNDERFLOW: SEMAPHORE,
    Condition.SEMAPHORE_OVERFLOW: (*SEMAPHORE, COUNT),
    Condition.SEMAPHORE_LEFT: (*SEMAPHORE, COUNT),
    Condition.NO_INSTRUCTION: (),
    Condition.MEMORY_ERROR: (("memory", 1),),
    Condition.DEADLOCK: (("cycles", DETAIL_BITS),),
}  # fmt: skip
WORDS: dict[Condition, str] = {
    Condition.OK: "no error",
    Condition.ILLEGAL_FIELD: "instruction {index}: illegal {field} {value} of {opcode}; valid: {valid}",
    Condition.MISALIGNED_ADDRESS:
        "instruction {index}: address of {opcode} is {past} bytes past a multiple of {multiple}",
    Condition.MISALIGNED_LENGTH:
        "instruction {index}: length of {opcode} is {past} bytes past a multiple of {multiple}",
    Condition.EARLY_HALT: "instruction {index}: halt before the program's last instruction {last}",
    Condition.NO_HALT: "instruction {index}: the program ends here without halt",
    Condition.SEMAPHORE_UNDERFLOW:
        "instruction {index}: semaphore {semaphore} underflow, waits before anything signals it",
    Condition.SEMAPHORE_OVERFLOW:
        "instruction {index}: semaphore {semaphore} overflow, signals before {count} earlier signals are waited for",
    Condition.SEMAPHORE_LEFT: "instruction {index}: semaphore {semaphore} ends at {count}; expected 0",
    Condition.NO_INSTRUCTION: "program: no instruction; the last one must be halt",
    Condition.MEMORY_ERROR: "memory error: a response of {memory} was not OKAY",
    Condition.DEADLOCK: "deadlock: nothing moved for {cycles} cycles",
}  # fmt: skip


@dataclass(frozen=True)
class Status:
    """What the status registers hold."""

    code: Condition = Condition.OK
    index: int = 0  # instruction
    detail: int = 0


def status(code: Condition, index: int = 0, **fields: int) -> Status:
    """Pack the ``fields`` of the detail."""
    detail, shift = 0, 0
    for name, width in DETAIL[code]:
        detail |= fields[name] << shift
        shift += width
    return Status(code, index, detail)


def fields(of: Status) -> dict[str, int]:
    """Return the fields of the detail."""
    found, rest = {}, of.detail
    for name, width in DETAIL[of.code]:
        found[name] = rest & (1 << width) - 1
        rest >>= width
    return found


def text(of: Status) -> str:
    """Say in words what happened."""
    values = fields(of)
    if of.code == Condition.ILLEGAL_OPCODE:
        return illegal_opcode(of.index, values["opcode"])
    if of.code == Condition.RESERVED_BITS:
        return reserved_bits(of.index)
    named: dict[str, object] = {"index": of.index, **values}
    if "opcode" in values:
        named["opcode"] = Opcode(values["opcode"]).name.lower()
    if "field" in values:
        named["field"] = NAMES[values["field"]]
        named["valid"] = VALID[NAMES[values["field"]]]
    if "past" in values:
        named |= {name: values[name] * ADDRESS_UNIT for name in ("past", "multiple")}
    if "source" in values:
        named["semaphore"] = f"{ENGINES[values['source']].label}→{ENGINES[values['target']].label}"
    if "memory" in values:
        named["memory"] = Memory(values["memory"]).name
    return WORDS[of.code].format(**named)
