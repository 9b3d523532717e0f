"""Matrix results: words of results on their way into the global buffer, with all that they need beside them."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.constants import constants_read, readers
from skipopu.hdl.fifo import Fifo
from skipopu.hdl.global_buffer import read_signature, result_signature
from skipopu.hdl.kv_layout import index, kv_shape
from skipopu.hdl.matrix_flight import SLOT
from skipopu.hdl.matrix_layout import result_loops
from skipopu.hdl.matrix_result_addresses import ResultAddresses
from skipopu.hdl.matrix_result_write import MatrixResultWrite
from skipopu.hdl.matrix_side_data import MatrixSideData
from skipopu.hdl.matrix_visibility import MatrixVisibility
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.result_operation import half_words, lanes_of, operation_layout, request_layout, single_words
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.router import route_layout
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import IN_FLIGHT, Overlay

CHUNK_FLAGS = ("valid", "moves", "last", "end")  # of the chunks of K/V
WRITTEN = ("valid", "address", "data", "mask")
CHUNK_PORTS = (*CHUNK_FLAGS, "mask", "tokens")


def begun_layout(overlay: Overlay) -> data.StructLayout:
    """What is known of an operation from its start until its last word: walk, place in flight, what it routes."""
    return data.StructLayout({"loops": result_loops(overlay), "slot": SLOT, "route": route_layout(overlay)})


class MatrixResults(Block):
    """Two queues of operations, one at the NPE's sums and one at its words; grants for the words; side data, writes.

    Parameters
    ----------
    overlay : pe_array, npe, global_buffer, constants, and what makes the lanes of a K/V round

    Ports
    -----
    start (1), operation, begun : in, an operation that multiplies begins: `operation_layout`, `begun_layout`
    npe_operation : out, stream, to the NPE · request : in, stream of `request_layout`, from it
    route : out, to the NPE, of the operation whose words go
    buffer_residual : out, reads of the global buffer · reserve_result (1) : out · result_free (1) : in
    constants_scale, constants_bias : out, reads of the constants
    scale, bias, residual, visible : out, to the NPE · score_scale : in, FP32, 1/√d
    result_valid, result : in, from the NPE · buffer_result : out, writes of the global buffer
    scores_start, scores_running (1), chunk_* : in: see `MatrixVisibility`
    unread (1) : out, no read port is left for the residual that a word needs
    word_last (1), word_slot : out, the last word of an operation goes; its place in flight

    Timing
    ------
    Combinational from request to grant; a word a cycle. Data and writes as the NPE states.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay, lanes = overlay, kv_shape(overlay).lanes
        numbers, widths = half_words(lanes_of(overlay)), readers(overlay)
        size, tokens = overlay.constants.half_bytes, data.ArrayLayout(index(overlay.bitmask.tokens), lanes)
        super().__init__({
            "start": In(1), "operation": In(operation_layout(overlay)), "begun": In(begun_layout(overlay)),
            "npe_operation": Out(stream.Signature(operation_layout(overlay))),
            "request": In(stream.Signature(request_layout(overlay))), "route": Out(route_layout(overlay)),
            "buffer_residual": Out(read_signature(overlay)), "reserve_result": Out(1), "result_free": In(1),
            **{f"constants_{name}": Out(constants_read(size, widths[name])) for name in ("scale", "bias")},
            "scale": Out(single_words(lanes_of(overlay))), "bias": Out(numbers), "residual": Out(numbers),
            "visible": Out(lanes_of(overlay)), "score_scale": In(FP32.bits),
            "result_valid": In(1), "result": In(numbers), "buffer_result": Out(result_signature(overlay)),
            "scores_start": In(1), "scores_running": In(1), **{f"chunk_{name}": In(1) for name in CHUNK_FLAGS},
            "chunk_mask": In(lanes), "chunk_tokens": In(tokens),
            "unread": Out(1), "word_last": Out(1), "word_slot": Out(SLOT),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Queues; a word; what is beside it."""
        m = Module()
        begun = self._queues(m)
        goes = self._grant(m, begun.loops)
        m.d.comb += [
            self.word_last.eq(goes & self.request.payload.last), self.word_slot.eq(begun.slot),
            self.route.eq(begun.route),
        ]  # fmt: skip
        addresses = place(m, "addresses", ResultAddresses(overlay=self._overlay))
        m.d.comb += [
            addresses.loops.eq(begun.loops), addresses.goes.eq(goes), addresses.last.eq(self.request.payload.last),
            addresses.listed.eq(self.request.payload.index), self.buffer_residual.address.eq(addresses.residual),
        ]  # fmt: skip
        self._side_data(m, begun.loops, addresses)
        self._visibility(m, begun.loops, named(m, goes & addresses.block_done & begun.loops.scores, "scores_done"))
        self._write(m, begun.loops, addresses)
        return m

    def _queues(self, m: Module) -> Any:
        """Words leave after their sums have come: each side is at an operation of its own."""
        operations = place(m, "operations", Fifo(bits=operation_layout(self._overlay).size, depth=IN_FLIGHT))
        words = place(m, "words", Fifo(bits=begun_layout(self._overlay).size, depth=IN_FLIGHT))
        begun, offered = Signal(begun_layout(self._overlay), name="current"), self.npe_operation
        m.d.comb += [
            operations.write.eq(self.start), operations.write_data.eq(self.operation),
            offered.valid.eq(~operations.empty), offered.payload.eq(operations.head),
            operations.read.eq(offered.valid & offered.ready),
            words.write.eq(self.start), words.write_data.eq(self.begun), words.read.eq(self.word_last),
            begun.eq(words.head),
        ]  # fmt: skip
        return begun

    def _grant(self, m: Module, loops: Any) -> Value:
        """A residual needs a read port, what is written the cycle in which it will be."""
        request, residual = self.request, self.buffer_residual
        readable = named(m, ~loops.residual | residual.granted, "readable")
        writable = named(m, ~loops.writes | self.result_free, "writable")
        goes: Value = named(m, request.valid & request.ready, "goes")
        m.d.comb += [
            request.ready.eq(readable & writable), residual.valid.eq(request.valid & loops.residual & writable),
            self.reserve_result.eq(goes & loops.writes), self.unread.eq(~readable),
        ]  # fmt: skip
        return goes

    def _side_data(self, m: Module, loops: Any, addresses: Any) -> None:
        side = place(m, "side", MatrixSideData(overlay=self._overlay))
        scale, bias = self.constants_scale, self.constants_bias
        m.d.comb += [
            scale.half.eq(loops.half), scale.address.eq(addresses.scale),
            bias.half.eq(loops.half), bias.address.eq(addresses.bias),
            side.choice.scaled.eq(loops.scaled), side.choice.scores.eq(loops.scores),
            side.choice.granule.eq(addresses.granule), side.score_scale.eq(self.score_scale),
            side.scales.eq(scale.data), side.tile.eq(self.buffer_residual.data),
            self.scale.eq(side.scale), self.bias.eq(bias.data), self.residual.eq(side.residual),
        ]  # fmt: skip

    def _visibility(self, m: Module, loops: Any, block_done: Value) -> None:
        visibility, payload = place(m, "visibility", MatrixVisibility(overlay=self._overlay)), self.request.payload
        m.d.comb += [
            visibility.start.eq(self.scores_start), visibility.running.eq(self.scores_running),
            *(getattr(visibility, name).eq(getattr(self, f"chunk_{name}")) for name in CHUNK_PORTS),
            visibility.round_blocks.eq(loops.round_blocks), visibility.first_token.eq(loops.first_token),
            visibility.block_done.eq(block_done), visibility.index.eq(payload.index), visibility.part.eq(payload.part),
            self.visible.eq(delayed(m, visibility.visible, self._overlay.global_buffer.read_stages, "visible")),
        ]  # fmt: skip

    def _write(self, m: Module, loops: Any, addresses: Any) -> None:
        write = place(m, "write", MatrixResultWrite(overlay=self._overlay))
        m.d.comb += [
            write.target.address.eq(addresses.address), write.target.granule.eq(addresses.granule),
            write.target.inside.eq(addresses.inside), write.target.half.eq(loops.half_words),
            write.target.begins_tile.eq(addresses.begins_tile),
            write.valid.eq(self.result_valid), write.word.eq(self.result),
            *(getattr(self.buffer_result, name).eq(getattr(write.result, name)) for name in WRITTEN),
        ]  # fmt: skip
