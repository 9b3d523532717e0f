"""Register map of the overlay: 32-bit registers that a host reads and writes over AXI-Lite."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from amaranth.hdl import Shape

from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS
from skipopu.hdl.instruction_fetch import BURST_BYTES, PROGRAM_ADDRESS
from skipopu.hdl.kv_layout import KvShape
from skipopu.hdl.settings import model_settings
from skipopu.hdl.status import STATUS
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.overlay import Overlay

REGISTER_BYTES = 4
ADDRESS_BITS = 12
COUNTERS = 1 << ADDRESS_BITS - 1  # where the performance counters begin: the upper half
CAUSES = 1 << (len(Cause) - 1).bit_length()  # places of a block's counters


class Register(NamedTuple):
    """Where a register lies and what it is. ``access``: R read, W write, as any mixture; writes only while idle."""

    name: str
    offset: int
    width: int
    access: str
    meaning: str


CONTROL = (
    ("control", 1, "W", "1: begin the program"),
    ("state", 4, "R", "bit 0: running, 1: ended, 2: error, 3: entries of the retire stream were lost"),
    ("interrupt_enable", 1, "RW", "1: the interrupt follows interrupt_pending"),
    ("interrupt_pending", 1, "RW", "the program has ended or stopped with an error; write 1 to clear"),
    ("status_code", STATUS["code"].width, "R", "first error since the program began, see skipopu.program.status"),
    ("status_index", INDEX_BITS, "R", "its instruction"),
    ("status_detail", STATUS["detail"].width, "R", "fields that depend on the code"),
    ("program_address", Shape.cast(PROGRAM_ADDRESS).width, "RW", f"in channel 0 of DDR4, units of {BURST_BYTES} bytes"),
    ("program_count", INDEX_BITS, "RW", "instructions, HALT included"),
    ("retired", INDEX_BITS, "R", "instructions retired"),
    ("cycles_low", 32, "R", "core cycles since the program began, or that it took"),
    ("cycles_high", CYCLE_BITS - 32, "R", "the upper bits"),
)
ALWAYS = ("interrupt_enable", "interrupt_pending")  # may be written while a program runs
MEANING = {  # of the settings, by their names in `hdl.settings`, nested ones joined by an underscore
    "share": "FP32: 1/D of the norms", "epsilon": "FP32: ε of the norms", "score_scale": "FP32: 1/√d of the scores",
    "rotary_words": "words of a head in the rotary buffer", "rotary_stride": "words from a row to the next there",
    "kv_vector": "chunks of a token's K, or V, in a layer",
    "kv_value_offset": "chunks from a K vector to the V vector of the same slot",
    "kv_bank_slots": "tokens that a bank of the invariance buffer holds; 0: nothing is kept",
    "kv_reuse": "1: a token that did not execute in a layer is read from an earlier one",
}  # fmt: skip


def setting_leaves(overlay: Overlay, shape: KvShape) -> list[tuple[str, int, int]]:
    """Return (name, first bit, width) of every setting."""
    return list(_leaves(model_settings(overlay, shape), "", 0))


def _leaves(layout: Any, prefix: str, base: int) -> Iterator[tuple[str, int, int]]:
    for name, field in layout:
        if hasattr(field.shape, "members"):
            yield from _leaves(field.shape, f"{prefix}{name}_", base + field.offset)
        else:
            yield f"{prefix}{name}", base + field.offset, field.width


def register_map(overlay: Overlay, shape: KvShape) -> dict[str, Register]:
    """Return all registers but the counters by name, in order of their offsets."""
    settings = [(name, width, "RW", MEANING[name]) for name, _, width in setting_leaves(overlay, shape)]
    rows = [*CONTROL, *settings]
    return {row[0]: Register(row[0], number * REGISTER_BYTES, *row[1:]) for number, row in enumerate(rows)}


def counter_offset(block: Block, cause: Cause) -> int:
    """Where the lower half of a counter lies; the upper one follows it."""
    return COUNTERS + (block * CAUSES + cause) * 2 * REGISTER_BYTES


def register_table(overlay: Overlay, shape: KvShape) -> str:
    """Return the map as a table in Markdown."""
    lines = ["| offset | register | bits | access | meaning |", "|---|---|---|---|---|"]
    lines += [
        f"| {r.offset:#05x} | {r.name} | {r.width} | {r.access} | {r.meaning} |"
        for r in register_map(overlay, shape).values()
    ]
    block_step, cause_step = (counter_offset(Block(b), Cause(1 - b)) - COUNTERS for b in (1, 0))
    where = f"{COUNTERS:#05x} + {block_step}·block + {cause_step}·cause"
    names = [", ".join(f"{each.value} {each.label}" for each in kind) for kind in (Block, Cause)]
    meaning = f"cycles, lower half first; blocks: {names[0]}; causes: {names[1]}"
    return "\n".join([*lines, f"| {where} | counters | {CYCLE_BITS} | R | {meaning} |"]) + "\n"
