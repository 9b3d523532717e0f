"""Random small models on random small overlays: seeds from which programs are drawn, and the overlays they run on."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from skipopu.hdl.cosim.overlay_seed import Seed

OVERLAYS = 10
# leaves of an overlay and what is drawn of them: ports, columns, and every FIFO and queue from its least depth on
CHOICES: dict[str, tuple[Any, ...]] = {
    "dma.hbm_ports": (1, 2, 3, 4, 6, 8),
    "pe_array.columns": (4, 8, 16),
    "npe.lanes": (4, 8, 16),
    "kv_buffer.enabled": ("true", "true", "false"),
    "kv_buffer.ports": (1, 2, 3),
    "kv_buffer.capacity_bytes": (512, 4096),
    "kv_buffer.invalid_rounds": ("queues", "lock_step"),
    "kv_buffer.queue_depth": (2, 3, 4, 8),
    "kv_buffer.round_queue": (2, 3, 8),
    "dma.weight_chunks": (8, 9, 16),
    "dma.kv_chunks": (8, 11, 16),
    "dma.read_bursts": (1, 2, 8),
    "dma.write_bursts": (1, 2, 8),
    "dma.ddr_beats": (16, 32),
    "dma.ddr_read_bursts": (1, 2, 8),
    "dma.ddr_write_bursts": (1, 2, 4),
    "sequencer.queue_depth": (1, 2, 3, 8),
    "sequencer.fetch_instructions": (32, 40, 64),
    "ifm.rows": (8, 16, 32),
    "global_buffer.read_ports": (2, 3, 4),
    "dataflow.row_block": (1, 3, 8),
    "dataflow.packed_heads": (1, 2),
    "dataflow.fused": ("true", "true", "false"),
}


def overlay_settings(number: int) -> tuple[str, ...]:
    """Return the settings of one of `OVERLAYS` overlays, on top of ``tiny``."""
    rng = np.random.default_rng(number)
    return tuple(f"{key}={values[rng.integers(len(values))]}" for key, values in CHOICES.items())


@st.composite
def seeds(draw: st.DrawFn, settings: tuple[str, ...]) -> Seed:
    """Any small model: shape, routers, K/V policy, lengths; the seed decides which tokens skip."""
    kv_heads, router = draw(st.sampled_from([2, 4])), draw(st.sampled_from(["linear", "linear", "mlp", "bottleneck"]))
    return Seed(
        seed=draw(st.integers(0, 9999)), settings=settings, layers=draw(st.integers(1, 2)),
        hidden_size=draw(st.sampled_from([16, 24, 32, 48])), intermediate_size=draw(st.sampled_from([16, 32, 40])),
        attention_heads=kv_heads * draw(st.integers(1, 2)), kv_heads=kv_heads,
        head_dim=draw(st.sampled_from([8, 16, 20])), vocabulary=draw(st.sampled_from([8, 20, 33])),
        qkv_bias=draw(st.booleans()), router=router, router_hidden=0 if router == "linear" else 16,
        ffn_input=draw(st.sampled_from(["post_attention", "layer_input"])),
        kv_policy=draw(st.sampled_from(["reuse_last", "dense"])),
        prompt=draw(st.integers(1, 8)), decode=draw(st.integers(0, 3)),
    )  # fmt: skip
