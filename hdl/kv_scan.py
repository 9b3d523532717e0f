"""KV scan: the tokens of a sequence, one a cycle, with what table and bitmask say of them."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import KvShape, index, operation_layout, settings_layout
from skipopu.hdl.kv_token_table import PHASES, KvTokenTable
from skipopu.hdl.verilog import Block, place


class KvScan(Block):
    """Read table and bitmask a token ahead, tell where the token's K/V lie in this layer, and bring the table up to it.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    settings : in, steady
    start : in, the first cycle of ``operation`` · operation : in, steady until the last token
    usable, phase : in, as steady: the buffer may be read; which ``held`` bit says what is in it
    scan_enable, scan_token : out, to the bitmask · scan_bits : in, the cycle after: executed here, in the next layer
    valid, last : out, a token is looked at; it is the newest one
    token : out, its number
    visible : out, there is a K/V for it
    port, address : out, where
    held : out, it is in the buffer, too
    reused : out, the next layer reads it again
    advance, keep : in, go on to the next token; this one is kept in the buffer

    Timing
    ------
    Token 0 in the cycle after ``start``, then one token a cycle.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "settings": In(settings_layout(shape)), "start": In(1), "operation": In(operation_layout(shape)),
            "usable": In(1), "phase": In(1),
            "scan_enable": Out(1), "scan_token": Out(index(shape.tokens)), "scan_bits": In(2),
            "valid": Out(1), "last": Out(1), "token": Out(index(shape.tokens)), "visible": Out(1),
            "port": Out(index(shape.ports)), "address": Out(shape.address_bits), "held": Out(1), "reused": Out(1),
            "advance": In(1), "keep": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Counters, then the token's word."""
        m = Module()
        self._count(m)
        port, address = self._next_place(m)
        table, executed = place(m, "token_table", KvTokenTable(shape=self._shape)), self.scan_bits[0]
        found = table.found
        m.d.comb += [
            table.read.eq(self.scan_enable), table.read_token.eq(self.scan_token),
            self.visible.eq(executed | self._was_visible(found)), self.reused.eq(self._reused()),
            self.held.eq(self.visible & self.usable & self._held(found) & ~executed),
            self.port.eq(Mux(executed, port, found.port)), self.address.eq(Mux(executed, address, found.address)),
            table.write.eq(self.advance), table.write_token.eq(self.token), table.word.visible.eq(self.visible),
            table.word.port.eq(self.port), table.word.address.eq(self.address),
        ]  # fmt: skip
        for phase in range(PHASES):
            m.d.comb += table.word.held[phase].eq(Mux(self.phase == phase, found.held[phase], self.keep))
        return m

    def _count(self, m: Module) -> None:
        token = self.token
        m.d.comb += [
            self.last.eq(token == self.operation.tokens - 1), self.scan_enable.eq(self.start | self.advance),
            self.scan_token.eq(Mux(self.start, 0, token + 1)),
        ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [token.eq(0), self.valid.eq(1)]
        with m.Elif(self.advance):
            m.d.sync += [token.eq(token + 1), self.valid.eq(~self.last)]

    def _next_place(self, m: Module) -> tuple[Signal, Signal]:
        """Port and address of the next token that executed in this layer: round-robin over the ports."""
        port = Signal(index(self._shape.ports), name="next_port")
        address = Signal(self._shape.address_bits, name="next_address")
        wraps = port == self._shape.ports - 1
        with m.If(self.start):
            m.d.sync += [port.eq(0), address.eq(self.operation.layer_base)]
        with m.Elif(self.advance & self.scan_bits[0]):
            m.d.sync += port.eq(Mux(wraps, 0, port + 1))
            with m.If(wraps):
                m.d.sync += address.eq(address + self.settings.vector)
        return port, address

    def _was_visible(self, found: Any) -> Value:
        """An earlier layer's K/V serve this one."""
        return found.visible & self.settings.reuse & ~self.operation.first_layer

    def _held(self, found: Any) -> Value:
        """Kept while the layer before was read; meanwhile the other bit is written for the next."""
        bit: Value = found.held.bit_select(self.phase, 1)
        return bit

    def _reused(self) -> Value:
        """The newest token's own next decision is not known yet."""
        o = self.operation
        reusing = o.decode & self.settings.reuse & o.has_next
        return reusing & self.visible & ~self.scan_bits[1] & ~self.last
