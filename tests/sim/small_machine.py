"""Small models on small overlays: what the tests of the whole machine run, and arbitrary ones of them."""

from typing import Any

from hypothesis import strategies as st

from skipopu.program.compiler import compile_trace
from skipopu.results.audit import audit
from skipopu.sim.reference import simulate
from skipopu.sim.run import Run
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, synthesize

BOARD = Board.load("u280")
TINY = Overlay.load("tiny")


def shape(**changes: Any) -> ModelShape:
    """Two layers of 64 elements, two query heads a key head."""
    values: dict[str, Any] = {
        "layers": 2, "hidden_size": 64, "intermediate_size": 128, "attention_heads": 4, "kv_heads": 2,
        "head_dim": 16, "vocabulary": 256, "tied_embeddings": True, "qkv_bias": False, "qk_norm": False,
    }  # fmt: skip
    return ModelShape.from_values("small", "a test", **(values | changes))


def skipping(
    model: ModelShape, prompt: int = 8, decode: int = 4, skip: float = 0.25, seed: int = 1, **knobs: Any
) -> Trace:
    """A synthetic skipgpt trace of ``model``."""
    return synthesize("skipgpt", model, prompt=prompt, decode=decode, skip=skip, seed=seed, **knobs)


def run(trace: Trace, overlay: Overlay = TINY, board: Board = BOARD) -> Run:
    """Compile and simulate."""
    return simulate(compile_trace(trace, overlay, board), overlay, board)


def failed(found: Run, trace: Trace, overlay: Overlay = TINY) -> list[str]:
    """Checks of the audit that do not hold, with both numbers."""
    return [f"{check.name}: {check.detail}" for check in audit(found, trace, overlay) if not check.passed]


@st.composite
def overlays(draw: st.DrawFn) -> Overlay:
    """Any small overlay: array, ports, FIFOs, buffers and queues drawn independently."""
    ratio = draw(st.sampled_from([1, 2, 4, 8]))
    burst = 16 // ratio
    kv_map = draw(st.sampled_from(["token_wise", "token_wise", "interleaved"]))
    values = {
        "clock.hbm_ratio": ratio,
        "clock.core_mhz": BOARD.hbm.axi_mhz / ratio,
        "pe_array.columns": draw(st.sampled_from([2, 6, 8, 16, 24, 64])),
        "pe_array.dot_length": draw(st.sampled_from([16, 32, 64])),
        "npe.lanes": draw(st.sampled_from([2, 6, 16])),
        "psum.entries": 4096,  # 12 query heads, each in 64 parts of an array of 2 columns
        "global_buffer.tiles": 8192,
        "global_buffer.read_ports": draw(st.integers(2, 4)),
        "dma.hbm_ports": draw(st.integers(1, 8)),
        "dma.weight_chunks": draw(st.integers(max(8, burst), 64)),
        "dma.kv_chunks": draw(st.integers(max(8, burst), 64)),
        "dma.crossing_stages": draw(st.integers(3, 15)),
        "dma.request_ticks": draw(st.integers(3, 15)),
        "dma.read_bursts": draw(st.sampled_from([1, 2, 8, 32])),
        "dma.write_bursts": draw(st.sampled_from([1, 2, 8])),
        "dma.ddr_beats": draw(st.integers(16, 64)),
        "kv_buffer.map": kv_map,
        "kv_buffer.enabled": str(kv_map == "token_wise" and draw(st.booleans())).lower(),
        "kv_buffer.capacity_bytes": draw(st.sampled_from([0, 300, 4096, 65536])),
        "kv_buffer.ports": draw(st.integers(0, 4)),
        "kv_buffer.invalid_rounds": draw(st.sampled_from(["queues", "lock_step"])),
        "kv_buffer.queue_depth": draw(st.integers(2, 5)),
        "kv_buffer.round_queue": draw(st.integers(2, 4)),
        "kv_buffer.read_stages": draw(st.integers(1, 4)),
        "sequencer.queue_depth": draw(st.integers(1, 8)),
        "sequencer.fetch_instructions": draw(st.integers(32, 100)),
        "dataflow.row_block": draw(st.integers(1, 12)),
        "dataflow.fused": str(draw(st.booleans())).lower(),
        "dataflow.packed_heads": draw(st.integers(1, 2)),
    }
    return Overlay.load("tiny", tuple(f"{key}={value}" for key, value in values.items()))


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    """Any small skipgpt trace the compiler takes: shape, lengths, skip rates, K/V policy and router."""
    kv_heads, group = draw(st.sampled_from([2, 4])), draw(st.integers(1, 3))
    model = shape(
        layers=draw(st.integers(1, 3)), hidden_size=draw(st.sampled_from([48, 64, 96])),
        intermediate_size=draw(st.sampled_from([32, 80])),
        attention_heads=kv_heads * group, kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([16, 32, 80])), vocabulary=draw(st.sampled_from([20, 130])),
    )  # fmt: skip
    router = draw(st.sampled_from(["linear", "mlp", "bottleneck"]))
    return skipping(
        model, draw(st.integers(1, 14)), draw(st.integers(0, 4)), draw(st.sampled_from([0.0, 0.3, 0.6, 1.0])),
        draw(st.integers(0, 99)), router=router, router_hidden=0 if router == "linear" else 24,
        kv_policy=draw(st.sampled_from(["dense", "reuse_last", "evict"])),
        ffn_input=draw(st.sampled_from(["layer_input", "post_attention"])),
    )  # fmt: skip
