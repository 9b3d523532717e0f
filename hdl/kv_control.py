"""KV control: READ_KV becomes an operation of the KV buffer."""

from typing import Any

from amaranth.hdl import Module, Mux
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from skipopu.hdl.dma_control import executes, in_chunks
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_layout import kv_shape, operation_layout
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.isa import WIDTH
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay


class KvControl(Block):
    """The engine at the queue of READ_KV: an operation begins with its instruction and ends with it.

    Parameters
    ----------
    overlay : as of `KvBuffer`

    Ports
    -----
    head, begins, begun, blocked : in, from `EngineQueue` · leave : out: the instruction retires with this cycle
    list_gate, list_mask : out, of the instruction · executed : in, rows of that list, in the same cycle
    operation : out, stream, to `KvBuffer`; taken in the cycle it is offered
    done, kv_cause : in, its ``done`` and ``cause``
    cause : out, of the cycle

    Timing
    ------
    The operation is given in the cycle in which the instruction begins; ``leave`` in that of ``done``.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._shape = kv_shape(overlay)
        super().__init__({
            "head": In(INSTRUCTION), "begins": In(1), "begun": In(1), "blocked": In(1), "leave": Out(1),
            "list_gate": Out(WIDTH["gate"]), "list_mask": Out(1), "executed": In(ROW_BITS),
            "operation": Out(stream.Signature(operation_layout(self._shape))), "done": In(1), "kv_cause": In(CAUSE),
            "cause": Out(CAUSE),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m = Module()
        head, new = self.head, self.operation.payload
        m.d.comb += [
            self.list_gate.eq(head.gate), self.list_mask.eq(head.mask), self.operation.valid.eq(self.begins),
            new.executed.eq(executes(head, self.executed)), new.decode.eq(head.decode), new.value.eq(head.value),
            new.first_layer.eq(head.layer == 0), new.has_next.eq(head.following), new.row.eq(head.layer),
            new.tokens.eq(head.tokens), new.layer_base.eq(in_chunks(head.address, self._shape.chunk_bytes)),
            new.offset.eq(head.source), new.chunks.eq(head.columns),
            self.leave.eq(self.begun & self.done),
            self.cause.eq(Mux(self.blocked, Cause.SEMAPHORE, self.kv_cause)),
        ]  # fmt: skip
        return m
