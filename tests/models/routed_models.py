"""One small random model of every family that leaves rows or parts of rows out, and what tests do with them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from skipopu.models.config import LlamaConfig
from skipopu.models.decisions import Decisions
from skipopu.models.dllm import Dllm, DllmConfig, export_dllm
from skipopu.models.dynamic_m import Bernoulli, DynamicM, export_dynamic_m
from skipopu.models.lff import Lff, LffConfig, export_lff
from skipopu.models.llama import Llama
from skipopu.models.mod import MixtureOfDepths, ModConfig, export_mod
from skipopu.models.routed_decoder import RoutedDecoder
from skipopu.models.routing_free_moe import MoeConfig, RoutingFreeMoe, export_routing_free_moe
from skipopu.models.run import Run
from skipopu.models.static_pruning import Cut, StaticPruned, export_static
from skipopu.models.static_pruning_matrix import TwoOfFour
from skipopu.models.wide import Wide, WideConfig, export_wide
from skipopu.trace import StepPhase, Trace

DECODER = LlamaConfig(
    vocabulary=61,
    hidden_size=32,
    intermediate_size=48,
    layers=4,
    attention_heads=4,
    kv_heads=2,
    head_dim=8,
    qkv_bias=True,
    qk_norm=True,
)
PROMPT, DECODE = 11, 6
KINDS = {"depth": 0.5, "block": 0.375, "width": 0.5, "hidden": 0.25, "low_rank": 0.4, "2:4": 0.5}


def backbone(seed: int = 0, config: LlamaConfig = DECODER) -> Llama:
    """A decoder in float64 whose biases count."""
    llama = Llama(config)
    llama.initialize(seed)
    return with_biases(llama, seed).double().eval()


def ready(model: RoutedDecoder, seed: int = 0) -> RoutedDecoder:
    """The model with random weights, its backbone's those of ``backbone``, in float64."""
    model.float().initialize(seed)
    with_biases(model.llama, seed)
    return model.double().eval()


def with_biases(llama: Llama, seed: int) -> Llama:
    """Give a float32 decoder random biases."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in llama.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0.0, 0.2, generator=generator)
    return llama


def mod(seed: int = 0) -> MixtureOfDepths:
    """Mixture-of-Depths with thresholds from another text."""
    model = MixtureOfDepths(backbone(seed), ModConfig(capacity=0.4))
    ready(model, seed)
    model.calibrate(ids(40, seed + 1))
    return model


CAUSAL: dict[str, tuple[Callable[[int], RoutedDecoder], Any]] = {
    "dllm": (lambda s: ready(Dllm(backbone(s), DllmConfig(hidden=12)), s), export_dllm),
    "wide": (lambda s: ready(Wide(backbone(s), WideConfig(4, 1, 8)), s), export_wide),
    "lff": (lambda s: ready(Lff(backbone(s), LffConfig(6, 5)), s), export_lff),
    "lff_drops": (lambda s: ready(Lff(backbone(s), LffConfig(6, 5, 0.4)), s), export_lff),
    "dynamic_m": (lambda s: ready(DynamicM(backbone(s), Bernoulli(0.4, 0.3, s)), s), export_dynamic_m),
    "routing_free_moe": (
        lambda s: ready(RoutingFreeMoe(backbone(s), MoeConfig(5, 12, 4, 0.6)), s),
        export_routing_free_moe,
    ),
} | {
    f"static {kind}": (lambda s, kind=kind, share=share: StaticPruned(backbone(s), Cut(kind, share, s)), export_static)
    for kind, share in KINDS.items()
}
ALL = CAUSAL | {"mod": (mod, export_mod)}


def ids(count: int, seed: int = 0) -> Tensor:
    """Random token ids [count]."""
    return torch.randint(0, DECODER.vocabulary, (count,), generator=torch.Generator().manual_seed(seed))


def exported(name: str, seed: int = 0, **about: Any) -> tuple[RoutedDecoder, Trace]:
    """A family's model and the trace of a greedy run."""
    build, export = ALL[name]
    model, given = build(seed), {"name": "tiny", "source": "a test"} | about
    return model, export(model, ids(PROMPT, seed).tolist(), DECODE, **given)


def fed(trace: Trace) -> Tensor:
    """The token ids that a trace's run was given."""
    assert trace.token_ids is not None
    return torch.tensor(trace.token_ids.tolist())


def in_steps(
    model: RoutedDecoder, tokens: Tensor, prompt: int, decisions: Decisions | None = None
) -> tuple[Tensor, Run]:
    """Logits of a prefill and single-token decodes, and the run."""
    run = Run(model.config.layers, decisions)
    logits = [model.extend(tokens[:prompt], run)]
    logits += [model.extend(tokens[i : i + 1], run, StepPhase.DECODE) for i in range(prompt, len(tokens))]
    return torch.cat(logits), run


@contextmanager
def counted_macs() -> Iterator[list[int]]:
    """Count multiply-accumulates of every product with a weight matrix but the LM head's, from the operands' sizes."""
    found, linear, sparse = [0], torch.nn.functional.linear, TwoOfFour.forward

    def count(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if weight.shape[0] != DECODER.vocabulary:
            found[0] += x.shape[:-1].numel() * weight.numel()
        return linear(x, weight, bias)

    def count_sparse(self: TwoOfFour, x: Tensor) -> Tensor:
        found[0] += x.shape[:-1].numel() * self.values.numel()
        return sparse(self, x)

    torch.nn.functional.linear, TwoOfFour.forward = count, count_sparse
    try:
        yield found
    finally:
        torch.nn.functional.linear, TwoOfFour.forward = linear, sparse
