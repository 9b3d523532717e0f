"""Control: what a host sees of the overlay, as registers behind AXI-Lite."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.axi_lite import DATA_BITS, AxiLite, slave_ports
from skipopu.hdl.instruction import CYCLE_BITS, INDEX_BITS
from skipopu.hdl.instruction_fetch import PROGRAM_ADDRESS
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.register_map import ADDRESS_BITS, ALWAYS, CAUSES, REGISTER_BYTES, register_map, setting_leaves
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.settings import model_settings
from skipopu.hdl.status import STATUS
from skipopu.hdl.verilog import Block, place
from skipopu.spec import ledger
from skipopu.spec.overlay import Overlay


class Control(Block):
    """Registers of `register_map` and the counters, for a host.

    Refused with SLVERR, and without effect: writes to what is read only, to a part of a register, of a value that does
    not fit, to anything but the interrupt while a program runs; what lies outside the map.

    Parameters
    ----------
    overlay : as of `hdl.settings`

    Ports
    -----
    s_axi_* : AXI-Lite, see `AxiLite`
    start : out, for a cycle · program_address, program_count, settings : out, steady while a program runs
    running, ended, error, status, retired, now : in, from `ProgramRun` · lost : in, from `Retirement`
    counter_block, counter_cause : out, to `PerformanceCounters` · counter : in, what it finds
    interrupt : out, level: the program has ended or met an error, and the host has not cleared it

    Timing
    ------
    What is written shows in the cycle after the write was taken; `start` comes in that cycle itself.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        shape = kv_shape(overlay)
        self._map, self._leaves = register_map(overlay, shape), setting_leaves(overlay, shape)
        super().__init__({
            **slave_ports(ADDRESS_BITS),
            "start": Out(1), "program_address": Out(PROGRAM_ADDRESS), "program_count": Out(INDEX_BITS),
            "settings": Out(model_settings(overlay, shape)),
            "running": In(1), "ended": In(1), "error": In(1), "status": In(STATUS), "retired": In(INDEX_BITS),
            "now": In(CYCLE_BITS), "lost": In(1),
            "counter_block": Out(range(len(ledger.Block))), "counter_cause": Out(CAUSE), "counter": In(CYCLE_BITS),
            "interrupt": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """The slave, and the registers behind it."""
        m = Module()
        slave = place(m, "slave", AxiLite(address=ADDRESS_BITS))
        for name, member in slave_ports(ADDRESS_BITS).items():
            outer, inner = getattr(self, name), getattr(slave, name)
            m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)
        kept = {name: Signal(r.width, name=name) for name, r in self._map.items() if r.access == "RW"}
        m.d.comb += [
            self.program_address.eq(kept["program_address"]), self.program_count.eq(kept["program_count"]),
            Value.cast(self.settings).eq(Cat(*(kept[name] for name, _, _ in self._leaves))),
            self.interrupt.eq(kept["interrupt_enable"] & kept["interrupt_pending"]),
        ]  # fmt: skip
        self._write(m, slave, kept)
        self._interrupt(m, kept["interrupt_pending"])
        self._read(m, slave, {**kept, **self._seen(m)})
        return m

    def _write(self, m: Module, slave: Any, kept: dict[str, Signal]) -> None:
        """A register that may be written, with a value that fits."""
        with m.Switch(slave.write_word):
            for name, register in self._map.items():
                if "W" in register.access:
                    with m.Case(register.offset // REGISTER_BYTES):
                        fits = slave.write_data >> register.width == 0
                        m.d.comb += slave.write_good.eq(fits & (self._is_idle() | (name in ALWAYS)))
                        with m.If(slave.write & slave.write_good):
                            self._effect(m, name, kept, slave.write_data)

    def _is_idle(self) -> Value:
        return ~self.running

    def _effect(self, m: Module, name: str, kept: dict[str, Signal], value: Value) -> None:
        """What writing a register does."""
        if name == "control":
            m.d.comb += self.start.eq(value[0])
        elif name == "interrupt_pending":
            m.d.sync += kept[name].eq(kept[name] & ~value[0])
        else:
            m.d.sync += kept[name].eq(value)

    def _interrupt(self, m: Module, pending: Signal) -> None:
        """An end and an error each set it, whatever the host does in that cycle."""
        before = Signal(name="error_before")
        m.d.sync += before.eq(self.error)
        with m.If(self.ended | (self.error & ~before)):
            m.d.sync += pending.eq(1)

    def _seen(self, m: Module) -> dict[str, Value]:
        """Registers that are read only."""
        ended = Signal(name="has_ended")
        with m.If(self.start):
            m.d.sync += ended.eq(0)
        with m.Elif(self.ended):
            m.d.sync += ended.eq(1)
        return {
            "state": Cat(self.running, ended, self.error, self.lost), "status_code": self.status.code,
            "status_index": self.status.index, "status_detail": self.status.detail, "retired": self.retired,
            "cycles_low": self.now[:DATA_BITS], "cycles_high": self.now[DATA_BITS:],
        }  # fmt: skip

    def _read(self, m: Module, slave: Any, values: dict[str, Any]) -> None:
        """A register, or in the upper half of the map a part of a counter."""
        causes, blocks = (CAUSES - 1).bit_length(), (len(ledger.Block) - 1).bit_length()
        high, number = slave.read_word[0], slave.read_word[1:-1]
        m.d.comb += [self.counter_cause.eq(number[:causes]), self.counter_block.eq(number[causes:])]
        with m.If(slave.read_word[-1]):
            there = (number[:causes] < len(ledger.Cause)) & (number >> causes + blocks == 0)
            m.d.comb += [slave.read_data.eq(self.counter.word_select(high, DATA_BITS)), slave.read_good.eq(there)]
        with m.Else(), m.Switch(slave.read_word):
            for name, register in self._map.items():
                if "R" in register.access:
                    with m.Case(register.offset // REGISTER_BYTES):
                        m.d.comb += [slave.read_data.eq(values[name]), slave.read_good.eq(1)]
