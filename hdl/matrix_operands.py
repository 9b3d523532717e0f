"""Matrix operands: row tiles from the global buffer through the NPE into IFM, and those that go back."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.constants import constants_read, readers
from skipopu.hdl.global_buffer import operand_signature, tile_bits, write_back_latency, write_signature
from skipopu.hdl.matrix_layout import operand_loops
from skipopu.hdl.matrix_operand_addresses import OperandAddresses
from skipopu.hdl.npe.npe import ROWS
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.tile_loop import ROW_BITS, ROW_REQUEST
from skipopu.hdl.verilog import Block, place
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

CAUSE_BITS = range(len(Cause))
GAINS = ("gamma", "beta")


def gain_reads(overlay: Overlay) -> dict[str, Any]:
    """Return the reads of the constants that a row tile is normalised by."""
    half, widths = overlay.constants.half_bytes, readers(overlay)
    return {name: constants_read(half, widths[name]) for name in GAINS if name in widths}


class MatrixOperands(Block):
    """Grant IFM's requests: a tile of the streaming load, the NPE, read ports, the cycle to write back, in this order.

    Parameters
    ----------
    overlay : pe_array, npe, global_buffer, constants

    Ports
    -----
    start (1), operation, loops, rows : in, an operation begins in the next cycle
    request : in, stream of `ROW_REQUEST`, IFM's; its payload is not looked at
    npe_operation, npe_rows : out, to the NPE: ``operand_operation``, ``operand_rows``
    npe_request : out, stream, to the NPE · read : in, stream, from it: no hazard is in the way · listed : in, its
        ``read_index`` · row, write_back_valid : in, its ``row`` where that goes back
    operand : out, reads of the global buffer · write_back : out, writes · reserve_write_back (1) : out ·
        write_back_free (1) : in
    number, row_b : out, tiles of the first head to the NPE, of the second to the PE array
    gamma, with npe.layer_norm beta : out, reads of the constants, whose data go to the NPE
    stream_tile (1) : in, the streaming load has written a tile
    passes (1) : out, a tile goes through the operand lanes · cause : out, why no row was asked for

    Timing
    ------
    Combinational from request to grant; as many tiles as IFM asks for, one or two a cycle.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, bits = overlay, tile_bits(overlay)
        requests = stream.Signature(ROW_REQUEST)
        super().__init__({
            "start": In(1), "operation": In(OPERAND_OPERATION), "loops": In(operand_loops(overlay)), "rows": In(ROWS),
            "request": In(requests), "npe_operation": Out(OPERAND_OPERATION), "npe_rows": Out(ROWS),
            "npe_request": Out(requests), "read": In(requests), "listed": In(ROW_BITS),
            "row": In(bits), "write_back_valid": In(1),
            "operand": Out(operand_signature(overlay)), "write_back": Out(write_signature(overlay)),
            "reserve_write_back": Out(1), "write_back_free": In(1), "number": Out(bits), "row_b": Out(bits),
            **{name: Out(signature) for name, signature in gain_reads(overlay).items()},
            "stream_tile": In(1), "passes": Out(1), "cause": Out(CAUSE_BITS),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """What an operation is, whether a tile can be read, where it is."""
        m = Module()
        with m.If(self.start):
            m.d.sync += [self.npe_operation.eq(self.operation), self.npe_rows.eq(self.rows)]
        addresses = place(m, "addresses", OperandAddresses(overlay=self._overlay))
        goes_back = named(m, addresses.passes & addresses.current.write_back, "goes_back")
        arrived = self._stream_tiles(m, addresses.current)
        granted = self._grant(m, addresses, arrived, goes_back)
        m.d.comb += [
            addresses.start.eq(self.start), addresses.loops.eq(self.loops), addresses.listed.eq(self.listed),
            addresses.granted.eq(granted), self.reserve_write_back.eq(granted & goes_back),
            self.passes.eq(granted & addresses.passes),
        ]  # fmt: skip
        self._tiles(m, addresses)
        self._gains(m, addresses)
        self._cause(m, arrived, goes_back)
        return m

    def _stream_tiles(self, m: Module, current: Any) -> Value:
        """A tile of the streaming load is there, or none is needed."""
        there = Signal(range(self._overlay.global_buffer.tiles + 1), name="stream_tiles")
        taken = named(m, self.reads() & current.stream, "stream_tile_taken")
        m.d.sync += there.eq(there + self.stream_tile - taken)
        arrived: Value = named(m, ~current.stream | there.any(), "arrived")
        return arrived

    def reads(self) -> Value:
        """A tile is read in this cycle."""
        moves: Value = self.read.valid & self.read.ready
        return moves

    def _grant(self, m: Module, addresses: Any, arrived: Value, goes_back: Value) -> Value:
        """Both streams wait for each other and for the global buffer."""
        writable = named(m, ~goes_back | self.write_back_free, "writable")
        m.d.comb += [
            self.npe_request.valid.eq(self.request.valid & arrived), self.npe_request.payload.eq(addresses.request),
            self.request.ready.eq(self.npe_request.ready & arrived),
            self.operand.valid.eq(self.read.valid & writable), self.read.ready.eq(self.operand.granted & writable),
        ]  # fmt: skip
        granted: Value = named(m, self.reads(), "granted")
        return granted

    def _tiles(self, m: Module, addresses: Any) -> None:
        """Tiles come in time for the NPE; what it changes goes back as long after the grant as it takes."""
        way = write_back_latency(self._overlay)
        m.d.comb += [
            self.operand.packed.eq(addresses.current.packed), self.operand.address_a.eq(addresses.address),
            self.operand.address_b.eq(addresses.second), self.number.eq(self.operand.data_a),
            self.row_b.eq(self.operand.data_b), self.write_back.valid.eq(self.write_back_valid),
            self.write_back.address.eq(delayed(m, named(m, addresses.back, "back"), way, "back")),
            self.write_back.data.eq(self.row),
        ]  # fmt: skip

    def _gains(self, m: Module, addresses: Any) -> None:
        """Of the tile's columns; beta's tiles follow gamma's."""
        tile, current = addresses.request.tile, addresses.current
        m.d.comb += [self.gamma.half.eq(current.half), self.gamma.address.eq(tile)]
        if self._overlay.npe.layer_norm:
            m.d.comb += [self.beta.half.eq(current.half), self.beta.address.eq(current.beta + tile)]

    def _cause(self, m: Module, arrived: Value, goes_back: Value) -> None:
        """What is missing first."""
        with m.If(~self.request.valid):
            m.d.comb += self.cause.eq(Cause.ROWS)
        with m.Elif(~arrived):
            m.d.comb += self.cause.eq(Cause.DDR)
        with m.Elif(~self.read.valid):
            m.d.comb += self.cause.eq(Cause.DRAINING)
        with m.Elif(self.operand.granted & goes_back & ~self.write_back_free):
            m.d.comb += self.cause.eq(Cause.BACKPRESSURE)
        with m.Else():
            m.d.comb += self.cause.eq(Cause.ROWS)
