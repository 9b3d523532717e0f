"""What a host sees of Control and of the performance counters, stepped cycle by cycle."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import OKAY
from skipopu.hdl.axi_lite import SLVERR
from skipopu.hdl.cosim.control_shell import SHOWN
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.register_map import (
    ADDRESS_BITS,
    ALWAYS,
    COUNTERS,
    REGISTER_BYTES,
    Register,
    counter_offset,
    register_map,
    setting_leaves,
)
from skipopu.spec.ledger import Block, Cause
from skipopu.spec.overlay import Overlay

WORD, STROBES = (1 << 32) - 1, 15
CYCLES = 997  # after which what is shown repeats
Ints = NDArray[np.int64]
Access = tuple[int, int, int, int]  # write, address, data, strobes


class ControlModel:
    """Registers as a host sees them, stepped cycle by cycle."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator) -> None:
        shape = kv_shape(overlay)
        self.map: dict[str, Register] = register_map(overlay, shape)
        self.at = {r.offset: r for r in self.map.values()}
        self.leaves = setting_leaves(overlay, shape)
        self.kept = {name: 0 for name, r in self.map.items() if r.access == "RW"}
        self.counters = np.zeros((len(Block), len(Cause)), np.int64)
        self.ended = self.error_before = 0
        self.shown = [self._shown(rng) for _ in range(CYCLES)]

    def _shown(self, rng: np.random.Generator) -> dict[str, Any]:
        """Any state; a few bits are rare so that something else shows as well."""
        bits = {name: int(rng.random() < often) for name, often in (("running", 0.3), ("ended", 0.02), ("error", 0.05))}
        wide = {"code": 4, "index": 24, "detail": 32, "retired": 24, "now": 48, "lost": 1}
        numbers = {name: int(rng.integers(1 << width)) for name, width in wide.items()}
        return {**bits, **numbers, "causes": rng.integers(len(Cause), size=len(Block)).tolist()}

    def shown_bytes(self) -> NDArray[np.uint8]:
        """Return it as the shell's port."""
        rows = []
        for s in self.shown:
            status = s["code"] | s["index"] << 4 | s["detail"] << 28
            causes = sum(cause << 4 * block for block, cause in enumerate(s["causes"]))
            values = {**s, "status": status, "causes": causes}
            word = sum(values[name] << field.offset for name, field in SHOWN)
            rows.append(word.to_bytes(SHOWN.size // 8 + 1, "little"))
        return np.frombuffer(b"".join(rows), np.uint8).reshape(CYCLES, -1)

    def random_access(self, rng: np.random.Generator) -> Access:
        """(write, address, data, strobes): mostly a register, sometimes anything."""
        write, anywhere = int(rng.random() < 0.5), rng.random()
        name = str(rng.choice(list(self.map)))
        address = self.map[name].offset
        if anywhere < 0.3:
            block, cause = Block(int(rng.integers(len(Block)))), Cause(int(rng.integers(len(Cause))))
            address = counter_offset(block, cause) + REGISTER_BYTES * int(rng.integers(2))
        elif anywhere < 0.4:
            address = int(rng.integers(1 << ADDRESS_BITS - 2)) * REGISTER_BYTES
        width = self.map[name].width if rng.random() < 0.9 else 32
        return write, address, int(rng.integers(1 << width)), STROBES if rng.random() < 0.9 else int(rng.integers(16))

    def run(self, asked: list[Access], cycles: list[int], total: int) -> tuple[Ints, NDArray[Any]]:
        """Return the answers and, for every cycle, what is held."""
        at, answers, held = dict(zip(cycles, asked, strict=True)), [], []
        for cycle in range(total):
            shown, start = self.shown[cycle % CYCLES], 0
            before = self._held()
            if cycle in at:
                write, address, data, strobes = at[cycle]
                if write:
                    good, start = self._write(address, data, strobes, shown)
                    answers.append((cycle, OKAY if good else SLVERR, 0))
                else:
                    value = self._read(address, shown)
                    answers.append((cycle, SLVERR if value is None else OKAY, value or 0))
            held.append([start, *before])
            self._step(shown, start)
        return np.array(answers, np.int64), np.array(held, object)

    def _held(self) -> list[int]:
        k = self.kept
        settings = sum(k[name] << first for name, first, _ in self.leaves)
        return [k["program_address"], k["program_count"], settings, k["interrupt_enable"] & k["interrupt_pending"]]

    def _write(self, address: int, data: int, strobes: int, shown: dict[str, Any]) -> tuple[bool, int]:
        r = self.at.get(address)
        if r is None or "W" not in r.access or strobes != STROBES or data >> r.width:
            return False, 0
        if shown["running"] and r.name not in ALWAYS:
            return False, 0
        if r.name == "control":
            return True, data
        self.kept[r.name] = self.kept[r.name] & ~data if r.name == "interrupt_pending" else data
        return True, 0

    def _read(self, address: int, shown: dict[str, Any]) -> int | None:
        if address >= COUNTERS:
            places = {counter_offset(b, c) + 4 * h: (b, c, h) for b in Block for c in Cause for h in (0, 1)}
            if address not in places:
                return None
            block, cause, high = places[address]
            return int(self.counters[block, cause]) >> 32 * high & WORD
        r = self.at.get(address)
        if r is None or "R" not in r.access:
            return None
        state = shown["running"] | self.ended << 1 | shown["error"] << 2 | shown["lost"] << 3
        seen = {
            "state": state, "status_code": shown["code"], "status_index": shown["index"],
            "status_detail": shown["detail"], "retired": shown["retired"], "cycles_low": shown["now"] & WORD,
            "cycles_high": shown["now"] >> 32,
        }  # fmt: skip
        return int({**self.kept, **seen}[r.name])

    def _step(self, shown: dict[str, Any], start: int) -> None:
        if shown["ended"] or (shown["error"] and not self.error_before):
            self.kept["interrupt_pending"] = 1
        self.error_before = shown["error"]
        self.ended = 0 if start else self.ended | shown["ended"]
        if start:
            self.counters[:] = 0
        elif shown["running"]:
            self.counters[np.arange(len(Block)), shown["causes"]] += 1
