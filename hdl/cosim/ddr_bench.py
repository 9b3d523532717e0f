"""cocotb bench of the DDR4 engines: instructions, other users of the global buffer, the memory; notes every event."""

from typing import Any

import cocotb
import numpy as np
from cocotb.handle import Immediate
from cocotb.triggers import Timer

from skipopu.hdl.cosim.bench import inputs, write_outputs
from skipopu.hdl.cosim.ddr_axi import ddr_ports
from skipopu.hdl.cosim.ddr_events import CAUSE_SHIFT, CONSTANTS, ENGINES, FETCH, READ, ROTARY, WORD, WRITTEN
from skipopu.hdl.cosim.ddr_memory_state import ddr_stall_names, new_ddr_memory
from skipopu.hdl.cosim.ddr_users import Engine, Users
from skipopu.hdl.cosim.flags import Flags
from skipopu.hdl.cosim.stalls import Source
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

RESET_CYCLES = 4
LOW, HIGH = Immediate(0), Immediate(1)
# outputs whose bit says the event, at the event's place; reads and reservations are among `Users`
SEEN = {
    "load_leave": 0, "store_leave": 1, "tile_written": WRITTEN, "stream_tile": 3, "constants__valid": CONSTANTS,
    "rotary__valid": ROTARY, "tile_read": READ, "fetch_words__valid": WORD,
}  # fmt: skip
# what is kept with an event
KEPT = {
    WRITTEN: ("tile_address",), READ: ("read_address",), WORD: ("fetch_words__payload",),
    CONSTANTS: ("constants__address", "constants__data"), ROTARY: ("rotary__address", "rotary__data"),
}  # fmt: skip


class Bench:
    """Stepped a core cycle at a time."""

    def __init__(self, dut: Any) -> None:
        self.dut, a = dut, inputs()
        self.a, self.step = a, Timer(1, unit="ns")
        self.flags = Flags(dut, a["flags_in"].tolist(), a["flags_out"].tolist())
        overlay = Overlay.load(str(a["overlay"]), tuple(a["settings"].tolist()))
        stalls = {name: a[f"stall_{name}"] for name in ddr_stall_names()} if a["stalled"] else None
        self.memory = new_ddr_memory(Board.load("u280"), overlay, a["contents"], int(a["bursts"]), stalls)
        self.axi = ddr_ports(dut, self.memory, self.flags)
        self.engines = [Engine(dut, name, self.flags, a) for name in ENGINES]
        self.users = Users(dut, self.flags, a)
        self.fetch = Source(a["fetch"].tolist(), a["stall_fetch"])
        names = self.flags.names_out
        self.seen = [(names.index(name), event) for name, event in SEEN.items()]
        self.half, self.fetch_ready = names.index("constants__half"), names.index("fetch__ready")
        self.fetch_valid = self.flags.names_in.index("fetch__valid")
        self.words_ready = 1 << self.flags.names_in.index("fetch_words__ready")
        self.trace: list[int] = []
        self.kept: dict[str, list[int]] = {name: [] for names in KEPT.values() for name in names}
        self.halves: list[int] = []

    async def settle(self) -> None:
        """Lower the clock and let what was written reach the outputs."""
        self.dut.clk.set(LOW)
        await self.step

    async def edge(self) -> None:
        """End the cycle."""
        self.dut.clk.set(HIGH)
        await self.step

    async def start(self) -> None:
        """Reset; returns just after the edge that begins cycle 0."""
        self.flags.write(0)
        self.dut.rst.set(HIGH)
        for _ in range(RESET_CYCLES):
            await self.settle()
            await self.edge()
        self.dut.rst.set(LOW)

    async def cycle(self, cycle: int) -> None:
        """One core cycle."""
        given = self.words_ready | self.users.drive(cycle)
        for engine in self.engines:
            given |= engine.drive(cycle)
        offered = self.fetch.offer(cycle)
        if offered is not None:
            self.dut.fetch__payload.set(Immediate(offered))
            given |= 1 << self.fetch_valid
        self.flags.write(given)
        await self.step  # a request for instructions goes straight to AR
        self.flags.write(given | self.axi.answers(cycle, self.flags.read()))
        await self.settle()
        self._note(cycle, self.flags.read(), offered is not None)
        await self.edge()

    def _note(self, cycle: int, flags: int, offered: bool) -> None:
        found = self.users.note(cycle, flags)
        for place, event in self.seen:
            if flags >> place & 1:
                found |= 1 << event
                for name in KEPT.get(event, ()):
                    self.kept[name].append(int(getattr(self.dut, name).value))
                if event == CONSTANTS:
                    self.halves.append(flags >> self.half & 1)
        if offered and flags >> self.fetch_ready & 1:
            self.fetch.taken()
            found |= 1 << FETCH
        for number, engine in enumerate(self.engines):
            engine.note(cycle, found >> number & 1)
        self.trace.append(found | int(self.dut.causes.value) << CAUSE_SHIFT)

    def done(self) -> bool:
        """Nothing is left to do, with a memory that stalls."""
        beats = len(self.kept["fetch_words__payload"])
        return all(engine.done for engine in self.engines) and beats == int(self.a["fetch_beats"])

    def finish(self) -> None:
        """Leave the notes."""
        t = self.memory.total[0]
        wide = {name: table(values, len(getattr(self.dut, name))) for name, values in self.kept.items()}
        write_outputs(
            trace=np.array(self.trace, np.int64), events=self.memory.events[: t.events],
            broken=[t.broken, t.broken_channel, t.broken_cycle], contents=self.memory.contents,
            constants=self.axi.has_constants(), done=self.done(), halves=np.array(self.halves, np.int64),
            error=self.flags.read() >> self.flags.names_out.index("error") & 1,
            **wide, **{f"read_{name}": table(values, size) for name, values, size in self.users.found()},
        )  # fmt: skip


def table(values: list[int], bits: int) -> Any:
    """Integers as rows of bytes, the lowest first."""
    size = -(-bits // 8)
    return np.frombuffer(b"".join(value.to_bytes(size, "little") for value in values), np.uint8).reshape(-1, size)


@cocotb.test()
async def ddr(dut: Any) -> None:
    """Run as many cycles as the simulator took, or, with stalls, until all is done."""
    bench = Bench(dut)
    await bench.start()
    for cycle in range(int(bench.a["cycles"])):
        await bench.cycle(cycle)
        if bench.a["stalled"] and bench.done():
            break
    bench.finish()
