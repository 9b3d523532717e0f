"""A knob that cannot be used is turned down with its name, value, range and nearest valid value."""

from typing import Any

import pytest
from small_traces import shape

from skipopu.spec.error import SpecError
from skipopu.trace import parse_knobs, synthesize


def refusal(*position: Any, **knobs: Any) -> str:
    with pytest.raises(SpecError) as caught:
        synthesize(*(position or ("skipgpt",)), **({"shape": shape(6), "prompt": 4, "decode": 2} | knobs))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("knobs", "told"),
    [
        ({"skip": 1.2}, "skip = 1.2; must be in 0..1 share; nearest: 1"),
        ({"skip": -0.1}, "skip = -0.1; must be in 0..1 share; nearest: 0"),
        ({"skip": float("nan")}, "skip = nan; must be in 0..1"),
        ({"skip": True}, "skip = True; must be in 0..1"),
        ({"skip": "0.2"}, "skip = 0.2; must be in 0..1"),
        ({"skip": 0.3, "attention_skip": 0.3, "ffn_skip": 0.3}, "give the mean or both rates"),
        ({"skip": 0.8, "attention_skip": 0.1}, "knob ffn_skip = 1.5; must be in 0..1 share; nearest: 1"),
        ({"attention_skip": 2}, "knob attention_skip = 2; must be in 0..1 share; nearest: 1"),
        ({"ffn_skip": float("inf")}, "knob ffn_skip = inf; must be in 0..1 share; nearest: 1"),
        ({"rho": -0.2}, "knob rho = -0.2; must be in 0..1 correlation; nearest: 0"),
        ({"rho": "high"}, "knob rho = 'high'; expected float, 0..1 correlation"),
        (
            {"token_persistence": 1.0},
            "knob token_persistence = 1; must be in 0..0.999 correlation; nearest: 0.999",
        ),
        ({"attention_slope": 1.5}, "nearest: 1"),
        ({"rhoo": 0.5}, "knob 'rhoo' is not known; did you mean 'rho'?"),
        ({"kv_policy": "reuse"}, "knob kv_policy = 'reuse'; expected one of dense, reuse_last, evict"),
        ({"router": "linea"}, "did you mean 'linear'?"),
        ({"router_hidden": 8}, "router.hidden of a linear router = 8; must be in 0..0; nearest: 0"),
        ({"router": "mlp"}, "router.hidden of a mlp router = 0; must be in 1..65536; nearest: 1"),
        ({"router": "none"}, "knob router = none skips nothing; set skip to 0 or choose a router"),
        ({"always_on_attention": ()}, "kv_policy reuse_last needs layer 0"),
        (
            {"always_on_attention": (0, 6)},
            "router.always_on_attention layer = 6; must be in 0..5; nearest: 5",
        ),
        ({"always_on_tokens": 1.5}, "knob always_on_tokens = 1.5; expected int"),
        ({"shared": 1}, "knob shared = 1; expected bool, true or false"),
        ({"shared": True, "ffn_input": "layer_input"}, "give attention and ffn the same knobs"),
        ({"ffn_profile": []}, "knob ffn_profile is empty; expected at least one weight"),
        ({"ffn_profile": [1, -1]}, "knob ffn_profile = -1; must be in 0..1000 weight; nearest: 0"),
        ({"ffn_profile": [0, 0, 1], "ffn_skip": 0.9}, "must be in 0..0.5; nearest: 0.5"),
        ({"kv_heads_per_group": 3}, "knob kv_heads_per_group = 3 must divide 2 of shape small; nearest: 2"),
        ({"ffn_group_size": 31}, "knob ffn_group_size = 31 must divide 96 of shape small; nearest: 32"),
        ({"prompt": 0}, "prompt = 0; must be in 1..131072; nearest: 1"),
        ({"prompt": 1.5}, "prompt = 1.5; expected a whole number"),
        ({"decode": -1}, "decode = -1; must be in 0..131068; nearest: 0"),
        ({"prompt": 100000, "decode": 100000}, "decode = 100000; must be in 0..31072; nearest: 31072"),
        ({"seed": -1}, "seed = -1; must be in 0..9223372036854775807; nearest: 0"),
        ({"shape": "llama2-7"}, "did you mean 'llama2-7b'?"),
    ],
)
def test_a_bad_knob_is_named(knobs: dict[str, Any], told: str) -> None:
    assert told in refusal(**knobs)


def test_an_unknown_family_lists_the_known() -> None:
    told = refusal("skipgtp")
    assert "family = 'skipgtp'; expected one of dense, skipgpt" in told
    assert "did you mean" in told


def test_dense_takes_no_skip() -> None:
    assert "knob router = none skips nothing" in refusal("dense", skip=0.2)
    assert synthesize("dense", shape(6), 4, 2, skip=0.0).summary()["module_skip"] == 0


def test_knobs_parse_into_what_synthesize_takes() -> None:
    settings = [
        "rho=0.5",
        "always_on_ffn=1,2",
        "ffn_profile=[1, 2.5]",
        "kv_policy=dense",
        "always_on_tokens=2",
    ]
    knobs = parse_knobs(
        [*settings, "router=mlp", "router_hidden=8", "always_on_attention=0", "attention_slope=-0.2"]
    )
    resolved = synthesize("skipgpt", shape(6), 4, 2, **knobs).header.provenance.knobs
    wanted = {
        "rho": 0.5,
        "always_on_ffn": (1, 2),
        "ffn_profile": (1.0, 2.5),
        "kv_policy": "dense",
        "router_hidden": 8,
    }
    assert {name: resolved[name] for name in wanted} == wanted
    assert resolved["attention_slope"] == -0.2
    assert resolved["always_on_attention"] == (0,)


def test_a_flag_parses() -> None:
    assert parse_knobs(["shared=true"]) == {"shared": True}
    assert parse_knobs([]) == {}


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("rho", "--knob rho: expected name=value of one of attention_skip, "),
        ("rho=", "expected name=value"),
        ("=1", "knob '' is not known"),
        ("roh=1", "did you mean 'rho'?"),
    ],
)
def test_a_setting_that_is_none_is_named(setting: str, told: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_knobs([setting])
    assert told in str(caught.value)


@pytest.mark.parametrize("text", ["x", "[1", "1=2", "1\n[a]", "{a = 1}", "[[1]]", "2024-01-01", "'a'"])
def test_a_value_that_is_none_is_named(text: str) -> None:
    assert "knob rho" in refusal(**parse_knobs([f"rho={text}"]))


def test_a_knob_given_twice_is_refused() -> None:
    with pytest.raises(SpecError, match="given twice"):
        parse_knobs(["rho=0.1", "rho=0.2"])
