"""The trace of a running model: what was really routed, token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skipopu.models.config import LlamaConfig
from skipopu.models.router import router_width
from skipopu.models.routing import ATTENTION, FFN, Argmax, Sampled
from skipopu.models.skipgpt import SkipGPT
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.trace import Header, Provenance, Router, Segment, StepPhase, Steps, Trace, make_trace


@dataclass(frozen=True)
class Image:
    """Visual embeddings ``states`` [n, hidden] that replace those of the n prompt tokens from ``first`` on."""

    first: int
    states: Tensor


def export_trace(
    model: SkipGPT,
    prompt_ids: Sequence[int],
    decode_tokens: int,
    *,
    name: str,
    source: str,
    provenance: str = "trained-tiny",
    gumbel_seed: int | None = None,
    image: Image | None = None,
) -> Trace:
    """Prefill ``prompt_ids``, decode ``decode_tokens`` greedily, and return what each layer executed.

    ``image`` stands in the place of some of the prompt's tokens; what is before it is the system segment.

    Decode step i feeds the token that the step before chose, so the trace has prompt + decode tokens.
    ``gumbel_seed`` samples the routers instead of taking their argmax. Raises SpecError for an empty prompt,
    an id outside the vocabulary or a negative count.
    """
    _check(model, prompt_ids, decode_tokens)
    ids, gates = generate(
        model, prompt_ids, decode_tokens, Argmax() if gumbel_seed is None else Sampled(gumbel_seed), image
    )
    attention, ffn = gates[ATTENTION], gates[FFN]
    header = Header(
        family="skipgpt" if model.skip.router != "none" else "dense",
        shape=shape_of(model.config, name, source),
        router=router_of(model, gumbel_seed is not None),
        kv_policy=model.skip.kv_policy,
        provenance=Provenance(kind=provenance, source=source, seed=gumbel_seed),
        segments=_segments(len(ids), image),
    )
    return make_trace(
        header,
        Steps.of(
            [StepPhase.PREFILL] + [StepPhase.DECODE] * decode_tokens, [len(prompt_ids)] + [1] * decode_tokens
        ),
        q=attention,
        kv=attention if model.skip.kv_policy == "reuse_last" else np.ones_like(attention),
        ffn=ffn,
        token_ids=np.asarray(ids, np.int32),
    )


@torch.inference_mode()
def generate(
    model: SkipGPT, prompt_ids: Sequence[int], decode_tokens: int, rule: Argmax | Sampled, image: Image | None = None
) -> tuple[list[int], NDArray[np.bool_]]:
    """Run greedily, gathering; return all token ids fed and what executed, [2, layers, tokens]."""
    cache, embed = model.new_cache(len(prompt_ids) + decode_tokens), model.llama.model.embed_tokens
    ids, states = list(prompt_ids), embed(torch.tensor(prompt_ids, device=cache.keys.device))
    if image is not None:
        states[image.first : image.first + len(image.states)] = image.states
    gates: list[Tensor] = []
    for _ in range(decode_tokens + 1):
        output = model.extend_embedded(states, cache, rule)
        gates.append(output.executed)
        token = output.logits[-1:].argmax(-1)
        states = embed(token)
        ids.append(int(token))
    executed: NDArray[np.bool_] = torch.cat(gates, dim=-1).cpu().numpy()
    return ids[:-1], executed


def shape_of(config: LlamaConfig, name: str, source: str) -> ModelShape:
    """Return the shape of a loaded model."""
    keys = "layers hidden_size intermediate_size attention_heads kv_heads head_dim vocabulary"
    flags = "tied_embeddings qkv_bias qk_norm"
    return ModelShape.from_values(name, source, **{k: getattr(config, k) for k in f"{keys} {flags}".split()})


def router_of(model: SkipGPT, sampled: bool) -> Router:
    """Return what a trace says about the model's routers."""
    skip = model.skip
    if skip.router == "none":
        return Router()
    return Router(
        kind=skip.router,
        hidden=router_width(skip.router, model.config.hidden_size),
        ffn_input=skip.ffn_input,
        sampling="gumbel" if sampled else "argmax",
        always_on_attention=tuple(sorted(skip.always_on_attention)),
        always_on_ffn=tuple(sorted(skip.always_on_ffn)),
    )


def _segments(tokens: int, image: Image | None) -> tuple[Segment, ...]:
    if image is None:
        return (Segment("text", 0, tokens),)
    end = image.first + len(image.states)
    parts = (("system", 0, image.first), ("visual", image.first, end), ("text", end, tokens))
    return tuple(Segment(kind, first, last - first) for kind, first, last in parts if last > first)


def _check(model: SkipGPT, prompt_ids: Sequence[int], decode_tokens: int) -> None:
    vocabulary = model.config.vocabulary
    if not prompt_ids:
        raise SpecError("prompt has no tokens; give some text")
    if decode_tokens < 0:
        raise SpecError(f"decode = {decode_tokens} tokens; must be at least 0")
    for token in prompt_ids:
        if not 0 <= token < vocabulary:
            raise SpecError(f"prompt token {token}; must be in the vocabulary 0..{vocabulary - 1}")
