"""Skip rates of a trace: of modules, parameters, multiplications and K/V bytes, kept apart."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.model_shape import ModelShape
from skipopu.trace.arrays import Bools
from skipopu.trace.context import keys_per_query
from skipopu.trace.layer_widths import Widths, width_groups
from skipopu.trace.schema import Trace

Shares = NDArray[np.float64]
ATTENTION, FFN = ("q", "k", "v", "o"), ("gate", "up", "down")


def summarise(trace: Trace) -> dict[str, Any]:
    """Return tokens and skip rates of a trace; rates are shares of what the same tokens take when dense.

    ``attention_skip``, ``ffn_skip``: of executions, group by group where the trace has groups;
    ``module_skip``: their mean; ``parameter_skip``: of the weights that rows meet, those that a static layer shape
    leaves out among them; ``mac_skip``: of multiply-accumulates in projections, scores and FFN (routers, low-rank
    stand-ins, experts and LM head not counted; block masks not applied); ``kv_byte_skip``: of K/V rows projected and
    stored. The ``routed`` rates leave out always-on layers and tokens.
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
        "parameter_skip": _parameter_skip(trace, attention, ffn),
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
    model, keys, run = trace.header.shape, keys_per_query(trace), 0.0
    for layer, rows, widths, of in _widths(trace):
        asks, reads = attention[layer, rows], trace.rows("kv")[layer, rows]
        run += float((asks * (of["q"] + of["o"] + 2 * widths.query * keys[layer, rows])).sum())  # QKᵀ and PV of a key
        run += float(reads.sum()) * (of["k"] + of["v"]) + float(ffn[layer, rows].sum()) * _of(of, FFN)
    dense = 2 * model.query_size * _dense_keys(trace) + model.attention_weights + model.ffn_weights
    return 1.0 - run / float(dense.sum())


def _parameter_skip(trace: Trace, attention: Shares, ffn: Shares) -> float:
    if not trace.header.layer_shapes:
        return parameter_skip(trace.header.shape, _skip(attention), _skip(ffn))
    met = 0.0
    for layer, rows, _, of in _widths(trace):
        met += float(attention[layer, rows].sum()) * _of(of, ATTENTION) + float(ffn[layer, rows].sum()) * _of(of, FFN)
    whole = trace.header.shape.attention_weights + trace.header.shape.ffn_weights
    return 1.0 - met / (attention.size * whole)


def _widths(trace: Trace) -> Iterator[tuple[int, Bools, Widths, dict[str, int]]]:
    """Yield layer, tokens of the same widths, those, and the multiply-accumulates of a row, which are its weights."""
    for layer in range(trace.layers):
        for rows, widths in width_groups(trace, layer):
            yield layer, rows, widths, widths.row_macs(trace.header.shape.gated)


def _of(macs: dict[str, int], names: tuple[str, ...]) -> int:
    return sum(macs.get(name, 0) for name in names)


def _dense_keys(trace: Trace) -> Shares:
    from skipopu.trace.twin import dense_like

    return keys_per_query(dense_like(trace)).astype(float)


def _skip(share: NDArray[Any]) -> float:
    return 1.0 - float(share.mean())


def _routed(share: Shares, always_on: tuple[int, ...], tokens: int) -> float:
    routed = np.delete(share, list(always_on), axis=0)[:, tokens:]
    return _skip(routed) if routed.size else 0.0
