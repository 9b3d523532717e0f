"""Memory system: DMA, KV buffer and bitmask, everything between the HBM and what computes."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.axi import address_bits, connect_channels, port_channels
from skipopu.hdl.bitmask import Bitmask
from skipopu.hdl.dma import Dma
from skipopu.hdl.kv_buffer import KvBuffer
from skipopu.hdl.kv_layout import index
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import Overlay

WEIGHT_SIDE = ("weights", "write")  # streams of the DMA that keep their names


class MemorySystem(Block):
    """The blocks of the memory system, connected.

    Parameters
    ----------
    overlay : all of it

    Ports
    -----
    mask_write, mask_row, mask_token, mask_bit : in, write a bit of the bitmask: a layer's K/V of a token are executed
    kv_settings : in, steady while a K/V operation runs
    kv_operation : in, stream of KV_READ: K of a layer, then V of it
    kv_done : out, the K/V operation has ended
    kv_output : out, stream: a chunk of every lane in the mask, HBM ports first, then banks
    kv_announce, kv_cause : out, rounds of K that are formed, and what the KV buffer's cycle was for
    weight_operation : in, stream: address within every port, chunks of every port
    weight_done : out, all bursts of the operation are asked for
    weights : out, stream of words: a chunk of every port, that of port 0 lowest
    write : in, stream of chunks and their ports; with the last of a burst its address and length
    writes_pending : out, a write burst is not known to be acknowledged
    error : out, a response of the memory was not OKAY; stays
    hbm : a port each, AXI3, HBM clock; port p addresses p · 256 MiB and up

    Timing
    ------
    See `KvBuffer`, `Dma`, `Bitmask`.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        self._dma, self._kv, mask = Dma(overlay=overlay), KvBuffer(overlay=overlay), overlay.bitmask
        dma, kv = self._dma.signature.members, self._kv.signature.members
        super().__init__({
            "mask_write": In(1), "mask_row": In(index(mask.rows)), "mask_token": In(index(mask.tokens)),
            "mask_bit": In(1), "kv_settings": kv["settings"], "kv_operation": kv["operation"], "kv_done": Out(1),
            "kv_output": kv["output"], "kv_announce": kv["announce"], "kv_cause": kv["cause"],
            "weight_operation": dma["operation"], "weight_done": Out(1),
            **{name: dma[name] for name in (*WEIGHT_SIDE, "writes_pending", "error", "hbm")},
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Three blocks and their wires."""
        m = Module()
        dma, kv, mask = place(m, "dma", self._dma), place(m, "kv_buffer", self._kv), self._bitmask(m)
        for port in range(self._overlay.dma.hbm_ports):
            connect(m, kv.kv_request[port], dma.kv_request[port])
            connect(m, dma.kv_chunk[port], kv.kv_chunk[port])
        m.d.comb += [
            mask.scan_enable.eq(kv.scan_enable), mask.scan_row.eq(kv.scan_row), mask.scan_token.eq(kv.scan_token),
            kv.scan_bits.eq(mask.scan_bits),
        ]  # fmt: skip
        self._outside(m, dma, kv)
        return m

    def _bitmask(self, m: Module) -> Any:
        mask = place(m, "bitmask", Bitmask(rows=self._overlay.bitmask.rows, tokens=self._overlay.bitmask.tokens))
        m.d.comb += [
            mask.write.eq(self.mask_write), mask.write_row.eq(self.mask_row), mask.write_token.eq(self.mask_token),
            mask.write_bit.eq(self.mask_bit),
        ]  # fmt: skip
        return mask

    def _outside(self, m: Module, dma: Any, kv: Any) -> None:
        """What leaves the memory system."""
        connect(m, flipped(self.kv_operation), kv.operation)
        connect(m, kv.output, flipped(self.kv_output))
        connect(m, kv.announce, flipped(self.kv_announce))
        connect(m, flipped(self.weight_operation), dma.operation)
        connect(m, dma.weights, flipped(self.weights))
        connect(m, flipped(self.write), dma.write)
        m.d.comb += [
            kv.settings.eq(self.kv_settings), self.kv_done.eq(kv.done), self.kv_cause.eq(kv.cause),
            self.weight_done.eq(dma.done),
            self.writes_pending.eq(dma.writes_pending), self.error.eq(dma.error),
        ]  # fmt: skip
        channels = port_channels(address_bits(self._overlay.dma.hbm_ports))
        for outer, inner in zip(self.hbm, dma.hbm, strict=True):
            connect_channels(m, channels, outer, inner)
