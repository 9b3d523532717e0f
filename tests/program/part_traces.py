"""Small traces of families whose tokens run parts of modules: groups, experts, stand-ins."""

from dataclasses import replace

import numpy as np

from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Provenance, Trace, make_trace
from skipopu.trace.family import generate
from skipopu.trace.synthetic import synthesize

LAYERS, RANK = 3, 10
OVERLAY = Overlay.load("tiny", ("bitmask.lists=24", "bitmask.tokens=1024"))
KNOBS = {
    "wide": ("kv_heads_per_group=1", "ffn_group_size=32", "router_hidden=8"),
    "routing_free_moe": ("experts=5", "expert_size=24", "expert_rank=6", "density=0.4"),
}


FAMILIES = (*KNOBS, "lff")


def shape() -> ModelShape:
    """Groups of one K/V head or 32 channels are whole column blocks of the tiny overlay."""
    sizes = {"hidden_size": 64, "intermediate_size": 128, "attention_heads": 8, "kv_heads": 4, "head_dim": 32}
    flags = dict.fromkeys(("tied_embeddings", "qkv_bias", "qk_norm"), False)
    return ModelShape.from_values("grouped", "a test", layers=LAYERS, vocabulary=40, **sizes, **flags)


def part_trace(name: str, prompt: int = 12, decode: int = 3, seed: int = 1, *knobs: str) -> Trace:
    """A trace of "wide", "routing_free_moe" or "lff"."""
    if name == "lff":
        return approximated(synthesize("bernoulli", shape(), prompt, decode, 0.4, seed))
    given = dict(setting.split("=") for setting in (*KNOBS[name], *knobs))
    return generate(name, shape(), prompt, decode, seed=seed, knobs=[f"{key}={value}" for key, value in given.items()])


def approximated(plain: Trace) -> Trace:
    """Every row that skips a module runs a stand-in; LFF's own generator wants routers that no small model has."""
    rows = {kind: plain.rows(kind) for kind in ("q", "kv", "ffn")}
    header = replace(plain.header, family="lff", provenance=Provenance("synthetic", 1, {"rank": RANK}, "a test"))
    return make_trace(header, plain.steps, **rows, approx_rows=np.stack([~rows["q"], ~rows["ffn"]]))
