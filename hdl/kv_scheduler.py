"""KV scheduler: says for each token in which round it is read, and whether the invariance buffer keeps it."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_forming import KvForming
from skipopu.hdl.kv_layout import KvShape, index, operation_layout, round_layout, settings_layout, source_layout
from skipopu.hdl.kv_ring import KvRing
from skipopu.hdl.kv_scan import KvScan
from skipopu.hdl.verilog import Block, place


class KvScheduler(Block):
    """Form the rounds of an operation. K and V of a layer run the same schedule, each from the layer's start state.

    In order (buffer valid, or lock-step): a round takes tokens until one does not fit. Queued (buffer invalid): tokens
    wait at their ports, and when a queue is full a round takes the heads.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    settings : in, steady
    start : in, the first cycle of ``operation`` · operation : in, steady
    usable, phase : in, as steady: the buffer may be read; which ``held`` bit says what is in it
    save : in, the next layer finds what this one kept
    scan_enable, scan_token : out, to the bitmask · scan_bits : in, the cycle after: executed here, in the next layer
    fetch, fetch_address : out, a bit a port: a K vector to be fetched · fetch_full : in, a bit a port
    write, formed : out, a round · rounds_full : in
    busy : out, from the cycle after ``start`` until every round is formed
    over : out, pulses: every round is formed; never with ``write``

    Timing
    ------
    Token 0 is looked at in the cycle after ``start``, then one token a cycle. Forming a round takes a cycle of its own.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape = shape
        super().__init__({
            "settings": In(settings_layout(shape)), "start": In(1), "operation": In(operation_layout(shape)),
            "usable": In(1), "phase": In(1), "save": In(1),
            "scan_enable": Out(1), "scan_token": Out(index(shape.tokens)), "scan_bits": In(2),
            "fetch": Out(shape.ports), "fetch_address": Out(shape.address_bits), "fetch_full": In(shape.ports),
            "write": Out(1), "formed": Out(round_layout(shape)), "rounds_full": In(1), "busy": Out(1),
            "over": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """What the token is, whether it is put, and the rounds."""
        m = Module()
        token = Signal(source_layout(self._shape), name="token")
        placing, put = Signal(name="placing"), Signal(name="put")
        scan, forming = self._scan(m), place(m, "forming", KvForming(shape=self._shape))
        m.d.comb += [
            placing.eq(scan.valid & scan.visible & self.operation.executed), token.port.eq(scan.port),
            scan.advance.eq(scan.valid & (put | ~placing)), scan.keep.eq(token.keep),
            forming.restart.eq(self.start), forming.in_order.eq(self.usable | int(self._shape.lock_step)),
            token.number.eq(scan.token), forming.token.eq(token), forming.put.eq(put), self.formed.eq(forming.formed),
        ]  # fmt: skip
        if self._shape.banks:
            m.d.comb += token.from_buffer.eq(scan.held)
            self._ring(m, token, put, scan.reused & placing)
        self._put(m, token, placing & forming.fits, put)
        self._form(m, scan, forming, placing & ~forming.fits)
        return m

    def _scan(self, m: Module) -> Any:
        scan = place(m, "scan", KvScan(shape=self._shape))
        m.d.comb += [
            scan.settings.eq(self.settings), scan.start.eq(self.start), scan.operation.eq(self.operation),
            scan.usable.eq(self.usable), scan.phase.eq(self.phase), scan.scan_bits.eq(self.scan_bits),
            self.scan_enable.eq(scan.scan_enable), self.scan_token.eq(scan.scan_token),
            self.fetch_address.eq(scan.address),
        ]  # fmt: skip
        return scan

    def _ring(self, m: Module, token: Any, put: Signal, wanted: Any) -> None:
        """A token is kept if a place is free; its own is, as soon as it is read from it."""
        ring = place(m, "ring", KvRing(shape=self._shape))
        m.d.comb += [
            ring.vector.eq(self.settings.vector), ring.bank_slots.eq(self.settings.bank_slots),
            ring.start.eq(self.start), ring.resume.eq(self.usable), ring.save.eq(self.save),
            token.head.eq(ring.head), token.tail.eq(ring.tail),
            token.keep.eq(wanted & Mux(token.from_buffer, ring.room_after_read, ring.room)),
            ring.read.eq(put & token.from_buffer), ring.keep.eq(put & token.keep),
        ]  # fmt: skip

    def _put(self, m: Module, token: Any, fits: Any, put: Signal) -> None:
        """It fits, and its port can fetch it."""
        fetched = Signal(name="fetched")
        m.d.comb += [
            fetched.eq(~token.from_buffer), put.eq(fits & ~(fetched & self.fetch_full.bit_select(token.port, 1))),
            self.fetch.eq((put & fetched) << token.port),
        ]  # fmt: skip

    def _form(self, m: Module, scan: Any, forming: Any, blocked: Any) -> None:
        """Form a round for a token that does not fit, and at the end until no token is left."""
        flushing = Signal(name="flushing")
        m.d.comb += [
            forming.form.eq((blocked | (flushing & ~forming.empty)) & ~self.rounds_full),
            self.write.eq(forming.form & forming.formed.mask.any()), self.busy.eq(scan.valid | flushing),
            self.over.eq(flushing & forming.empty),
        ]  # fmt: skip
        with m.If(scan.advance & scan.last):
            m.d.sync += flushing.eq(1)
        with m.Elif(self.over):
            m.d.sync += flushing.eq(0)
