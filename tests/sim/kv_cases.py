"""Arbitrary overlays and masks for the K/V reads: up to 64 HBM ports, 32 buffer ports, 4096 tokens of buffer."""

from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_machine import shape

from skipopu import machine
from skipopu.program.context import Context, resolve
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, make_trace, synthesize

MOST_PORTS, MOST_BANKS, MOST_TOKENS = 64, 32, 4096
WIDE = machine("tiny", "u280", (f"board.hbm.channels={MOST_PORTS}",))[1]  # one channel a port
TOKEN_BYTES = 256  # K and V of a token: two heads of 16 elements, padded to 32


@st.composite
def overlays(draw: st.DrawFn) -> Overlay:
    """Any overlay as far as K/V reads see it; without the invariance buffer where the map is interleaved."""
    spread = draw(st.sampled_from([False, False, False, True]))
    banks = draw(st.integers(0, MOST_BANKS))
    values: dict[str, Any] = {
        "pe_array.columns": draw(st.sampled_from([8, 64, 192])),
        "pe_array.dot_length": draw(st.sampled_from([16, 64])),
        "psum.entries": 2048, "ifm.rows": 2048, "global_buffer.tiles": 16384, "bitmask.tokens": 4096,
        "dma.hbm_ports": draw(st.integers(1, MOST_PORTS)),
        "dma.kv_chunks": draw(st.integers(8, 64)),
        "dma.crossing_stages": draw(st.integers(3, 15)),
        "dma.request_ticks": draw(st.integers(3, 15)),
        "dma.read_bursts": draw(st.sampled_from([1, 2, 8, 32])),
        "kv_buffer.map": "interleaved" if spread else "token_wise",
        "kv_buffer.enabled": str(not spread).lower(),
        "kv_buffer.ports": banks,
        "kv_buffer.capacity_bytes": TOKEN_BYTES * draw(st.integers(0, MOST_TOKENS) | st.integers(1, 64)),
        "kv_buffer.invalid_rounds": draw(st.sampled_from(["queues", "lock_step"])),
        "kv_buffer.queue_depth": draw(st.integers(2, 16)),
        "kv_buffer.round_queue": draw(st.integers(2, 16)),
        "kv_buffer.read_stages": draw(st.integers(1, 8)),
    }  # fmt: skip
    return Overlay.load("tiny", tuple(f"{key}={value}" for key, value in values.items()))


@st.composite
def traces(draw: st.DrawFn, most_tokens: int = 160) -> Trace:
    """Any masks: skip rates, sticky or not from layer to layer, under each K/V policy; the last tokens are decoded."""
    layers, decode = draw(st.integers(2, 6)), draw(st.integers(1, 4))
    tokens = decode + draw(st.integers(1, most_tokens))
    executed = _mask(draw(st.integers(0, 2**32)), layers, tokens, draw(st.sampled_from([0.1, 0.3, 0.6, 0.9])),
                     sticky=draw(st.booleans()))  # fmt: skip
    executed[:, -decode:] |= draw(st.booleans())  # the decoded tokens execute every layer: the buffer stays valid
    policy = draw(st.sampled_from(["reuse_last", "reuse_last", "reuse_last", "dense", "evict"]))
    return trace_of(executed, policy, decode, draw(st.sampled_from([2, 4])))


def trace_of(executed: NDArray[np.bool_], policy: str, decode: int, kv_heads: int = 2) -> Trace:
    """A trace whose attention runs where ``executed`` [layers, tokens] says."""
    model = shape(layers=len(executed), kv_heads=kv_heads)
    plan = synthesize("skipgpt", model, executed.shape[1] - decode, decode, kv_policy=policy)
    everywhere = np.ones_like(executed)
    kv = everywhere if policy == "dense" else executed
    return make_trace(plan.header, plan.steps, q=executed, kv=kv, ffn=everywhere)


def _mask(seed: int, layers: int, tokens: int, skip: float, sticky: bool) -> NDArray[np.bool_]:
    random = np.random.default_rng(seed)
    executed = random.random((layers, tokens)) >= skip
    if sticky:
        for layer in range(1, layers):
            executed[layer] = np.where(random.random(tokens) < 0.7, executed[layer - 1], executed[layer])
    executed[0] = True
    return executed


def resolved(trace: Trace, overlay: Overlay, board: Board = WIDE) -> Context:
    """The trace's needs on the overlay."""
    return resolve(trace, overlay, board)
