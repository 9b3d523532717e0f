"""Skip rates of a trace: of modules, parameters, multiplications and K/V bytes, kept apart."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.model_shape import ModelShape
from skipopu.trace.context import keys_per_query
from skipopu.trace.schema import Trace

Shares = NDArray[np.float64]


def summarise(trace: Trace) -> dict[str, Any]:
    """Return tokens and skip rates of a trace; rates are shares of what the same tokens take when dense.

    ``attention_skip``, ``ffn_skip``: of executions, group by group where the trace has groups;
    ``module_skip``: their mean; ``parameter_skip``: weighted by the weights of each module; ``mac_skip``: of
    multiply-accumulates in projections, scores and FFN (routers, low-rank stand-ins and LM head not counted;
    static layer shapes and block masks not applied); ``kv_byte_skip``: of K/V bytes projected and stored. The
    ``routed`` rates leave out always-on layers and tokens.
    """
    attention, ffn = module_shares(trace)
    a, f = _skip(attention), _skip(ffn)
    router = trace.header.router
    return {
        "tokens": trace.tokens,
        "prompt_tokens": trace.tokens - decode_tokens(trace),
        "decode_tokens": decode_tokens(trace),
        "steps": len(trace.steps),
        "attention_skip": a,
        "ffn_skip": f,
        "attention_skip_routed": _routed(attention, router.always_on_attention, router.always_on_tokens),
        "ffn_skip_routed": _routed(ffn, router.always_on_ffn, router.always_on_tokens),
        "module_skip": (a + f) / 2,
        "parameter_skip": parameter_skip(trace.header.shape, a, f),
        "mac_skip": _mac_skip(trace, attention, ffn),
        "kv_byte_skip": _skip(trace.rows("kv")),
    }


def decode_tokens(trace: Trace) -> int:
    """Tokens of decode and write steps."""
    return int(trace.steps.token_count[trace.steps.decoding()].sum())


def parameter_skip(shape: ModelShape, attention_skip: float, ffn_skip: float) -> float:
    """Return the share of a layer's weights skipped at the given shares of attention and FFN executions."""
    skipped = attention_skip * shape.attention_weights + ffn_skip * shape.ffn_weights
    return skipped / (shape.attention_weights + shape.ffn_weights)


def module_shares(trace: Trace) -> tuple[Shares, Shares]:
    """Return how much of attention and FFN ran, [layers, tokens] in 0..1: rows, or shares of their groups."""
    heads, channels = trace.array("head_groups"), trace.array("ffn_groups")
    attention = trace.rows("q").astype(float) if heads is None else heads.mean(axis=2)
    ffn = trace.rows("ffn").astype(float) if channels is None else channels.mean(axis=2)
    return attention, ffn


def _mac_skip(trace: Trace, attention: Shares, ffn: Shares) -> float:
    shape, hidden = trace.header.shape, trace.header.shape.dimensions.hidden_size
    query = hidden * 2 * shape.query_size  # Q and O of one row
    kv = hidden * 2 * shape.kv_size
    per_key = 2 * shape.query_size  # QKᵀ and PV of one row and key
    run = (
        attention * (query + per_key * keys_per_query(trace))
        + trace.rows("kv") * kv
        + ffn * shape.ffn_weights
    )
    dense = query + per_key * _dense_keys(trace) + kv + shape.ffn_weights
    return 1.0 - float(run.sum() / dense.sum())


def _dense_keys(trace: Trace) -> Shares:
    from skipopu.trace.twin import dense_like

    return keys_per_query(dense_like(trace)).astype(float)


def _skip(share: NDArray[Any]) -> float:
    return 1.0 - float(share.mean())


def _routed(share: Shares, always_on: tuple[int, ...], tokens: int) -> float:
    routed = np.delete(share, list(always_on), axis=0)[:, tokens:]
    return _skip(routed) if routed.size else 0.0
