"""LFF: a row runs the module, or its stand-in, or (beyond a margin, ours) nothing."""

import numpy as np
import pytest
import torch
from routed_models import CAUSAL, PROMPT, backbone, exported, fed, in_steps, ready

from skipopu.models.decisions import Decisions
from skipopu.models.lff import Lff, LffConfig
from skipopu.spec.error import SpecError


def test_without_a_margin_every_row_runs_the_module_or_its_stand_in() -> None:
    _, trace = exported("lff")
    approximated = trace.array("approx_rows")
    assert approximated is not None
    np.testing.assert_array_equal(approximated[0], ~trace.rows("q"))
    np.testing.assert_array_equal(approximated[1], ~trace.rows("ffn"))
    assert trace.rows("kv").all()


def test_a_margin_gives_rows_of_all_three_states() -> None:
    _, trace = exported("lff_drops")
    approximated = trace.array("approx_rows")
    assert approximated is not None
    for module, kind in enumerate(("q", "ffn")):
        runs = trace.rows(kind)  # type: ignore[arg-type]
        assert runs.any()
        assert approximated[module].any()
        assert (~runs & ~approximated[module]).any()
    assert trace.header.provenance.knobs["drop_margin"] == 0.4


def test_a_row_that_is_only_approximated_gets_the_stand_in_of_its_normalised_stream() -> None:
    model, trace = exported("lff")
    assert isinstance(model, Lff)
    tokens, shape = fed(trace), (trace.layers, trace.tokens)
    given = {"attention": np.zeros(shape, bool), "ffn": np.zeros(shape, bool)}
    given |= {f"approx_{m}": np.ones(shape, bool) for m in ("attention", "ffn")}
    with torch.inference_mode():
        x = model.llama.model.embed_tokens(tokens)
        for i, layer in enumerate(model.llama.model.layers):
            x = x + model.stand_ins[f"attention{i}"](layer.input_layernorm(x))
            x = x + model.stand_ins[f"ffn{i}"](layer.post_attention_layernorm(x))
        expected = model.llama.logits(x)
    torch.testing.assert_close(in_steps(model, tokens, PROMPT, Decisions(given))[0], expected, rtol=0, atol=1e-11)


def test_routers_read_the_normalised_input() -> None:
    """A stream ten times as large is routed alike."""
    model = CAUSAL["lff"][0](0)
    assert isinstance(model, Lff)
    x = torch.randn(50, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norm = model.llama.model.layers[1].input_layernorm
    one, ten = (model.routers["attention1"](norm(scale * x)) for scale in (1.0, 10.0))
    torch.testing.assert_close(one, ten, rtol=1e-5, atol=1e-6)


def test_the_published_router_needs_a_published_width() -> None:
    with pytest.raises(SpecError, match=r"hidden_size = 32: LFF's router.*at least 804.*router_hidden"):
        Lff(backbone(), LffConfig())
    assert ready(Lff(backbone(), LffConfig(router_hidden=3))).header()["router"].hidden == 3


@pytest.mark.parametrize("change", [{"rank": 0}, {"drop_margin": -1.0}])
def test_bad_configurations_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(SpecError, match=f"LFF {next(iter(change))}"):
        LffConfig(**change)  # type: ignore[arg-type]
