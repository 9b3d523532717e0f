"""A model run in the overlay's numerics gives a trace; what the compiler makes of it has the same K/V rounds."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_programs import board, shape, tiny

from skipopu.numerics.decoder import ATTENTION, FFN
from skipopu.numerics.decoder_cache import KvCache, Rounds
from skipopu.program.compiler import compile_trace
from skipopu.program.context import resolve
from skipopu.program.numerical_run import NumericalRun, run_numerics
from skipopu.program.random_parameters import random_parameters
from skipopu.trace import Header, Provenance, Router, StepPhase

PROMPT, DECODE = 13, 6
SETTINGS = {
    "as shipped": (), "lock step": ("kv_buffer.invalid_rounds=lock_step",), "no buffer": ("kv_buffer.enabled=false",),
    "interleaved": ("kv_buffer.map=interleaved", "kv_buffer.enabled=false"),
    "short sums": ("psum.entries=128",), "long blocks": ("dataflow.row_block=32", "psum.entries=1024"),
}  # fmt: skip


def header(policy: str = "reuse_last", **router: Any) -> Header:
    chosen = {"kind": "linear", "ffn_input": "post_attention", "always_on_attention": (0,), **router}
    return Header("skipgpt", shape(), Router(**chosen), policy, Provenance("synthetic", 0, {}, "a test"))


def ran(settings: tuple[str, ...] = (), seed: int = 0, policy: str = "reuse_last") -> NumericalRun:
    top = header(policy)
    parameters = random_parameters(top.shape, top.router, PROMPT + DECODE, seed)
    prompt = [int(n) for n in np.random.default_rng(seed).integers(0, 100, PROMPT)]
    return run_numerics(parameters, top, tiny(settings), board(), prompt, DECODE)


@pytest.fixture
def scheduled(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int, int, int]]:
    """(layer, tokens seen, rounds, entries) of every schedule that the numerics form."""
    found, right = [], KvCache.rounds

    def noted(self: KvCache, layer: int, seen: int, *, decode: bool) -> Rounds:
        rounds = right(self, layer, seen, decode=decode)
        found.append((layer, seen, rounds.rounds, len(rounds.tokens)))
        return rounds

    monkeypatch.setattr(KvCache, "rounds", noted)
    return found


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
@pytest.mark.parametrize("policy", ["reuse_last", "dense"])
def test_the_rounds_are_those_the_compiler_counts(
    settings: tuple[str, ...], policy: str, scheduled: list[tuple[int, int, int, int]]
) -> None:
    run = ran(settings, policy=policy)
    context = resolve(run.trace, tiny(settings), board())
    passes, layers = context.passes, context.demand.rounds.shape[1]
    expected = {
        (layer, int(passes.first[p] + passes.rows[p]), int(context.demand.rounds[p, layer]),
         int(context.demand.hbm_entries[p, layer] + context.demand.buffer_entries[p, layer]))
        for p in range(len(passes.step)) for layer in range(layers) if context.demand.rounds[p, layer]
    }  # fmt: skip
    assert set(scheduled[-len(expected) :]) == expected
    assert run.row_block == passes.rows[~passes.decode].max()


def test_the_trace_has_what_was_decided_and_fed() -> None:
    run = ran()
    executed = np.concatenate([output.executed for output in run.outputs], axis=2)
    assert np.array_equal(run.trace.rows("q"), executed[ATTENTION])
    assert np.array_equal(run.trace.rows("ffn"), executed[FFN])
    assert run.trace.steps.phase.tolist() == [StepPhase.PREFILL] + [StepPhase.DECODE] * DECODE
    ids = run.trace.token_ids
    assert ids is not None
    chosen = run.logits[:-1].view(np.float16).argmax(1)
    assert np.array_equal(ids[PROMPT:], chosen)
    assert run.logits.shape == (1 + DECODE, shape().dimensions.vocabulary)


def test_the_trace_compiles() -> None:
    assert len(compile_trace(ran().trace, tiny(), board())) > 0


def test_blocks_that_the_compiler_makes_smaller_are_run_again() -> None:
    """PSUM holds two rows of a pass here, four heads in four parts of four sums each; the dataflow asks for eight."""
    assert ran(("psum.entries=128",)).row_block == 2
    assert ran().row_block == 4


FAULTS: dict[str, Callable[[Any], Any]] = {
    "the buffer is never used": lambda cache: cache.leave(),
    "a skipped layer leaves the buffer valid": lambda cache: setattr(cache, "_usable", True),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_changes_the_rounds(
    fault: str, scheduled: list[tuple[int, int, int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = list(scheduled_of(ran, scheduled))
    inner = KvCache.append

    def faulty(self: KvCache, *arguments: Any) -> None:
        inner(self, *arguments)
        FAULTS[fault](self)

    monkeypatch.setattr(KvCache, "append", faulty)
    assert right != list(scheduled_of(ran, scheduled))


def scheduled_of(run: Callable[[], Any], scheduled: list[tuple[int, int, int, int]]) -> list[tuple[int, ...]]:
    """What one run schedules."""
    del scheduled[:]
    run()
    return list(scheduled)
