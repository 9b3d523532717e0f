"""Every last bit of a decoder: the order of its roundings, and what may and what may not depend on how text is fed.

Only sums over K/V rounds depend on that: which tokens a round holds follows from the row block, from the phase and from
what the invariance buffer holds. Wherever the rounds are the same, all bits are.
"""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from skipopu.numerics.arithmetic import arithmetic_of
from skipopu.numerics.decoder import Decoder, Output
from skipopu.numerics.decoder_cache import Rounds
from skipopu.numerics.decoder_context import attend
from skipopu.numerics.decoder_parameters import Routing
from skipopu.numerics.decoder_products import Products, widened
from skipopu.numerics.dot_product import dot_products
from skipopu.numerics.psum import accumulate, drain
from skipopu.numerics.softmax import NEGATIVE_INFINITY, add_scores, probabilities, softmax_state
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Router

Bits = NDArray[np.uint16]
EPSILON = 1e-5
ROWS, WIDTH, HEAD, TOKENS = 3, 4, 32, 13


def machine(*settings: str, name: str = "tiny") -> Overlay:
    return Overlay.load(name, settings)


def fp16(random: np.random.Generator, *shape: int, size: float = 1.0) -> Bits:
    return (size * random.standard_normal(shape)).astype(np.float16).view(np.uint16)


# --- results ----------------------------------------------------------------------------------------------------------


def rounded_each_step(totals: Any, layer: Any, residual: Any) -> Bits:
    """The same in NumPy's float32."""
    found = totals.view(np.float32) * layer.scales.view(np.float16).astype(np.float32)
    if layer.bias is not None:
        found = found + layer.bias.view(np.float16).astype(np.float32)
    if residual is not None:
        found = found + residual.view(np.float16).astype(np.float32)
    return found.astype(np.float16).view(np.uint16)


def matrix(seed: int, biased: bool) -> Any:
    random = np.random.default_rng(seed)
    values = random.integers(-8, 8, (9, 40)).astype(np.int8)
    return SimpleNamespace(weights=values, scales=fp16(random, 9, size=0.02), bias=fp16(random, 9) if biased else None)


@given(st.integers(0, 99), st.booleans(), st.booleans())
def test_a_result_is_scaled_biased_added_in_fp32_and_rounded_to_fp16_once(seed: int, biased: bool, added: bool) -> None:
    products, layer = Products(machine(), EPSILON), matrix(seed, biased)
    x, residual = fp16(np.random.default_rng(seed + 1), ROWS, 40), fp16(np.random.default_rng(seed), ROWS, 9)
    found = products.linear(x, layer, residual if added else None)
    totals = products.totals(x, layer.weights)
    assert np.array_equal(found, rounded_each_step(totals, layer, residual if added else None))


def test_another_rounding_order_is_seen() -> None:
    """A result rounded to FP16 before the residual is added."""
    products, differing = Products(machine(), EPSILON), 0
    for seed in range(20):
        layer, x = matrix(seed, False), fp16(np.random.default_rng(seed), ROWS, 40)
        residual = fp16(np.random.default_rng(seed + 1), ROWS, 9)
        early = (products.linear(x, layer).view(np.float16) + residual.view(np.float16)).view(np.uint16)
        differing += int((early != products.linear(x, layer, residual)).sum())
    assert differing > 0


def test_fp16_scales_are_exact_in_fp32() -> None:
    finite = np.arange(0x7C00, dtype=np.uint16)
    assert np.array_equal(widened(finite).view(np.float32).astype(np.float16).view(np.uint16), finite)


# --- attention --------------------------------------------------------------------------------------------------------


