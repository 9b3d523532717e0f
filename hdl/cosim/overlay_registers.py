"""Registers for a run: what the host writes, and what it reads when all is over."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.instruction_fetch import BURST_BYTES
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.register_map import REGISTER_BYTES, counter_offset, register_map, setting_leaves
from skipopu.program.image import Settings
from skipopu.program.status import Condition, Status
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.overlay import DDR_CHANNELS, Overlay

STATE = ("running", "ended", "error", "lost")  # bits of the register, the lowest first
Pairs = list[tuple[int, int]]  # byte address, value
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Registers:
    """What the host finds."""

    state: int
    status: Status
    retired: int
    cycles: int
    counters: Ints  # [Block, Cause]

    def flag(self, name: str) -> bool:
        """One bit of the state."""
        return bool(self.state >> STATE.index(name) & 1)


def writes(overlay: Overlay, settings: Settings, program_address: int, instructions: int) -> Pairs:
    """Everything a program needs, then the start; ``program_address`` in bytes over both channels."""
    registers = register_map(overlay, kv_shape(overlay))
    values = {
        **setting_values(overlay, settings), "program_address": program_address // DDR_CHANNELS // BURST_BYTES,
        "program_count": instructions, "interrupt_enable": 1, "control": 1,
    }  # fmt: skip
    return [(registers[name].offset, value) for name, value in values.items()]


def setting_values(overlay: Overlay, settings: Settings) -> dict[str, int]:
    """Return register name → value; the settings of an image have the order of the registers."""
    names = [name for name, _, _ in setting_leaves(overlay, kv_shape(overlay))]
    found = dict(zip(names, (getattr(settings, field.name) for field in fields(settings)), strict=True))
    for name, field in zip(names, fields(settings), strict=True):
        assert name.endswith(field.name), f"register {name} is not the setting {field.name}"
    return found


def reads(overlay: Overlay) -> list[int]:
    """Byte addresses, in the order in which `found` takes the values."""
    registers = register_map(overlay, kv_shape(overlay))
    names = ("state", "status_code", "status_index", "status_detail", "retired", "cycles_low", "cycles_high")
    halves = [
        counter_offset(block, cause) + half * REGISTER_BYTES for block in Block for cause in Cause for half in (0, 1)
    ]
    return [*(registers[name].offset for name in names), *halves]


def found(values: list[int]) -> Registers:
    """Take the values apart."""
    state, code, index, detail, retired, low, high = values[:7]
    halves = np.array(values[7:], np.int64).reshape(len(Block), len(Cause), 2)
    width = REGISTER_BYTES * 8
    return Registers(
        state, Status(Condition(code), index, detail), retired, low | high << width,
        halves[:, :, 0] | halves[:, :, 1] << width,
    )  # fmt: skip
