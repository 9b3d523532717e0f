"""A checkpoint that transformers wrote gives transformers' logits, dense, prefilled and decoded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from skipopu.models.checkpoint import open_checkpoint
from skipopu.models.config import SkipConfig
from skipopu.models.huggingface import read_config
from skipopu.models.skipgpt import SkipGPT
from skipopu.models.store import save_routers
from skipopu.spec.error import SpecError

transformers = pytest.importorskip("transformers")
SIZES = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
IDS = torch.randint(0, 96, (14,), generator=torch.Generator().manual_seed(0))


def write(family: str, directory: Path, shard: str = "5GB", **options: Any) -> torch.Tensor:
    """Save a random checkpoint; return transformers' own logits of IDS in float64."""
    config = getattr(transformers, f"{family}Config")(**SIZES, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, f"{family}ForCausalLM")(config).double().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # norms and biases of 1 and 0 would hide an error
            if parameter.dim() == 1:
                parameter.add_(torch.linspace(-0.5, 0.5, len(parameter)) * (1 if "norm" in name else 2))
        logits: torch.Tensor = model(IDS[None]).logits[0]
    model.save_pretrained(directory, max_shard_size=shard)
    return logits


@pytest.mark.parametrize(
    ("family", "options"),
    [
        ("Llama", {}),
        ("Llama", {"tie_word_embeddings": True}),
        ("Llama", {"rope_parameters": LLAMA3, "head_dim": 16}),
        ("Qwen2", {}),
        ("Qwen3", {"head_dim": 16, "tie_word_embeddings": True}),
    ],
)
def test_logits_equal_those_of_transformers(tmp_path: Path, family: str, options: dict[str, Any]) -> None:
    expected = write(family, tmp_path, **options)
    model = open_checkpoint(str(tmp_path), dtype=torch.float64).model
    cache = model.new_cache(len(IDS))
    got = torch.cat([model.extend(part, cache).logits for part in IDS.split([9, 1, 1, 3])])
    # transformers computes rotary angles and norms in float32 even for a float64 model
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-5)
    with torch.no_grad():
        torch.testing.assert_close(model.llama(IDS[None])[0], got, rtol=0, atol=1e-12)


def test_a_sharded_checkpoint_is_read_through_its_index(tmp_path: Path) -> None:
    expected = write("Llama", tmp_path, shard="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    model = open_checkpoint(str(tmp_path), dtype=torch.float64).model
    torch.testing.assert_close(model.extend(IDS, model.new_cache(14)).logits, expected, rtol=0, atol=2e-5)


def test_the_older_spelling_of_rope_is_read_too(tmp_path: Path) -> None:
    write("Llama", tmp_path, rope_parameters=LLAMA3)
    new = read_config(tmp_path)
    table = json.loads((tmp_path / "config.json").read_text())
    rope = table.pop("rope_parameters")
    table |= {"rope_theta": rope.pop("rope_theta"), "rope_scaling": rope}
    (tmp_path / "config.json").write_text(json.dumps(table))
    assert read_config(tmp_path) == new
    assert new.rope_theta == 500000.0


def test_routers_trained_for_a_checkpoint_come_from_their_own_file(tmp_path: Path) -> None:
    write("Qwen2", tmp_path)
    llama = open_checkpoint(str(tmp_path)).model.llama
    trained = SkipGPT(llama, SkipConfig())
    with torch.no_grad():
        for parameter in trained.routers.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(3))
    save_routers(trained, tmp_path / "routers.safetensors", {"steps": 0})
    loaded = open_checkpoint(str(tmp_path), routers=tmp_path / "routers.safetensors")
    assert loaded.provenance == "measured"
    masks = [m.extend(IDS, m.new_cache(14)).executed for m in (trained, loaded.model)]
    assert torch.equal(*masks)
    assert not masks[0].all()


def changed(**values: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        table = json.loads((directory / "config.json").read_text()) | values
        (directory / "config.json").write_text(json.dumps(table))

    return change


def truncated(directory: Path) -> None:
    path = directory / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (changed(model_type="gpt2", architectures=["GPT2LMHeadModel"]), r"model_type = 'gpt2'.*LlamaFor"),
        (changed(architectures=["LlamaForTokenClassification"]), r"expected one of LlamaForCausalLM"),
        (changed(attention_bias=True), r"attention_bias = True is not supported; expected False"),
        (changed(hidden_size="32"), r"hidden_size = '32'; expected a whole number"),
        (changed(rope_parameters={"rope_type": "yarn"}), r"rope_scaling type = 'yarn'; expected one of"),
        (changed(num_hidden_layers=4), r"tensor model\.layers\.3\..* is missing; expected shape"),
        (changed(num_hidden_layers=2), r"tensor model\.layers\.2\..* is unknown to this architecture"),
        (changed(intermediate_size=50), r"has shape \[32, 48\]; expected \[32, 50\]"),
        (truncated, r"expected a complete safetensors file"),
        (lambda d: (d / "model.safetensors").unlink(), r"neither model\.safetensors nor model\."),
        (lambda d: (d / "config.json").write_text("{"), r"expected a readable JSON file"),
    ],
)
def test_an_unusable_checkpoint_is_refused_in_one_line(
    tmp_path: Path, break_it: Callable[[Path], None], message: str
) -> None:
    write("Llama", tmp_path)
    break_it(tmp_path)
    with pytest.raises(SpecError, match=message) as caught:
        open_checkpoint(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_an_unknown_name_lists_what_is_shipped() -> None:
    with pytest.raises(SpecError, match=r"checkpoint 'nothing': no such folder; .*skipgpt-bytes"):
        open_checkpoint("nothing")


def test_text_needs_a_tokenizer(tmp_path: Path) -> None:
    write("Llama", tmp_path)
    with pytest.raises(SpecError, match="no usable tokenizer"):
        open_checkpoint(str(tmp_path)).encode("text")
