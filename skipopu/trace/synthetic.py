"""Synthetic traces: the routing of a full-size model without the model."""

import dataclasses
from typing import Any

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace.arrays import Bools
from skipopu.trace.check import in_range
from skipopu.trace.field import uniform_layers
from skipopu.trace.header import Header, Provenance, Segment
from skipopu.trace.knobs import Knobs, check_knobs, preset
from skipopu.trace.rates import row_rates
from skipopu.trace.router import Router
from skipopu.trace.schema import Trace, make_trace
from skipopu.trace.steps import Steps
from skipopu.trace.vocabulary import MODULES, StepPhase

MOST_TOKENS = 2**17  # the longest context of the shipped shapes


def synthesize(
    family: str = "skipgpt",
    shape: ModelShape | str = "llama2-7b",
    prompt: int = 128,
    decode: int = 1024,
    skip: float | None = None,
    seed: int = 0,
    **knobs: Any,
) -> Trace:
    """Make a trace of ``prompt`` prefilled and ``decode`` decoded tokens at batch 1.

    ``family`` is a preset of presets.toml. ``skip`` is the target mean of attention and FFN skip rates; their
    ratio stays that of the preset unless ``attention_skip`` or ``ffn_skip`` is given. ``knobs`` are fields of
    ``Knobs``. With the same seed a larger skip rate skips a superset of rows. Raises SpecError for a bad
    knob, naming its range and the nearest valid value.
    """
    model = ModelShape.load(shape) if isinstance(shape, str) else shape
    in_range("prompt", prompt, 1, MOST_TOKENS)
    in_range("decode", decode, 0, MOST_TOKENS - prompt)
    in_range("seed", seed, 0, 2**63 - 1)
    label, values = preset(family)
    given = check_knobs(knobs)
    chosen = Knobs(**check_knobs(values | given | split_skip(values, given, skip)))
    header = _header(label, family, model, chosen, prompt, decode, seed)
    heads, channels = _run(header, chosen, prompt + decode, seed)
    steps = Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * decode, [prompt] + [1] * decode)
    q = np.asarray(heads.any(axis=2))
    return make_trace(
        header,
        steps,
        q=q,
        kv=np.ones_like(q) if chosen.kv_policy == "dense" else q,
        ffn=np.asarray(channels.any(axis=2)),
        head_groups=heads if header.head_groups else None,
        ffn_groups=channels if header.ffn_groups else None,
    )


def split_skip(defaults: dict[str, Any], given: dict[str, Any], skip: float | None) -> dict[str, float]:
    """Return attention and FFN skip rates with mean ``skip``, none where that is not given."""
    if skip is None:
        return {}
    if isinstance(skip, bool) or not isinstance(skip, int | float) or not 0 <= skip <= 1:
        nearest = "1" if isinstance(skip, int | float) and skip > 1 else "0"
        raise SpecError(f"skip = {skip}; must be in 0..1 share; nearest: {nearest}")
    fixed = [f"{module}_skip" for module in MODULES if f"{module}_skip" in given]
    if len(fixed) == 2:
        raise SpecError(f"skip = {skip:g} beside attention_skip and ffn_skip; give the mean or both rates")
    if fixed:
        return {
            f"{module}_skip": 2 * skip - given[fixed[0]] for module in MODULES if f"{module}_skip" != fixed[0]
        }
    attention, ffn = defaults["attention_skip"], defaults["ffn_skip"]
    lead = (attention - ffn) / (attention + ffn) if attention + ffn else 0.0
    larger = min(1.0, skip * (1 + abs(lead)))
    pair = (larger, 2 * skip - larger)
    return dict(zip(("attention_skip", "ffn_skip"), pair if lead >= 0 else pair[::-1], strict=True))


