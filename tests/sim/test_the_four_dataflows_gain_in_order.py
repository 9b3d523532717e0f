"""SkipOPU §5.3: from baseline to fused K/V reuse, attention of a Llama-2-7B layer never gets slower."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from small_machine import BOARD, failed, overlays, shape, skipping, traces

from skipopu.program.compiler import compile_trace
from skipopu.program.dataflow import DATAFLOWS
from skipopu.results.attention import Attention
from skipopu.sim.reference import simulate
from skipopu.sim.run import Run
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Block, Cause, Part, Phase
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, dense_like, partial_skip_like, synthesize

LAYERS = ("layers=2", "intermediate_size=128")  # the FFN is not looked at
MOST_CYCLES = 3_000_000


def run(trace: Trace, name: str, overlay: str = "skipopu-u280") -> tuple[Run, Trace]:
    """Simulate a trace in a dataflow; return also the trace that ran."""
    flow = DATAFLOWS[name]
    machine, given = Overlay.load(overlay, flow.settings), flow.of(trace)
    found = simulate(compile_trace(given, machine, BOARD), machine, BOARD)
    assert failed(found, given, machine) == []
    return found, given


@pytest.mark.parametrize("prompt", [48, 96])
def test_prefill_of_a_llama_layer_gains_with_every_step(prompt: int) -> None:
    trace = synthesize("skipgpt", ModelShape.load("llama2-7b", LAYERS), prompt, 0, skip=0.5, seed=1)
    found = [Attention(name, run(trace, name)[0].parts).cycles(Phase.PREFILL) for name in DATAFLOWS]
    assert all(a > b for a, b in pairwise(found)), found


def test_every_step_saves_what_it_is_there_for() -> None:
    """Skipped queries, skipped keys and values, then the passes of the NPE and half of the scores."""
    trace = skipping(shape(layers=3), 16, 0, 0.5, always_on_attention=(0,))
    baseline, partial, reuse, fused = (run(trace, name, "tiny")[0].parts[0] for name in DATAFLOWS)
    busy = [found[:, Cause.BUSY] for found in (baseline, partial, reuse, fused)]
    assert busy[0][Part.OUTPUT] > busy[1][Part.OUTPUT] == busy[2][Part.OUTPUT] == busy[3][Part.OUTPUT]
    projected = [found[Part.PROJECTIONS] for found in busy]
    assert projected[0] > projected[1] > projected[2] == projected[3]
    assert busy[2][Part.SCORES] == 2 * busy[3][Part.SCORES]
    assert min(found[Part.SOFTMAX].sum() for found in (baseline, partial, reuse)) > 0
    assert fused[Part.SOFTMAX].sum() == fused[Part.NORM].sum() == 0


@settings(max_examples=30)
@given(trace=traces(), overlay=overlays())
def test_any_trace_runs_in_every_dataflow(trace: Trace, overlay: Overlay) -> None:
    """The overlay's own dataflow, drawn at random, on each of the three traces that one trace stands for."""
    for given_trace in (dense_like(trace), partial_skip_like(trace), trace):
        found = simulate(compile_trace(given_trace, overlay, BOARD), overlay, BOARD, max_cycles=MOST_CYCLES)
        assert failed(found, given_trace, overlay) == []
        assert np.array_equal(found.parts.sum(axis=1), found.ledger[:, Block.PE_ARRAY])
        a = Attention("", found.parts)
        assert [sum(a.rows(phase).values()) for phase in Phase] == [a.cycles(phase) for phase in Phase]


def test_partial_skip_keeps_queries_and_computes_every_key() -> None:
    trace = skipping(shape(layers=3), 12, 2, 0.5)
    twin = partial_skip_like(trace)
    assert twin.header.kv_policy == "dense"
    assert twin.rows("kv").all()
    for kind in ("q", "ffn"):
        assert np.array_equal(twin.rows(kind), trace.rows(kind))
    assert not trace.rows("kv").all()
    assert trace.sha256[:16] in twin.header.provenance.source
    assert partial_skip_like(twin).rows("kv").all()


@pytest.mark.parametrize("policy", ["dense", "evict"])
@pytest.mark.parametrize("name", ["kv_reuse", "kv_reuse_fused"])
def test_what_cannot_be_reused_is_refused(name: str, policy: str) -> None:
    with pytest.raises(SpecError, match=f"kv_policy = {policy}.*reuse_last"):
        DATAFLOWS[name].of(skipping(shape(), kv_policy=policy))
