"""Small shapes and traces, compiled for the tiny overlay."""

from functools import cache
from typing import Any

from skipopu.program.compiler import compile_trace
from skipopu.program.program import Program
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, synthesize

DIMENSIONS = {
    "layers": 3, "hidden_size": 64, "intermediate_size": 128, "attention_heads": 4, "kv_heads": 2,
    "head_dim": 16,
    "vocabulary": 100, "tied_embeddings": False, "qkv_bias": False, "qk_norm": False,
}  # fmt: skip


def shape(**changes: Any) -> ModelShape:
    """A three-layer model with grouped queries."""
    return ModelShape.from_values("small", "a test", **(DIMENSIONS | changes))


def trace(
    prompt: int = 12, decode: int = 3, skip: float = 0.4, family: str = "skipgpt", **changes: Any
) -> Trace:
    """A routed trace; ``changes`` are dimensions or knobs."""
    dimensions = {k: changes.pop(k) for k in list(changes) if k in DIMENSIONS}
    target = {} if family == "dense" else {"skip": skip}
    return synthesize(family, shape(**dimensions), prompt=prompt, decode=decode, seed=1, **target, **changes)


@cache
def tiny(settings: tuple[str, ...] = ()) -> Overlay:
    """The tiny overlay, read once."""
    return Overlay.load("tiny", settings)


@cache
def board() -> Board:
    """The shipped board, read once."""
    return Board.load("u280")


def program(of: Trace, *settings: str) -> Program:
    """Compile for the tiny overlay."""
    return compile_trace(of, tiny(settings), board())


HIDDEN = {"router_hidden": 24}
# name → (trace, overlay settings): every router, input point, K/V policy, and blocking that splits something
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "dense": ({"family": "dense"}, ()),
    "linear": ({}, ()),
    "linear_layer_input": ({"ffn_input": "layer_input"}, ()),
    "no_layer_always_on": ({"ffn_input": "layer_input", "always_on_attention": (), "kv_policy": "dense"}, ()),
    "bottleneck": ({"router": "bottleneck", **HIDDEN}, ()),
    "bottleneck_layer_input": ({"router": "bottleneck", "ffn_input": "layer_input", **HIDDEN}, ()),
    "mlp": ({"router": "mlp", **HIDDEN}, ()),
    "mlp_layer_input": ({"router": "mlp", "ffn_input": "layer_input", **HIDDEN}, ()),
    "kv_dense": ({"kv_policy": "dense"}, ()),
    "kv_evict": ({"kv_policy": "evict"}, ()),
    "many_heads": ({"attention_heads": 8, "kv_heads": 4, "head_dim": 32}, ()),
    "multi_head": ({"kv_heads": 4}, ()),
    "padded_heads": ({"attention_heads": 8, "kv_heads": 4, "head_dim": 20, "hidden_size": 72}, ()),
    "biases": ({"qkv_bias": True}, ()),
    "small_constants": ({"qkv_bias": True, "family": "dense"}, ("constants.half_bytes=256",)),
    "all_skipped": ({"skip": 1.0}, ()),
    "one_token": ({"prompt": 1, "decode": 0}, ()),
    "no_buffer": ({"decode": 8}, ("kv_buffer.enabled=false",)),
    "one_column_block": ({}, ("pe_array.columns=64",)),
    "fp16_weights": ({}, ("datatypes.weights=fp16", "datatypes.lm_head=fp16")),
    "many_ports": ({}, ("dma.hbm_ports=8",)),
    "row_wise": ({}, ("dataflow.fused=false", "dataflow.packed_heads=1")),
    "row_wise_dense": ({"family": "dense"}, ("dataflow.fused=false",)),
    "row_wise_kv_dense": ({"kv_policy": "dense", "ffn_input": "layer_input"}, ("dataflow.fused=false",)),
    "row_wise_mlp": ({"router": "mlp", **HIDDEN}, ("dataflow.fused=false",)),
}


@cache
def compiled(name: str) -> Program:
    """The program of a case."""
    changes, settings = CASES[name]
    return program(trace(**changes), *settings)
