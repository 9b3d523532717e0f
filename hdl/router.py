"""Router path: from the logits of a token to its bits, its place in the row lists, and the bitmask of its layer."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import index
from skipopu.hdl.npe.fields import FP32
from skipopu.hdl.npe.router import Router
from skipopu.hdl.pipeline import delayed
from skipopu.hdl.row_list import COUNTS, GATES, LOOKUP, READERS, RowList
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

ATTENTION, FFN = range(len(GATES))  # bits of a token
PAIR = 2  # logits of a router: execute, skip


def route_layout(overlay: Overlay) -> data.StructLayout:
    """ROUTE: the rows of a block through the routers of ``gates``, bit 0 attention, bit 1 ffn; at least one of them."""
    return data.StructLayout({
        "gates": len(GATES), "mask": 1,  # register
        "rows": ROW_BITS,  # of the block, at least 1
        "layer": index(overlay.bitmask.rows), "first_token": index(overlay.bitmask.tokens),  # of row 0
        # every row is a token of the bitmask: first_token + rows is at most bitmask.tokens
    })  # fmt: skip


class RouterPath(Block):
    """Compare the logits of a token, then note its bits: row mask and row list of each gate, and attention's bitmask.

    A tie and a NaN execute. Both gates: the first two logits are attention's and the next two ffn's, (execute, skip)
    each; one gate: the first two are its own.

    Parameters
    ----------
    overlay : takes ``npe.route_stages``, ``dataflow.row_block``, ``bitmask``

    Ports
    -----
    start, operation : in, the operation of the logits from this cycle on, this one included; `route_layout`
    logits_valid, logits, row : in, a token: 4 × FP32, its row in the block; always taken
    mask_write, mask_row, mask_token, mask_bit : out, to `Bitmask`: attention's bit of a layer and token
    operand, result : lookups of `RowList`, answered in the same cycle
    bit_mask, bit_row : in · row_bits : out, the bits of a row in a mask register, in the same cycle
    counts : out, executed rows in the lists: see `RowList`

    Timing
    ------
    A token a cycle, at most; no gap is needed between operations. What a token changes can be read ``npe.route_stages``
    cycles after its logits: count, list entry, row bits; the bitmask scanned in that cycle has its bit, too. ``start``
    goes the same way: ``npe.route_stages`` cycles after it the operation's lists are empty (a token of the same cycle
    apart) and the count of gate ALL is its ``rows``; until then they are what the operation before made them. So a mask
    register is complete ``npe.route_stages`` cycles after the operation's last logits.

    Raises
    ------
    SpecError : ``dataflow.row_block`` out of range, or more rows than ``bitmask.tokens``
    """

    def __init__(self, *, overlay: Overlay) -> None:
        _check(overlay)
        self._overlay = overlay
        b = overlay.bitmask
        super().__init__({
            "start": In(1), "operation": In(route_layout(overlay)),
            "logits_valid": In(1), "logits": In(data.ArrayLayout(FP32.bits, PAIR * len(GATES))), "row": In(ROW_BITS),
            "mask_write": Out(1), "mask_row": Out(index(b.rows)), "mask_token": Out(index(b.tokens)),
            "mask_bit": Out(1), **{reader: In(LOOKUP) for reader in READERS},
            "bit_mask": In(1), "bit_row": In(ROW_BITS), "row_bits": Out(len(GATES)),
            "counts": Out(data.ArrayLayout(COUNTS, len(GATES))),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Compare; what belongs to the token goes beside; the last of the stages is the memories' own."""
        m = Module()
        stages = self._stages()
        rows = place(m, "rows", RowList(rows=self._overlay.dataflow.row_block))
        operation = self._operation(m)
        executes = self._compare(m, operation, stages)
        m.d.comb += [
            rows.start.eq(self._valid(m, self.start, stages, "starts")),
            rows.write.eq(self._valid(m, self.logits_valid, stages, "routed")), rows.executes.eq(executes),
        ]  # fmt: skip
        self._note(m, rows, delayed(m, self._token(m, operation), stages, "token"))
        for reader in READERS:
            wiring.connect(m, wiring.flipped(getattr(self, reader)), getattr(rows, reader))
        m.d.comb += [rows.bit_mask.eq(self.bit_mask), rows.bit_row.eq(self.bit_row), self.row_bits.eq(rows.row_bits)]
        m.d.comb += self.counts.eq(rows.counts)
        return m

    def _stages(self) -> int:
        """From the logits to the memories' write ports."""
        return self._overlay.npe.route_stages - 1

    def _operation(self, m: Module) -> Any:
        """The operation in force, from its first cycle on."""
        layout = route_layout(self._overlay)
        held, operation = Signal(layout, name="held_operation"), Signal(layout, name="current")
        with m.If(self.start):
            m.d.sync += held.eq(self.operation)
        m.d.comb += operation.eq(Mux(self.start, self.operation.as_value(), held.as_value()))
        return operation

    def _compare(self, m: Module, operation: Any, stages: int) -> Value:
        """The bits of a token, of which a gate that is not routed means nothing."""
        found = []
        for gate, name in ((ATTENTION, "attention"), (FFN, "ffn")):
            router = place(m, f"{name}_router", Router(stages=stages))
            execute, skip = self._pair(operation, gate)
            m.d.comb += [router.execute.eq(execute), router.skip.eq(skip)]
            found.append(router.executes)
        return Cat(*found)

    def _pair(self, operation: Any, gate: int) -> tuple[Value, Value]:
        """Logits of a gate: (execute, skip)."""
        second = operation.gates[ATTENTION] if gate == FFN else 0
        execute, skip = (Mux(second, self.logits[PAIR + k], self.logits[k]) for k in range(PAIR))
        return execute, skip

    def _token(self, m: Module, operation: Any) -> Any:
        """What goes along with the logits."""
        b = self._overlay.bitmask
        token = Signal(data.StructLayout({
            "gates": len(GATES), "mask": 1, "rows": ROW_BITS, "row": ROW_BITS, "layer": index(b.rows),
            "token": index(b.tokens),
        }), name="token")  # fmt: skip
        for field in ("gates", "mask", "rows", "layer"):
            m.d.comb += token[field].eq(operation[field])
        m.d.comb += [token.row.eq(self.row), token.token.eq(operation.first_token + self.row)]
        return token

    def _valid(self, m: Module, value: Value, stages: int, name: str) -> Value:
        """The bits of the pipeline that reset must clear."""
        if not stages:
            return value
        line = Signal(stages, name=name)
        m.d.sync += line.eq(Cat(value, line))
        return line[-1]

    def _note(self, m: Module, rows: Any, token: Any) -> None:
        """Bits to row list and bitmask."""
        m.d.comb += [
            rows.gates.eq(token.gates), rows.mask.eq(token.mask), rows.rows.eq(token.rows), rows.row.eq(token.row),
            self.mask_write.eq(rows.write & token.gates[ATTENTION]), self.mask_row.eq(token.layer),
            self.mask_token.eq(token.token), self.mask_bit.eq(rows.executes[ATTENTION]),
        ]  # fmt: skip


def _check(overlay: Overlay) -> None:
    """Raise SpecError for a row block that row list or bitmask cannot hold."""
    rows, tokens = overlay.dataflow.row_block, overlay.bitmask.tokens
    if rows > tokens:
        what = f"every row of a row block is a token of the bitmask (bitmask.tokens = {tokens}); valid: 1..{tokens}"
        raise SpecError(f"overlay {overlay.name}: dataflow.row_block = {rows}; {what}")
    RowList(rows=rows)
