"""INT4 values with an FP16 scale a channel: in range, as near as they can be, GPTQ better where inputs correlate."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_model import tiny_model, tokens

from skipopu.models import gptq as gptq_module
from skipopu.models.config import SkipConfig
from skipopu.models.gptq import DAMPING, gptq
from skipopu.models.quantization import (
    HEAD,
    QuantisedMatrix,
    channel_scales,
    first_layers,
    quantise,
    quantise_matrix,
    round_to_nearest,
)
from skipopu.spec.error import SpecError

Reals = NDArray[np.float64]
SKIP = SkipConfig()
OUTPUTS, INPUTS, ROWS = 24, 40, 400


def weights(seed: int = 0, outputs: int = OUTPUTS, inputs: int = INPUTS) -> Reals:
    return np.random.default_rng(seed).standard_normal((outputs, inputs))


def correlated(seed: int, rows: int = ROWS, inputs: int = INPUTS) -> Reals:
    """Inputs that lie near a space of fewer dimensions, some columns larger than others, as activations do."""
    random = np.random.default_rng(seed)
    mixing = random.standard_normal((inputs // 4, inputs)) * np.exp(random.standard_normal(inputs))
    return random.standard_normal((rows, inputs // 4)) @ mixing + 0.1 * random.standard_normal((rows, inputs))


def output_error(matrix: QuantisedMatrix, w: Reals, x: Reals) -> float:
    return float(np.linalg.norm(x @ (matrix.weights - w).T))


@given(st.integers(0, 99), st.integers(-12, 8))
def test_values_are_int4_and_errors_half_a_scale_unless_clipped(seed: int, exponent: int) -> None:
    w = weights(seed) * 2.0**exponent
    found = quantise_matrix(w)
    assert found.values.dtype == np.int8
    assert found.scales.dtype == np.float16
    assert np.abs(found.values).max() <= 7
    scales = found.scales.astype(np.float64)[:, None]
    clipped = np.abs(w) > 7.5 * scales
    assert (np.abs(found.weights - w)[~clipped] <= (scales / 2 + 0 * w)[~clipped]).all()


@given(st.integers(0, 99))
def test_no_scale_among_the_candidates_leaves_less_error(seed: int) -> None:
    w = weights(seed, outputs=3)
    largest = np.abs(w).max(1)
    ours = np.square(quantise_matrix(w).weights - w).sum(1)
    for share in (1.0, 0.9375, 0.75, 0.5):
        scales = (share * largest / 7).astype(np.float16)
        other = np.square(round_to_nearest(w, scales) * scales.astype(np.float64)[:, None] - w).sum(1)
        assert (ours <= other).all()


def test_weights_on_a_grid_are_kept() -> None:
    values = np.random.default_rng(0).integers(-7, 8, (OUTPUTS, INPUTS)).astype(np.int8)
    values[:, 0] = 7
    scales = np.exp2(np.arange(OUTPUTS) % 8 - 8).astype(np.float16)
    found = quantise_matrix(values * scales.astype(np.float64)[:, None])
    assert np.array_equal(found.values, values)
    assert np.array_equal(found.scales, scales)


def test_a_row_of_zeros_has_scale_one() -> None:
    found = quantise_matrix(np.zeros((2, 5)))
    assert found.scales.tolist() == [1, 1]
    assert not found.values.any()


@pytest.mark.parametrize("bad", [np.inf, np.nan])
def test_weights_that_are_no_numbers_are_refused(bad: float) -> None:
    w = weights()
    w[1, 2] = bad
    with pytest.raises(SpecError, match="valid: finite weights"):
        quantise_matrix(w)


# --- GPTQ -------------------------------------------------------------------------------------------------------------


def naive_gptq(w: Reals, scales: NDArray[np.float16], hessian: Reals) -> NDArray[np.int8]:
    """Column by column with a fresh inverse of what is left of H: the idea without its Cholesky factor."""
    h = hessian + DAMPING * np.diag(hessian).mean() * np.eye(len(hessian))
    left, found = w.copy(), np.zeros(w.shape, np.int8)
    order = list(np.argsort(-np.diag(hessian), kind="stable"))
    while order:
        inverse = np.linalg.inv(h[np.ix_(order, order)])
        column = order[0]
        found[:, column] = round_to_nearest(left[:, [column]], scales)[:, 0]
        error = (left[:, column] - found[:, column] * scales.astype(np.float64)) / inverse[0, 0]
        left[:, order] -= np.outer(error, inverse[0])
        order = order[1:]
    return found


@pytest.mark.parametrize("block", [7, 128])
def test_gptq_is_the_column_by_column_procedure(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gptq_module, "BLOCK", block)
    w, x = weights(1), correlated(1)
    scales = channel_scales(w)
    assert np.array_equal(gptq(w, scales, x.T @ x, round_to_nearest), naive_gptq(w, scales, x.T @ x))


@given(st.integers(0, 30))
def test_gptq_beats_rounding_on_inputs_like_those_it_saw(seed: int) -> None:
    w, x, fresh = weights(seed), correlated(seed)[: ROWS // 2], correlated(seed)[ROWS // 2 :]
    nearest, ours = quantise_matrix(w), quantise_matrix(w, x.T @ x)
    assert output_error(ours, w, fresh) < 0.8 * output_error(nearest, w, fresh)


def test_without_correlation_there_is_nothing_to_make_up_for() -> None:
    w, diagonal = weights(), np.diag(np.arange(1.0, INPUTS + 1))
    assert np.array_equal(quantise_matrix(w, diagonal).values, quantise_matrix(w).values)


def test_inputs_that_were_never_seen_are_rounded_as_they_are() -> None:
    w, x = weights(), correlated(0)
    x[:, 5] = 0
    assert np.array_equal(quantise_matrix(w, x.T @ x).values[:, 5], quantise_matrix(w).values[:, 5])
    assert np.array_equal(quantise_matrix(w, np.zeros((INPUTS, INPUTS))).values, quantise_matrix(w).values)


FAULTS = {
    "errors are passed on with the wrong sign": ("_inverse_factor", lambda u: 2 * np.diag(np.diag(u)) - u),
    "errors are not passed on": ("_inverse_factor", lambda u: np.diag(np.diag(u))),
    "the factor is transposed": ("_inverse_factor", lambda u: u.T.copy()),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_planted_faults_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, change = FAULTS[fault]
    right = getattr(gptq_module, name)
    monkeypatch.setattr(gptq_module, name, lambda hessian: change(right(hessian)))
    w, x = weights(1), correlated(1)
    scales = channel_scales(w)
    assert not np.array_equal(gptq(w, scales, x.T @ x, round_to_nearest), naive_gptq(w, scales, x.T @ x))


# --- whole models -----------------------------------------------------------------------------------------------------


def windows() -> torch.Tensor:
    return torch.stack([tokens(24, seed) for seed in range(4)])


@pytest.mark.parametrize("method", ["rtn", "gptq"])
@pytest.mark.parametrize("policy", ["reuse_last", "dense"])
def test_quantising_leaves_the_model_alone_and_repeats_itself(method: str, policy: str) -> None:
    model = tiny_model(SkipConfig(kv_policy=policy)).float()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    one, two = (quantise(model, method, windows()) for _ in range(2))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for name, matrix in one.matrices.items():
        assert np.array_equal(matrix.values, two.matrices[name].values)
        assert np.array_equal(matrix.scales, two.matrices[name].scales)


def test_projections_and_head_are_int4_and_all_else_fp16() -> None:
    model = tiny_model(SKIP).float()
    found = quantise(model, "rtn")
    state = found.model.state_dict()
    matrices = {f"{name}.weight" for name in found.matrices}
    assert {n for n in state if "proj.weight" in n or n == f"{HEAD}.weight"} == matrices
    for name, tensor in state.items():
        if name in matrices:
            expected = torch.from_numpy(found.matrices[name.removesuffix(".weight")].weights)
            assert torch.equal(tensor.double(), expected)
        else:
            assert torch.equal(tensor, model.state_dict()[name].half().float())
    assert not torch.equal(state[f"{HEAD}.weight"], state["llama.model.embed_tokens.weight"])


def test_gptq_lowers_the_output_error_of_the_first_layer_on_other_text() -> None:
    model = tiny_model(SKIP).float()
    text = torch.stack([tokens(24, seed) for seed in range(40, 104)])
    other = model.llama.model.layers[0].input_layernorm(model.llama.model.embed_tokens(windows())).flatten(0, 1)
    name = "llama.model.layers.0.self_attn.q_proj"
    w = model.get_submodule(name).weight.detach().double().numpy()
    x = other.detach().double().numpy()
    errors = [output_error(quantise(model, m, text).matrices[name], w, x) for m in ("gptq", "rtn")]
    assert errors[0] < errors[1]


def test_a_cut_is_the_first_layers() -> None:
    model = tiny_model(SKIP)
    cut = first_layers(model, 2)
    ids = tokens(10)[None]
    with torch.no_grad():
        assert torch.equal(cut(ids).executed, model(ids).executed[:, :2])
    assert cut.config.layers == 2
    with pytest.raises(SpecError, match=r"must be in 1\.\.4"):
        first_layers(model, 5)


def test_unknown_methods_and_missing_text_are_refused() -> None:
    with pytest.raises(SpecError, match="expected one of rtn, gptq"):
        quantise(tiny_model(SKIP), "awq")
    with pytest.raises(SpecError, match="needs calibration text"):
        quantise(tiny_model(SKIP), "gptq")
