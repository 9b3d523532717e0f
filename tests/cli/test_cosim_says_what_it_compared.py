"""`skipopu cosim`: what is printed, the status of a difference, and what is refused."""

import json
from importlib import import_module
from typing import Any

import pytest

from skipopu.hdl.cosim.difference import Difference

BURSTS = 60


def test_a_green_run_says_how_much_it_compared(skipopu: Any) -> None:
    said = skipopu("cosim", "dma", "--bursts", BURSTS)
    assert (said.status, said.err) == (0, "")
    assert "dma of tiny: 2 HBM ports, 2 ticks a core cycle" in said.out
    assert "RTL = simulator in every cycle" in said.out


def test_json_is_the_run_and_nothing_else(skipopu: Any) -> None:
    run = json.loads(skipopu("cosim", "dma", "--bursts", BURSTS, "--json").out)
    assert run["difference"] is None
    assert run["bursts"] >= BURSTS
    assert "accuracy" not in run


def test_a_difference_is_named_and_ends_with_status_one(skipopu: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dma = import_module("skipopu.hdl.cosim.dma")
    difference = Difference("cycle", 7, "weights move", 1, 0)
    monkeypatch.setattr(dma, "compare", lambda *_: difference)
    said = skipopu("cosim", "dma", "--bursts", BURSTS)
    assert said.status == 1
    assert "first difference: cycle 7, weights move: model 0x1, RTL 0x0" in said.out


def test_the_router_says_what_it_decided(skipopu: Any) -> None:
    said = skipopu("cosim", "router", "--tiles", 500)
    assert (said.status, said.err) == (0, "")
    assert "router of tiny: row blocks of 8, 2 stages" in said.out
    assert "RTL = numerics in every bit, RTL = simulator in every cycle" in said.out


@pytest.mark.parametrize(
    ("block", "option", "instead"),
    [
        ("pe_array", ("--bursts", 5), "use --tiles"),
        ("dma", ("--tiles", 5), "use --bursts"),
        ("kv_buffer", ("--columns", 4), "use --bursts"),
        ("npe", ("--bursts", 5), "use --tiles and --set pe_array.columns=N"),
        ("router", ("--columns", 4), "use --tiles"),
        ("ker", (), "expected one of: pe_array, npe, router, dma, kv_buffer"),
    ],
)
def test_what_a_block_does_not_have_is_refused(skipopu: Any, block: str, option: tuple[Any, ...], instead: str) -> None:
    said = skipopu("cosim", block, *option)
    assert (said.status, said.out) == (2, "")
    assert f"cosim {block}" in said.err
    assert instead in said.err
    assert said.err.count("\n") == 1


def test_the_interleaved_map_has_no_rtl(skipopu: Any) -> None:
    settings = ("--set", "kv_buffer.map=interleaved", "--set", "kv_buffer.enabled=false")
    said = skipopu("cosim", "kv_buffer", "--bursts", BURSTS, *settings)
    assert said.status == 2
    assert "token_wise" in said.err
