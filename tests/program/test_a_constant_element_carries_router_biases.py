"""With a constant element in the residual stream a machine without router biases decides as if it had them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from small_programs import board, shape, tiny

from skipopu.numerics.decoder import Decoder, Output
from skipopu.numerics.decoder_parameters import Routing
from skipopu.program.compiler import compile_trace
from skipopu.program.constant_element import with_constant_element
from skipopu.program.image import build_image
from skipopu.program.numerical_run import run_numerics
from skipopu.program.parameters import LayerParameters, ModelParameters, RouterWeights
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.error import SpecError
from skipopu.trace import Header, Provenance, Router

TOKENS = 16
LINEAR = Router(kind="linear", ffn_input="post_attention", always_on_attention=(0,))


def biased(seed: int = 0, largest: float = 8.0, **dimensions: object) -> ModelParameters:
    """Random numbers with biases as large as the logits."""
    random = np.random.default_rng(seed)
    found = random_parameters(shape(**dimensions), LINEAR, TOKENS, seed)

    def with_bias(router: RouterWeights | None) -> RouterWeights | None:
        bias = (largest * random.uniform(-1, 1, 2)).astype(np.float16).view(np.uint16)
        return None if router is None else replace(router, last_bias=bias)

    def layer(of: LayerParameters) -> LayerParameters:
        routers = with_bias(of.attention_router), with_bias(of.ffn_router)
        return replace(of, attention_router=routers[0], ffn_router=routers[1])

    return replace(found, layers=tuple(layer(each) for each in found.layers))


def run(parameters: ModelParameters, gates: NDArray[np.bool_] | None = None) -> Output:
    ids = [int(n) for n in np.random.default_rng(0).integers(0, 100, TOKENS)]
    return Decoder(tiny(), parameters, Routing(), TOKENS, 4).prefill(ids, all_rows=True, gates=gates)


def real(bits: NDArray[np.uint16]) -> NDArray[np.float64]:
    return bits.view(np.float16).astype(np.float64)


@pytest.mark.parametrize("seed", range(4))
def test_the_model_is_the_same_but_for_a_rounding_of_gamma(seed: int) -> None:
    plain = biased(seed)
    wide, right = with_constant_element(plain), run(plain)
    found = run(wide, right.executed)
    assert (found.decided == right.decided).mean() > 0.98
    error = np.linalg.norm(real(found.hidden)[..., :-1] - real(right.hidden)) / np.linalg.norm(real(right.hidden))
    assert 0 < error < 2.0**-9
    assert not np.array_equal(right.decided, run(replace(plain, layers=_without(plain)), right.executed).decided)


def _without(parameters: ModelParameters) -> tuple[LayerParameters, ...]:
    """The layers with their biases left out: decisions change, or the test above shows nothing."""

    def bare(router: RouterWeights | None) -> RouterWeights | None:
        return None if router is None else RouterWeights(router.last)

    return tuple(
        replace(layer, attention_router=bare(layer.attention_router), ffn_router=bare(layer.ffn_router))
        for layer in parameters.layers
    )


def test_the_element_never_changes() -> None:
    found = real(run(with_constant_element(biased())).hidden)[..., -1]
    assert len(np.unique(found)) == 1
    assert np.log2(found[0, 0, 0] if found.ndim == 3 else found[0, 0]).is_integer()


def test_the_mean_of_squares_is_kept() -> None:
    plain = biased()
    wide = with_constant_element(plain)
    x = np.random.default_rng(0).standard_normal(plain.shape.dimensions.hidden_size)
    c, size = real(wide.embedding)[0, -1], len(x)
    before = np.sqrt((x**2).sum() / size + plain.epsilon)
    after = np.sqrt(((x**2).sum() + c**2) / (size + 1) + wide.epsilon)
    assert after * np.sqrt((size + 1) / size) == pytest.approx(before, rel=1e-12)


def test_numbers_without_biases_are_left_alone() -> None:
    plain = random_parameters(shape(), LINEAR, TOKENS)
    assert with_constant_element(plain) is plain


def test_the_program_has_the_logits_of_the_numerics() -> None:
    from skipopu.sim.functional.machine import run as execute

    wide = with_constant_element(biased())
    header = Header("skipgpt", wide.shape, LINEAR, "reuse_last", Provenance("synthetic", 0, {}, "a test"))
    numerics = run_numerics(wide, header, tiny(), board(), [1, 2, 3, 4, 5, 6, 7], 4)
    program = compile_trace(numerics.trace, tiny(), board())
    assert np.array_equal(execute(program, build_image(program, wide)).logits, numerics.logits)


def test_biases_beyond_reach_are_refused() -> None:
    with pytest.raises(SpecError, match="beyond FP16; nearest"):
        with_constant_element(replace(biased(largest=60000), epsilon=1e-12))
    layers = biased().layers
    router = layers[1].attention_router
    assert router is not None
    deep = replace(layers[1], attention_router=replace(router, hidden=router.last))
    with pytest.raises(SpecError, match="valid: RMSNorm and linear routers"):
        with_constant_element(replace(biased(), layers=(layers[0], deep, *layers[2:])))