def _header(
    label: str, name: str, model: ModelShape, knobs: Knobs, prompt: int, decode: int, seed: int
) -> Header:
    _check(model, knobs)
    router = Router(
        kind=knobs.router,
        hidden=knobs.router_hidden,
        ffn_input=knobs.ffn_input,
        always_on_attention=knobs.always_on_attention,
        always_on_ffn=knobs.always_on_ffn,
        always_on_tokens=knobs.always_on_tokens,
        shared=knobs.shared,
    )
    d = model.dimensions
    head_groups = d.kv_heads // knobs.kv_heads_per_group if knobs.kv_heads_per_group else 0
    return Header(
        family=label,
        shape=model,
        router=router,
        kv_policy=knobs.kv_policy,
        provenance=Provenance("synthetic", seed, dataclasses.asdict(knobs), f"preset {name}"),
        segments=(Segment("text", 0, prompt), *([Segment("target", prompt, decode)] if decode else [])),
        head_groups=head_groups,
        ffn_groups=d.intermediate_size // knobs.ffn_group_size if knobs.ffn_group_size else 0,
    )


def _check(model: ModelShape, knobs: Knobs) -> None:
    d = model.dimensions
    for name, size, whole in (
        ("kv_heads_per_group", knobs.kv_heads_per_group, d.kv_heads),
        ("ffn_group_size", knobs.ffn_group_size, d.intermediate_size),
    ):
        if size and whole % size:
            nearest = min((k for k in range(1, whole + 1) if whole % k == 0), key=lambda k: abs(k - size))
            raise SpecError(
                f"knob {name} = {size} must divide {whole} of shape {model.name}; nearest: {nearest}"
            )
    if knobs.router == "none" and knobs.attention_skip + knobs.ffn_skip > 0:
        raise SpecError("knob router = none skips nothing; set skip to 0 or choose a router, e.g. linear")
    if knobs.kv_policy == "reuse_last" and knobs.attention_skip > 0 and 0 not in knobs.always_on_attention:
        raise SpecError(
            f"knob always_on_attention = {knobs.always_on_attention}; kv_policy reuse_last needs layer 0,"
            " a token skipped there has no earlier K/V; nearest: add 0, or kv_policy=dense"
        )
    if knobs.shared and _decision(knobs, "attention") != _decision(knobs, "ffn"):
        raise SpecError(
            "knob shared = true takes one decision for both modules; give attention and ffn the same knobs"
        )


def _decision(knobs: Knobs, module: str) -> tuple[Any, ...]:
    names = (*(f"{module}_{name}" for name in ("skip", "profile", "slope")), f"always_on_{module}")
    return tuple(getattr(knobs, name) for name in names)


def _run(header: Header, knobs: Knobs, tokens: int, seed: int) -> tuple[Bools, Bools]:
    attention = _decide(header, knobs, "attention", tokens, header.head_groups, (seed, 0))
    ffn = _decide(header, knobs, "ffn", tokens, header.ffn_groups, (seed, 0 if knobs.shared else 1))
    return attention, ffn


def _decide(
    header: Header, knobs: Knobs, module: str, tokens: int, groups: int, seed: tuple[int, ...]
) -> Bools:
    """Return which groups of a module run, [layers, tokens, groups or 1]."""
    layers, held = header.shape.dimensions.layers, min(knobs.always_on_tokens, tokens)
    routed = [layer for layer in range(layers) if layer not in getattr(knobs, f"always_on_{module}")]
    settings = {name: getattr(knobs, f"{module}_{name}") for name in ("skip", "profile", "slope")}
    rates = row_rates(module, **settings, layers=len(routed), tokens=tokens - held)
    run = np.ones((layers, tokens, groups or 1), bool)
    fields = uniform_layers(
        seed,
        len(routed),
        tokens - held,
        groups or 1,
        rho=knobs.rho,
        token_persistence=knobs.token_persistence,
    )
    for layer, rate, field in zip(routed, rates, fields, strict=True):
        run[layer, held:] = field >= rate[:, None]
    return run
