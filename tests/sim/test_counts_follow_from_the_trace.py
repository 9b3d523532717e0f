"""Bytes and busy cycles follow from the trace, the shape and the overlay."""

from expected_counts import differences
from hypothesis import given, settings
from small_machine import BOARD, overlays, traces

from skipopu.program.compiler import compile_trace
from skipopu.sim.reference import simulate
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace


@settings(max_examples=80)
@given(trace=traces(), overlay=overlays())
def test_bytes_and_busy_cycles(trace: Trace, overlay: Overlay) -> None:
    program = compile_trace(trace, overlay, BOARD)
    assert differences(program, overlay, simulate(program, overlay, BOARD)) == []
