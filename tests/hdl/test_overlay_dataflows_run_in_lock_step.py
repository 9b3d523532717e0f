"""Every dataflow of SkipOPU §5.3, with and without invariance buffer, runs on the RTL as in the simulator."""

from functools import cache

import pytest

from skipopu.hdl.cosim.overlay import cosimulate
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl
from skipopu.hdl.cosim.overlay_seed import Seed
from skipopu.program.dataflow import DATAFLOWS
from skipopu.spec.overlay import Overlay

pytestmark = pytest.mark.slow

# what the dataflow's twin of a trace is, in the terms of a seed: routers, K/V policy
ROUTING = {
    "baseline": ("none", "dense"),
    "partial_skip": ("linear", "dense"),
    "kv_reuse": ("linear", "reuse_last"),
    "kv_reuse_fused": ("linear", "reuse_last"),
}
BUFFER = ("kv_buffer.enabled=true", "kv_buffer.enabled=false")


@cache
def rtl(settings: tuple[str, ...]) -> OverlayRtl:
    return OverlayRtl(Overlay.load("tiny", settings))


def settings_of(name: str, buffer: str) -> tuple[str, ...]:
    return (*DATAFLOWS[name].settings, buffer)


@pytest.mark.parametrize("buffer", BUFFER)
@pytest.mark.parametrize("name", DATAFLOWS)
def test_in_lock_step(name: str, buffer: str) -> None:
    settings = settings_of(name, buffer)
    router, policy = ROUTING[name]
    case = Seed(seed=7, settings=settings, router=router, kv_policy=policy, prompt=9, decode=3).case()
    found = cosimulate(case, rtl=rtl(settings))
    assert found.differences == ()
    assert found.cycles == found.model_cycles


@pytest.mark.parametrize("name", DATAFLOWS)
def test_the_seed_is_the_dataflow_s_twin_of_a_trace(name: str) -> None:
    """The routing above is what the dataflow makes of a trace that reuses K/V."""
    router, policy = ROUTING[name]
    twin = DATAFLOWS[name].of(Seed(seed=7).case().numerics.trace)
    assert (twin.header.router.kind, twin.header.kv_policy) == (router, policy)
