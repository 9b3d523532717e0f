"""Values that a run must leave whatever its times are: decisions, logits, both memories, bytes moved."""

from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_contents import different_byte
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.hdl.cosim.overlay_logits import different_logits
from skipopu.hdl.cosim.overlay_outcome import RtlOutcome
from skipopu.hdl.cosim.overlay_routing import different_routing, expected_routing
from skipopu.hdl.cosim.overlay_traffic import different_traffic, together
from skipopu.program.program import Program
from skipopu.sim.functional.machine import Outcome
from skipopu.sim.run import Run
from skipopu.spec.overlay import DDR_CHANNELS


def different_values(case: Case, functional: Outcome, run: Run, rtl: RtlOutcome) -> list[OverlayDifference | None]:
    """Return the first difference of each kind."""
    hbm, ddr = regions(case.program)
    return [
        different_routing(expected_routing(case.program), rtl.routing),
        different_logits(case.numerics.logits, rtl.logits),
        different_byte("HBM", functional.image.hbm, rtl.image.hbm, hbm),
        different_byte("DDR4", functional.image.ddr.channels, rtl.image.ddr.channels, ddr),
        different_traffic(together(run.traffic.sum(axis=0)), rtl.traffic),
    ]


def regions(program: Program) -> tuple[dict[str, int], dict[str, int]]:
    """Return name → first byte in every port of HBM, and in every channel of DDR4."""
    memory, layers = program.context.memory, program.context.trace.layers
    weights = {f"{name} of layer {layer}": matrix.offset for (layer, name), matrix in memory.matrices.items()}
    vectors = {
        f"{'KV'[value]} of layer {layer}": memory.kv_address(layer, value)
        for layer in range(layers) for value in (0, 1)
    }  # fmt: skip
    return weights | vectors, {name: first // DDR_CHANNELS for name, first in memory.ddr.items()}
