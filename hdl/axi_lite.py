"""AXI-Lite: a slave that turns a host's accesses into accesses of registers."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from skipopu.hdl.axi import OKAY
from skipopu.hdl.verilog import Block

DATA_BITS = 32
STROBES = DATA_BITS // 8
SLVERR = 2  # the access was understood and refused


def slave_ports(address: int) -> dict[str, wiring.Member]:
    """Ports of a slave, AXI4-Lite, under their names in the standard."""
    return {
        "s_axi_awaddr": In(address), "s_axi_awprot": In(3), "s_axi_awvalid": In(1), "s_axi_awready": Out(1),
        "s_axi_wdata": In(DATA_BITS), "s_axi_wstrb": In(STROBES), "s_axi_wvalid": In(1), "s_axi_wready": Out(1),
        "s_axi_bresp": Out(2), "s_axi_bvalid": Out(1), "s_axi_bready": In(1),
        "s_axi_araddr": In(address), "s_axi_arprot": In(3), "s_axi_arvalid": In(1), "s_axi_arready": Out(1),
        "s_axi_rdata": Out(DATA_BITS), "s_axi_rresp": Out(2), "s_axi_rvalid": Out(1), "s_axi_rready": In(1),
    }  # fmt: skip


class AxiLite(Block):
    """One write and one read at a time; what the registers refuse, and writes to a part of one, end in SLVERR.

    Parameters
    ----------
    address : bits of a byte address

    Ports
    -----
    s_axi_* : the host
    write, write_word, write_data : out, for a cycle: write that register · write_good : in, in that cycle: it may be
    read, read_word : out, for a cycle: read that register · read_data, read_good : in, in that cycle

    Timing
    ------
    Address and data of a write are taken together. A response stands from the cycle after that.
    """

    def __init__(self, *, address: int) -> None:
        word = address - (STROBES - 1).bit_length()
        super().__init__({
            **slave_ports(address),
            "write": Out(1), "write_word": Out(word), "write_data": Out(DATA_BITS), "write_good": In(1),
            "read": Out(1), "read_word": Out(word), "read_data": In(DATA_BITS), "read_good": In(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A register for each response."""
        m = Module()
        low, taken = (STROBES - 1).bit_length(), Signal(name="write_taken")
        m.d.comb += [
            taken.eq(self.s_axi_awvalid & self.s_axi_wvalid & ~self.s_axi_bvalid), self.s_axi_awready.eq(taken),
            self.s_axi_wready.eq(taken), self.write.eq(taken & self.s_axi_wstrb.all()),
            self.write_word.eq(self.s_axi_awaddr[low:]), self.write_data.eq(self.s_axi_wdata),
            self.read.eq(self.s_axi_arvalid & ~self.s_axi_rvalid), self.s_axi_arready.eq(self.read),
            self.read_word.eq(self.s_axi_araddr[low:]),
        ]  # fmt: skip
        with m.If(taken):
            m.d.sync += [self.s_axi_bvalid.eq(1), self.s_axi_bresp.eq(self._response(self.write & self.write_good))]
        with m.Elif(self.s_axi_bready):
            m.d.sync += self.s_axi_bvalid.eq(0)
        with m.If(self.read):
            m.d.sync += [
                self.s_axi_rvalid.eq(1), self.s_axi_rdata.eq(Mux(self.read_good, self.read_data, 0)),
                self.s_axi_rresp.eq(self._response(self.read_good)),
            ]  # fmt: skip
        with m.Elif(self.s_axi_rready):
            m.d.sync += self.s_axi_rvalid.eq(0)
        return m

    def _response(self, good: Any) -> Any:
        return Mux(good, OKAY, SLVERR)