def in_steps(
    overlay: Overlay, q: Bits, k: Bits, v: Bits, visible: Any, rounds: Rounds, scale: float, lanes: int
) -> Bits:
    """Round by round as the blocks do it: scores and statistics of all rounds, then each round's probabilities · V."""
    arithmetic, dot = arithmetic_of(overlay), overlay.pe_array.dot_length
    state, raw, slots = softmax_state(len(q)), [], []
    where = [np.flatnonzero(rounds.places // rounds.width == r) for r in range(rounds.rounds)]
    for entries in where:
        tiles = [dot_products(q[:, t : t + dot], k[entries, t : t + dot], arithmetic) for t in range(0, HEAD, dot)]
        sums = drain(accumulate(np.stack(tiles), arithmetic), arithmetic).view(np.float32)
        scores = (sums * np.float32(scale)).astype(np.float16).view(np.uint16)
        tile = np.full((len(q), rounds.width), NEGATIVE_INFINITY, np.uint16)
        tile[:, rounds.places[entries] % rounds.width] = np.where(visible[:, entries], scores, NEGATIVE_INFINITY)
        for first in range(0, rounds.width, lanes):
            add_scores(state, tile[:, first : first + lanes])
        raw.append(tile)
    for entries, tile in zip(where, raw, strict=True):
        share = probabilities(state, tile)[:, rounds.places[entries] % rounds.width]
        slots.append(dot_products(share, np.ascontiguousarray(v[entries].T), arithmetic))
    totals = drain(accumulate(np.stack(slots), arithmetic), arithmetic)
    return totals.view(np.float32).astype(np.float16).view(np.uint16)


def attention_case(seed: int) -> tuple[Any, ...]:
    """Queries of three tokens; entries in rounds of one to four, at random columns."""
    random = np.random.default_rng(seed)
    q, k, v = fp16(random, ROWS, HEAD), fp16(random, TOKENS, HEAD), fp16(random, TOKENS, HEAD)
    tokens, places, left, count = random.permutation(TOKENS), [], TOKENS, 0
    while left:
        size = min(left, int(random.integers(1, WIDTH + 1)))
        places += list(count * WIDTH + random.permutation(WIDTH)[:size])
        left, count = left - size, count + 1
    rounds = Rounds(tokens, np.array(places), count, WIDTH)
    visible = tokens <= np.array([2, 7, TOKENS])[:, None]
    return q, k[tokens], v[tokens], visible, rounds, HEAD**-0.5


@given(st.integers(0, 999), st.sampled_from([1, 2, 4]), st.booleans())
def test_attention_goes_round_by_round_and_word_by_word(seed: int, lanes: int, short_sums: bool) -> None:
    overlay = machine(*(("psum.format=fp16",) if short_sums else ()))
    case = attention_case(seed)
    assert np.array_equal(attend(Products(overlay, EPSILON), *case, lanes), in_steps(overlay, *case, lanes))


def test_another_order_of_the_rounds_is_seen() -> None:
    """With FP16 sums, where the last bit is not rounded away."""
    overlay, differing = machine("psum.format=fp16"), 0
    for seed in range(20):
        q, k, v, visible, rounds, scale = attention_case(seed)
        backwards = rounds._replace(places=(rounds.rounds - 1 - rounds.places // WIDTH) * WIDTH + rounds.places % WIDTH)
        found = attend(Products(overlay, EPSILON), q, k, v, visible, backwards, scale, WIDTH)
        differing += int((found != in_steps(overlay, q, k, v, visible, rounds, scale, WIDTH)).sum())
    assert differing > 0


# --- sequences --------------------------------------------------------------------------------------------------------


def decoder(overlay: Overlay, block: int, policy: str = "reuse_last", seed: int = 0) -> Decoder:
    shape = ModelShape.from_values(
        "small", "a test", layers=3, hidden_size=64, intermediate_size=96, attention_heads=4, kv_heads=2, head_dim=16,
        vocabulary=100, tied_embeddings=False, qkv_bias=False, qk_norm=False,
    )  # fmt: skip
    router = Router(kind="linear", ffn_input="post_attention", always_on_attention=(0,))
    parameters = random_parameters(shape, router, TOKENS, seed)
    return Decoder(overlay, parameters, Routing(policy), TOKENS, block)


def fed(one: Decoder, sizes: list[int], decoded: int = 0, seed: int = 0) -> Output:
    """Feed ``sizes`` prefills, then decode ``decoded`` tokens."""
    ids = [int(n) for n in np.random.default_rng(seed).integers(0, 100, TOKENS)]
    outputs, at = [], 0
    for size in sizes:
        outputs.append(one.prefill(ids[at : at + size], all_rows=True))
        at += size
    outputs += [one.decode(token) for token in ids[at : at + decoded]]
    return Output(
        np.concatenate([o.logits for o in outputs]), np.concatenate([o.hidden for o in outputs], axis=1),
        np.concatenate([o.decided for o in outputs], axis=2), np.concatenate([o.executed for o in outputs], axis=2),
    )  # fmt: skip


def same(a: Output, b: Output) -> bool:
    return np.array_equal(a.hidden, b.hidden) and np.array_equal(a.logits, b.logits)


@pytest.mark.parametrize("policy", ["reuse_last", "dense"])
@pytest.mark.parametrize("seed", range(3))
def test_prefills_split_between_row_blocks_are_one_prefill(policy: str, seed: int) -> None:
    whole = fed(decoder(machine(), 4, policy, seed), [TOKENS], seed=seed)
    assert same(whole, fed(decoder(machine(), 4, policy, seed), [4, 8, 1], seed=seed))


@pytest.mark.parametrize("rounds", ["queues", "lock_step"])
def test_decode_without_a_buffer_is_a_prefill_in_blocks_of_a_row(rounds: str) -> None:
    overlay = machine("kv_buffer.enabled=false", f"kv_buffer.invalid_rounds={rounds}")
    assert same(fed(decoder(overlay, 1), [5], TOKENS - 5), fed(decoder(overlay, 1), [TOKENS]))


def test_in_one_round_nothing_depends_on_how_text_is_fed() -> None:
    """All tokens of a layer fit a round of the published overlay: sums in a round are exact."""
    overlay = machine("kv_buffer.enabled=false", name="skipopu-u280")
    assert overlay.tokens_per_round >= TOKENS
    assert same(fed(decoder(overlay, 4), [TOKENS]), fed(decoder(overlay, 13), [3], TOKENS - 3))


def test_several_rounds_show_in_the_last_bits_only() -> None:
    """The test above means something: on the tiny overlay last bits differ, and no decision does."""
    a, b = fed(decoder(machine(), 8), [TOKENS]), fed(decoder(machine(), 1), [3], TOKENS - 3)
    assert not same(a, b)
    assert np.array_equal(a.executed, b.executed)
    wide = [x.hidden.view(np.float16).astype(np.float64) for x in (a, b)]
    assert np.linalg.norm(wide[0] - wide[1]) < 2.0**-10 * np.linalg.norm(wide[0])


def test_rows_without_attention_do_not_depend_on_rounds_at_all() -> None:
    a, b = fed(decoder(machine(), 8), [TOKENS]), fed(decoder(machine(), 1), [3], TOKENS - 3)
    assert np.array_equal(a.hidden[0], b.hidden[0])


def test_a_run_repeats_itself() -> None:
    assert same(fed(decoder(machine(), 4), [9], 4), fed(decoder(machine(), 4), [9], 4))
