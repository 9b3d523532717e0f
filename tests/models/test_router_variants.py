"""Router kinds, the points they read, and their parameter counts."""

import pytest
import torch
from tiny_model import DECODER, tiny_model, tokens

from skipopu.models.config import LlamaConfig, SkipConfig
from skipopu.models.router import Routers
from skipopu.models.routing import FFN, Argmax, Recorded, Site
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape


def router_parameters(kind: str) -> int:
    d = ModelShape.load("llama2-7b").dimensions
    heads = (d.attention_heads, d.kv_heads, d.head_dim)
    config = LlamaConfig(d.vocabulary, d.hidden_size, d.intermediate_size, d.layers, *heads)
    with torch.device("meta"):
        return sum(p.numel() for p in Routers(config, SkipConfig(router=kind)).parameters())


PUBLISHED = [("linear", 524_416), ("mlp", 268.6e6), ("bottleneck", 4.2e6)]


@pytest.mark.parametrize(("kind", "published"), PUBLISHED)
def test_llama2_7b_routers_have_the_published_size(kind: str, published: float) -> None:
    count = router_parameters(kind)
    assert count == published if kind == "linear" else abs(count / published - 1) < 0.002


@pytest.mark.parametrize("kind", ["linear", "mlp", "bottleneck"])
@pytest.mark.parametrize("ffn_input", ["layer_input", "post_attention"])
def test_prefill_equals_masked_forward_for_every_router(kind: str, ffn_input: str) -> None:
    model, ids = tiny_model(SkipConfig(router=kind, ffn_input=ffn_input)), tokens(10)
    with torch.no_grad():
        whole = model(ids[None])
    gathered = model.extend(ids, model.new_cache(10))
    assert torch.equal(gathered.executed, whole.executed[:, :, 0])
    torch.testing.assert_close(gathered.logits, whole.logits[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("ffn_input", ["layer_input", "post_attention"])
def test_the_ffn_router_reads_its_input_point_and_no_other(ffn_input: str) -> None:
    model, ids = tiny_model(SkipConfig(ffn_input=ffn_input)), tokens(10)

    def first_ffn_logits() -> torch.Tensor:
        recorded = Recorded(Argmax())
        model(ids[None], recorded)
        return recorded.logits[Site(0, FFN)]

    before = first_ffn_logits()
    with torch.no_grad():
        model.llama.model.layers[0].self_attn.o_proj.weight.mul_(2)
    assert torch.equal(before, first_ffn_logits()) == (ffn_input == "layer_input")


def test_index_0_executes() -> None:
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert Argmax()(Site(0, FFN), logits, torch.arange(2)).tolist() == [True, False]


def test_always_on_layers_execute_whatever_the_router_says() -> None:
    model = tiny_model(SkipConfig(always_on_attention=(0, 2), always_on_ffn=(1,)))
    with torch.no_grad():
        for router in (*model.routers.attention, *model.routers.ffn):
            router.shift(-1e6)
        executed = model(tokens(6)[None]).executed[..., 0]
    assert executed[0, :, 0].tolist() == [True, False, True, False]
    assert executed[1, :, 0].tolist() == [False, True, False, False]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"router": "conv"}, r"router = 'conv'; expected one of none, linear, mlp, bottleneck"),
        ({"ffn_input": "logits"}, r"ffn_input = 'logits'; expected one of layer_input, post_attention"),
        ({"kv_policy": "evict"}, r"kv_policy = 'evict'; expected one of dense, reuse_last"),
        ({"always_on_attention": (1,)}, r"always_on_attention = \(1,\); kv_policy reuse_last needs layer 0"),
    ],
)
def test_a_bad_configuration_names_its_key(values: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        SkipConfig(**values)  # type: ignore[arg-type]


def test_an_always_on_layer_must_exist() -> None:
    with pytest.raises(SpecError, match=rf"layer 9 must be in 0\.\.{DECODER.layers - 1}"):
        tiny_model(SkipConfig(always_on_ffn=(9,)))


@pytest.mark.parametrize("kind", ["linear", "mlp", "bottleneck"])
def test_training_starts_from_an_even_chance_everywhere(kind: str) -> None:
    model = tiny_model(SkipConfig(router=kind))
    model.routers.initialize(0)
    for router in (*model.routers.attention, *model.routers.ffn):
        assert router(100 * torch.randn(3, DECODER.hidden_size, dtype=torch.float64)).eq(0).all()
