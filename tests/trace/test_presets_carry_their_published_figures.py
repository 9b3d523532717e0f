"""A preset is what its publication says, and every figure in it names that source."""

import tomllib

import numpy as np
import pytest

from skipopu.spec.error import SpecError
from skipopu.trace import knobs as module
from skipopu.trace import synthesize
from skipopu.trace.knobs import PRESETS, preset, presets


def test_the_promised_presets_are_there() -> None:
    assert set(presets()) >= {
        "bernoulli",
        "skipgpt25",
        "skipgpt30",
        "skipgpt40",
        "wide50",
        "dllm50",
        "dense",
        "skipgpt",
    }


@pytest.mark.parametrize(
    ("name", "attention", "ffn"),
    [
        ("skipgpt30", 0.3319, 0.2633),
        ("wide50", 0.662, 0.285),
        ("dllm50", 0.5, 0.5),
        ("bernoulli", 0.25, 0.25),
    ],
)
def test_published_rates(name: str, attention: float, ffn: float) -> None:
    knobs = preset(name)[1]
    assert (knobs["attention_skip"], knobs["ffn_skip"]) == (attention, ffn)


@pytest.mark.parametrize(("name", "mean"), [("skipgpt25", 0.25), ("skipgpt40", 0.40)])
def test_scaled_rates_keep_the_published_proportion(name: str, mean: float) -> None:
    knobs = preset(name)[1]
    assert (knobs["attention_skip"] + knobs["ffn_skip"]) / 2 == pytest.approx(mean)
    assert knobs["attention_skip"] / knobs["ffn_skip"] == pytest.approx(33.19 / 26.33, rel=1e-3)


@pytest.mark.parametrize(
    ("family", "policy", "kind", "hidden", "label"),
    [
        ("skipgpt", "reuse_last", "linear", 0, "skipgpt"),
        ("skipgpt25", "reuse_last", "linear", 0, "skipgpt"),
        ("bernoulli", "dense", "bottleneck", 16, "dynamic_m"),
        ("wide50", "dense", "bottleneck", 16, "wide"),
        ("dllm50", "evict", "mlp", 512, "dllm"),
        ("dense", "dense", "none", 0, "dense"),
    ],
)
def test_router_and_policy(family: str, policy: str, kind: str, hidden: int, label: str) -> None:
    header = synthesize(family, "llama2-7b", prompt=4, decode=1).header
    assert (header.kv_policy, header.router.kind, header.router.hidden, header.family) == (
        policy,
        kind,
        hidden,
        label,
    )
    assert header.provenance.kind == "synthetic"
    assert header.provenance.source == f"preset {family}"
    assert header.provenance.seed == 0


def test_wide_skips_by_kv_heads_and_channel_groups() -> None:
    trace = synthesize("wide50", "llama3.1-8b", prompt=200, decode=1)
    heads, channels = trace.array("head_groups"), trace.array("ffn_groups")
    assert heads is not None
    assert channels is not None
    assert heads.shape == (32, 201, 8)
    assert channels.shape == (32, 201, 14336 // 128)
    np.testing.assert_array_equal(heads.any(axis=2), trace.rows("q"))
    assert trace.rows("kv").all()


def test_provenance_reproduces_the_trace() -> None:
    trace = synthesize(
        "skipgpt30", "llama2-7b", prompt=20, decode=5, skip=0.2, seed=9, rho=0.4, ffn_profile=[1, 2]
    )
    made = trace.header.provenance
    again = synthesize("skipgpt30", "llama2-7b", prompt=20, decode=5, seed=made.seed or 0, **made.knobs)
    assert again == trace


def test_every_figure_has_a_source() -> None:
    table = tomllib.loads(PRESETS.read_text(encoding="utf-8"))
    leaves = [
        leaf
        for part in (table["knob"], *(p["knobs"] for p in table["preset"].values()))
        for leaf in part.values()
    ]
    assert all(
        set(leaf) == {"value", "unit", "source", "confidence"} and leaf["source"].strip() for leaf in leaves
    )
    assert set(table["knob"]) == set(module.FIELDS.bounds)


def test_what_is_only_reported_is_not_passed_off_as_the_paper() -> None:
    text = PRESETS.read_text(encoding="utf-8").splitlines()
    reported = [line for line in text if "reported" in line and not line.startswith("#")]
    assert reported
    assert not [line for line in reported if '"paper"' in line]


@pytest.mark.parametrize(
    "leaf",
    [
        {"value": 1, "unit": "share", "source": "x"},
        {"value": 1, "unit": "percent", "source": "x", "confidence": "paper"},
        {"value": 1, "unit": "share", "source": " ", "confidence": "paper"},
        {"value": 1, "unit": "share", "source": "x", "confidence": "guess"},
    ],
)
def test_a_planted_figure_without_a_source_is_found(leaf: dict[str, object]) -> None:
    with pytest.raises(SpecError, match=r"presets\.toml: ffn_skip"):
        module.FIELDS.check_leaf(PRESETS.name, "ffn_skip", leaf)
