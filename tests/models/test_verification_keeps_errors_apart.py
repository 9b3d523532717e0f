"""Quantisation, arithmetic and flipped decisions are told apart; a fault in one of them shows where it belongs."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from tiny_model import tiny_model, tokens

from skipopu.models.config import SkipConfig
from skipopu.models.quantization import quantise
from skipopu.models.routing import ATTENTION, FFN
from skipopu.models.verification import Verification, compare, compare_rtl, loss, relative_error, verify
from skipopu.models.verification_runs import Run
from skipopu.numerics.decoder_products import Products
from skipopu.spec.overlay import Overlay

LAYERS, TOKENS = 4, 16
FP16_UNIT = 2.0**-11


def windows() -> torch.Tensor:
    return torch.stack([tokens(TOKENS + 1, seed) for seed in range(2)])


def verified(**skip: Any) -> Verification:
    model = tiny_model(SkipConfig(**skip)).float()
    return verify(model, quantise(model, "rtn"), Overlay.load("tiny"), windows(), decode=5)


@cache
def usual() -> Verification:
    """A verification that no test changes."""
    return verified()


def step(of: Verification, run: str) -> Any:
    return next(s for s in of.record()["steps"] if s["run"] == run)


def made(seed: int = 0) -> Run:
    random = np.random.default_rng(seed)
    gates = random.random((2, 3, 8)) < 0.5
    return Run(random.standard_normal((8, 11)), random.standard_normal((4, 8, 6)), gates, gates)


ROUTED = np.array([[False, True, True], [True, True, True]])


def test_a_run_agrees_with_itself() -> None:
    found = compare(made(), made(), ROUTED)
    assert found.hidden_error == [0, 0, 0]
    assert found.attention_agreement == [None, 1, 1]
    assert found.ffn_agreement == [1, 1, 1]
    assert (found.logits_error, found.top_1_agreement) == (0, 1)


def test_each_figure_is_about_its_own_array() -> None:
    a, b = made(), made()
    b.hidden[2] *= 1.5
    b.logits[:2] = np.roll(b.logits[:2], 1, axis=1)
    b.decided[FFN, 1, :6] ^= True
    found = compare(b, a, ROUTED)
    assert found.hidden_error == pytest.approx([0, 0.5, 0])
    assert found.ffn_agreement == pytest.approx([1, 0.25, 1])
    assert found.attention_agreement == [None, 1, 1]
    assert found.top_1_agreement == 0.75


def test_errors_and_losses_follow_their_definitions() -> None:
    assert relative_error(np.array([3.0, 5.0]), np.array([3.0, 4.0])) == pytest.approx(0.2)
    run, targets = made(), np.arange(8)
    powers = np.exp(run.logits)
    assert loss(run, targets) == pytest.approx(-np.log(powers[targets, targets] / powers.sum(1)).mean())


def test_forced_runs_execute_what_the_reference_executed() -> None:
    found = usual()
    for name, reference in (("float16", "float32"), ("int4", "float32"), ("overlay", "int4")):
        assert np.array_equal(found.forced[name].executed, found.free[reference].executed)
    assert found.finite
    assert not found.free["float32"].executed[:, 1:].all()


def test_quantisation_is_no_error_of_the_overlay() -> None:
    """Both of its sides have INT4 weights: what is left is a few roundings to FP16 a layer."""
    overlay, int4 = step(usual(), "overlay")["forced_routing"], step(usual(), "int4")["forced_routing"]
    assert max(overlay["hidden_error"]) < 8 * FP16_UNIT
    assert min(int4["hidden_error"]) > 4 * max(overlay["hidden_error"])


def test_windows_do_not_see_each_other() -> None:
    alone = verify(*_arguments(windows()[1:]), decode=5)
    for name in ("float32", "overlay"):
        assert np.array_equal(alone.free[name].executed, usual().free[name].executed[:, :, TOKENS:])
    assert np.array_equal(alone.free["overlay"].logits, usual().free["overlay"].logits[TOKENS:])


def _arguments(text: torch.Tensor) -> tuple[Any, ...]:
    model = tiny_model(SkipConfig()).float()
    return model, quantise(model, "rtn"), Overlay.load("tiny"), text


def test_progress_counts_every_window_of_every_run() -> None:
    seen: list[tuple[int, int]] = []
    verify(*_arguments(windows()), decode=5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(n, 14) for n in range(1, 15)]


@pytest.mark.parametrize("skip", [{"kv_policy": "dense"}, {"router": "none"}, {"ffn_input": "layer_input"}])
def test_every_policy_is_verified(skip: dict[str, Any]) -> None:
    found = step(verified(**skip), "overlay")["forced_routing"]
    assert max(found["hidden_error"]) < 8 * FP16_UNIT
    assert (found["ffn_agreement"] == [None] * LAYERS) == (skip.get("router") == "none")


# --- faults -----------------------------------------------------------------------------------------------------------


def test_a_fault_in_the_arithmetic_shows_in_the_overlay_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Products.linear
    monkeypatch.setattr(Products, "linear", lambda self, x, layer, residual=None: right(self, x, layer, None))
    found = verified()
    assert min(step(found, "overlay")["forced_routing"]["hidden_error"]) > 64 * FP16_UNIT
    assert step(found, "int4") == step(usual(), "int4")


def test_flipped_decisions_show_in_the_agreement_and_not_in_the_forced_error(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Products.decisions
    monkeypatch.setattr(Products, "decisions", lambda *given: ~right(*given))
    overlay = step(verified(), "overlay")
    forced = overlay["forced_routing"]
    assert forced["hidden_error"] == step(usual(), "overlay")["forced_routing"]["hidden_error"]
    shown = [share for share in (*forced["attention_agreement"], *forced["ffn_agreement"]) if share is not None]
    assert max(shown) < 0.2
    assert min(overlay["own_routing"]["hidden_error"]) > 64 * FP16_UNIT


def test_logits_that_are_no_numbers_are_noticed() -> None:
    run = made()
    run.logits[0, 0] = np.nan
    assert not Verification({"overlay": run}, {}, np.zeros(8, np.int64), ROUTED).finite


def test_a_bit_of_the_rtl_is_found() -> None:
    numerics = np.random.default_rng(0).integers(0, 1 << 16, (3, 5)).astype(np.uint16)
    assert compare_rtl(numerics, numerics) == {"steps": 3, "logits": 15, "differing": 0, "first": None}
    rtl = numerics.copy()
    rtl[1, 4] ^= 1
    assert compare_rtl(numerics, rtl) == {"steps": 3, "logits": 15, "differing": 1, "first": [1, 4]}


def test_gates_are_counted_by_module() -> None:
    found = usual()
    rates = found.record()["execution"]["overlay"]
    assert rates["attention"] == pytest.approx(found.free["overlay"].executed[ATTENTION].mean(1).tolist())
    assert rates["ffn"] == pytest.approx(found.free["overlay"].executed[FFN].mean(1).tolist())
