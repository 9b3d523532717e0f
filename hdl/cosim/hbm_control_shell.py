"""DmaControl and KvControl side by side, all inputs in one word, all outputs in another."""

from typing import Any

from amaranth.hdl import Module, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from skipopu.hdl.dma_control import DmaControl
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.kv_control import KvControl
from skipopu.hdl.kv_layout import kv_shape, operation_layout
from skipopu.hdl.sequencer import CAUSE
from skipopu.hdl.tile_loop import ROW_BITS
from skipopu.hdl.verilog import Block, place
from skipopu.hdl.weight_stream import weights_layout
from skipopu.program.isa import WIDTH
from skipopu.spec.overlay import Overlay

ENGINE: dict[str, Any] = {"head": INSTRUCTION, "begins": 1, "begun": 1, "blocked": 1, "executed": ROW_BITS, "done": 1}
MORE: dict[str, dict[str, Any]] = {"dma": {"word_valid": 1, "word_ready": 1}, "kv": {"kv_cause": CAUSE}}
GIVEN = data.StructLayout({
    f"{control}_{name}": shape for control, more in MORE.items() for name, shape in (ENGINE | more).items()
})  # fmt: skip


class HbmControlShell(Block):
    """Both controls.

    Parameters
    ----------
    overlay : as theirs

    Ports
    -----
    given : in, `GIVEN` · found : out, ``found_layout``: what each control says

    Timing
    ------
    None of its own.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._overlay = overlay
        self.operations = {
            "dma": weights_layout(overlay.clock.hbm_ratio), "kv": operation_layout(kv_shape(overlay))
        }  # fmt: skip
        said = {"leave": 1, "list_gate": WIDTH["gate"], "list_mask": 1, "cause": CAUSE, "valid": 1}
        self.found_layout = data.StructLayout({
            f"{control}_{name}": shape for control, operation in self.operations.items()
            for name, shape in (said | {name: field.shape for name, field in operation}).items()
        })  # fmt: skip
        super().__init__({"given": In(GIVEN.size), "found": Out(self.found_layout.size)})

    def elaborate(self, platform: Any) -> Module:
        """Wires."""
        m = Module()
        given, found = data.View(GIVEN, self.given), data.View(self.found_layout, self.found)
        for control, block in (("dma", DmaControl(overlay=self._overlay)), ("kv", KvControl(overlay=self._overlay))):
            inner = place(m, control, block)
            for name in ENGINE | MORE[control]:
                m.d.comb += Value.cast(getattr(inner, name)).eq(Value.cast(given[f"{control}_{name}"]))
            for name in ("leave", "list_gate", "list_mask", "cause"):
                m.d.comb += found[f"{control}_{name}"].eq(getattr(inner, name))
            m.d.comb += [found[f"{control}_valid"].eq(inner.operation.valid), inner.operation.ready.eq(1)]
            for name, _ in self.operations[control]:
                m.d.comb += found[f"{control}_{name}"].eq(inner.operation.payload[name])
        return m
