"""A failing random case shrinks: to something smaller that still fails, in a bounded number of runs."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from overlay_programs import overlay_settings, seeds

from skipopu.hdl.cosim.overlay_seed import Seed
from skipopu.hdl.cosim.overlay_shrink import ATTEMPTS, LEAST, shrink


@given(seeds(overlay_settings(0)), st.integers(1, 8), st.integers(1, 2))
def test_it_still_fails_and_nothing_got_larger(seed: Seed, tokens: int, layers: int) -> None:
    def fails(each: Seed) -> bool:
        return each.prompt + each.decode >= tokens and each.layers >= layers

    if not fails(seed):
        return
    small = shrink(seed, fails, attempts=1000)
    assert fails(small)
    assert (small.layers, small.prompt + small.decode) == (layers, max(tokens, 1))
    assert all(LEAST[name] <= getattr(small, name) <= getattr(seed, name) for name in LEAST)
    assert (small.settings, small.seed) == (seed.settings, seed.seed)


def test_what_always_fails_becomes_the_least_case() -> None:
    small = shrink(Seed(prompt=8, decode=3), lambda _: True)
    assert all(getattr(small, name) == least for name, least in LEAST.items())


def test_it_asks_no_more_often_than_it_may() -> None:
    asked: list[Seed] = []

    def never(seed: Seed) -> bool:
        asked.append(seed)
        return False

    seed = replace(Seed(), prompt=8, layers=2)
    assert shrink(seed, never, attempts=3) == seed
    assert len(asked) == 3
    asked.clear()
    assert shrink(seed, never) == seed
    assert len(asked) <= ATTEMPTS
