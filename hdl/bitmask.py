"""Bitmask: one bit a layer and token, whether its K/V were executed."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block


class Bitmask(Block):
    """Executed bits of all layers and tokens, written singly, read for a layer and the one after.

    Even rows lie in one memory and odd rows in another, each a bit wide, so that two rows are read together.

    Parameters
    ----------
    rows : layers
    tokens : of a row

    Ports
    -----
    write, write_row, write_token, write_bit : in
    scan_enable, scan_row, scan_token : in
    scan_bits : out, bit 0 of ``scan_row``, bit 1 of the row after; kept without ``scan_enable``

    Timing
    ------
    Bits the cycle after ``scan_enable``; they are those written before that cycle.
    """

    def __init__(self, *, rows: int, tokens: int) -> None:
        self._rows, self._tokens = rows, tokens
        super().__init__({
            "write": In(1), "write_row": In(index(rows)), "write_token": In(index(tokens)), "write_bit": In(1),
            "scan_enable": In(1), "scan_row": In(index(rows)), "scan_token": In(index(tokens)), "scan_bits": Out(2),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Two memories and the turn between them."""
        m = Module()
        odd = Signal(name="scan_odd")
        with m.If(self.scan_enable):
            m.d.sync += odd.eq(self.scan_row[0])
        # the row after an odd one is even, a pair further on
        even_pair = self.scan_row[1:] + self.scan_row[0]
        even_bit = self._memory(m, "even", 0, even_pair)
        odd_bit = self._memory(m, "odd", 1, self.scan_row[1:])
        m.d.comb += self.scan_bits.eq(Mux(odd, Cat(odd_bit, even_bit), Cat(even_bit, odd_bit)))
        return m

    def _memory(self, m: Module, name: str, parity: int, pair: Any) -> Any:
        """The rows of one parity; a row is as many words as tokens, rounded up to a power of two."""
        pairs, token_bits = (self._rows + 1) // 2, len(self.scan_token)
        memory = Memory(shape=1, depth=pairs << token_bits, init=[])
        m.submodules[name] = memory
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            write.addr.eq(Cat(self.write_token, self.write_row[1:])), write.data.eq(self.write_bit),
            write.en.eq(self.write & (self.write_row[0] == parity)),
            read.addr.eq(Cat(self.scan_token, pair)), read.en.eq(self.scan_enable),
        ]  # fmt: skip
        return read.data
