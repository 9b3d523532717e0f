"""Every shipped file loads with its provenance, and what follows from it is what was published."""

import math

import pytest

from skipopu.spec.board import Board
from skipopu.spec.leaf import CONFIDENCES
from skipopu.spec.load import DATA, shipped
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay

LOADERS = {"overlay": Overlay, "board": Board, "shape": ModelShape}
FILES = [(kind, name) for kind in LOADERS for name in shipped(kind)]
KIB, BILLION = 1024, 10**9

# name → parameters in 10⁹ (cut to three decimals) and KiB of FP16 K/V a token, as published
MODELS = {
    "llama2-7b": (6.738, 512),
    "llama2-13b": (13.015, 800),
    "llama3.1-8b": (8.030, 128),
    "llama3.2-3b": (3.213, 112),
    "qwen2.5-7b": (7.615, 56),
    "qwen2.5-3b": (3.086, 36),
    "qwen3-1.7b": (1.720, 112),
    "qwen3-4b": (4.022, 144),
    "qwen3-8b": (8.190, 144),
    "qwen3-14b": (14.768, 160),
    "mobilellama-2.7b": (2.701, 320),
    "gpt2": (0.124, 36),
    "opt-1.3b": (1.315, 192),
    "vit-b16": (0.0854, 36),  # the encoder: without the 0.6 M of the patch embedding
    "routing-free-moe": (0.101, 24),  # ours: its frame with a dense FFN in every layer, experts are knobs
}


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_shipped_file_loads_and_every_leaf_says_where_it_comes_from(kind: str, name: str) -> None:
    loaded = LOADERS[kind].load(name)
    assert loaded.name == name
    assert loaded.provenance
    for key, leaf in loaded.provenance.items():
        assert leaf.source.strip(), key
        assert leaf.unit.strip(), key
        assert leaf.confidence in CONFIDENCES, key


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_what_code_reads_is_what_the_file_says(kind: str, name: str) -> None:
    loaded = LOADERS[kind].load(name)
    root = loaded.dimensions if kind == "shape" else loaded
    for key, leaf in loaded.provenance.items():
        value = root
        for part in key.split("."):
            value = getattr(value, part)
        assert value == leaf.value, key


def test_a_path_loads_like_a_name() -> None:
    assert Overlay.load(str(DATA / "overlay" / "tiny.toml")) == Overlay.load("tiny")


def test_the_u280_overlay_is_the_published_machine() -> None:
    o = Overlay.load("skipopu-u280")
    assert o.peak_macs_per_cycle == 8192
    assert o.pe_array.columns * o.pe_array.dot_length // 2 == 4096  # two products a DSP
    assert o.hbm_bytes_per_cycle == 2048
    assert o.tokens_per_round == 48
    assert o.hbm_bytes_per_cycle * o.clock.core_mhz * 1e6 == pytest.approx(460.8e9)


def buffered(overlay: Overlay, name: str) -> int:
    shape = ModelShape.load(name)
    head = overlay.head_storage(shape.dimensions.head_dim)
    return overlay.buffer_tokens(2 * shape.dimensions.kv_heads * head * 2)


@pytest.mark.parametrize(("name", "tokens"), [("llama2-7b", 1024), ("llama2-13b", 816)])
def test_the_invariance_buffer_holds(name: str, tokens: int) -> None:
    """Whole tokens in each of 16 banks: of the 819 that 16 MiB are worth for 13B, 51 a bank."""
    assert buffered(Overlay.load("skipopu-u280"), name) == tokens


def test_a_buffer_switched_off_holds_nothing_and_gives_no_ports() -> None:
    off = Overlay.load("skipopu-u280", ("kv_buffer.enabled=false",))
    assert buffered(off, "llama2-7b") == 0
    assert off.tokens_per_round == 32


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ((), 48), (("pe_array.columns=64",), 32), (("pe_array.dot_length=16",), 16), (("dma.hbm_ports=4",), 20),
        (("kv_buffer.capacity_bytes=0",), 32),
    ],
)
def test_a_round_is_bounded_by_sources_columns_products(settings: tuple[str, ...], tokens: int) -> None:
    assert Overlay.load("skipopu-u280", settings).tokens_per_round == tokens


@pytest.mark.parametrize(("head_dim", "stored"), [(1, 64), (64, 64), (80, 128), (128, 128), (129, 192)])
def test_a_stored_head_is_padded_to_whole_row_tiles(head_dim: int, stored: int) -> None:
    assert Overlay.load("skipopu-u280").head_storage(head_dim) == stored


def test_every_published_model_is_shipped() -> None:
    assert set(MODELS) == set(shipped("shape"))


def counted(shape: ModelShape) -> int:
    """Parameters tensor by tensor, as a checkpoint lists them."""
    d = shape.dimensions
    tensors = [(d.vocabulary, d.hidden_size), (d.hidden_size,)]
    tensors += [] if d.tied_embeddings else [(d.vocabulary, d.hidden_size)]
    for _ in range(d.layers):
        for heads in (d.attention_heads, d.kv_heads, d.kv_heads):
            tensors.append((heads * d.head_dim, d.hidden_size))
            tensors += [(heads * d.head_dim,)] if d.qkv_bias else []
            tensors += [(heads * d.head_dim,)] if d.linear_bias else []
        tensors.append((d.hidden_size, d.attention_heads * d.head_dim))
        tensors += [(d.intermediate_size, d.hidden_size)] * (3 if d.activation == "swiglu" else 2)
        tensors += [(d.hidden_size,)] * 2 + ([(d.head_dim,)] * 2 if d.qk_norm else [])
        tensors += [(d.hidden_size,)] * 2 if d.norm == "layer" else []
        tensors += [(d.hidden_size,), (d.intermediate_size,), (d.hidden_size,)] if d.linear_bias else []
    tensors += [(d.hidden_size,)] if d.norm == "layer" else []
    tensors.append((d.learned_positions, d.hidden_size))
    return sum(math.prod(t) for t in tensors)


@pytest.mark.parametrize("name", MODELS)
def test_a_model_has_its_published_size(name: str) -> None:
    shape = ModelShape.load(name)
    billions, kib = MODELS[name]
    assert shape.parameters == counted(shape)
    assert shape.parameters / BILLION == pytest.approx(billions, abs=0.001)
    assert shape.kv_bytes_per_token() == kib * KIB


def test_a_setting_replaces_a_leaf_and_says_so() -> None:
    overlay = Overlay.load("skipopu-u280", ("pe_array.columns=64", "kv_buffer.enabled=false"))
    assert overlay.pe_array.columns == 64
    assert overlay.provenance["pe_array.columns"].source == "--set pe_array.columns=64"
    assert overlay.provenance["pe_array.columns"].confidence == "decision"
    assert overlay != Overlay.load("skipopu-u280")
    assert overlay.provenance["ifm.rows"] == Overlay.load("skipopu-u280").provenance["ifm.rows"]


def test_the_last_of_two_settings_counts() -> None:
    assert Overlay.load("tiny", ("pe_array.columns=64", "pe_array.columns=32")).pe_array.columns == 32
