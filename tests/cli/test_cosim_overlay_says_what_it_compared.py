"""`skipopu cosim overlay`: what is printed, the status of a difference, what is refused; the RTL is another's test."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from skipopu.hdl.cosim import overlay
from skipopu.hdl.cosim.overlay import OverlayRun
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.hdl.cosim.overlay_seed import Seed, read_seed
from skipopu.spec.error import SpecError

SEED = Seed(layers=1, hidden_size=16, intermediate_size=16, prompt=2, decode=1, vocabulary=8)
RUN = OverlayRun("tiny", "random", 84, 2, 4, 3930, 3930, 20992, 14080, None, 1.0, 2.0, ())
DIFFERENT = (
    OverlayDifference("cause", 7, "block npe, signal cause", "busy", "rows"),
    OverlayDifference("logits", None, "step 0, logit 3 (1 of 8 differ)", "0x3c00", "0x3c01"),
)


@pytest.fixture
def case(tmp_path: Path) -> Path:
    path = tmp_path / "case.json"
    SEED.write(path)
    return path


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command asks for; ``differences`` are what the run finds."""
    found: dict[str, Any] = {"differences": ()}

    def cosimulate(case: Any, **options: Any) -> OverlayRun:
        found.update(options, case=case)
        return replace(RUN, differences=found["differences"], stall_seed=options["stall_seed"])

    monkeypatch.setattr(overlay, "cosimulate", cosimulate)
    return found


def test_a_seed_is_kept_as_it_is(case: Path) -> None:
    assert read_seed(case) == SEED


def test_a_green_run_says_what_is_equal(skipopu: Any, case: Path, asked: dict[str, Any]) -> None:
    said = skipopu("cosim", "overlay", "--case", case)
    assert (said.status, said.err) == (0, "")
    assert "84 instructions: issue, first and last cycle equal" in said.out
    assert "logits of 2 steps = numerics, bit for bit" in said.out
    assert "counters = the simulator's ledger" in said.out
    assert asked["case"].parameters.shape.dimensions.hidden_size == SEED.hidden_size


def test_under_stalls_times_are_not_compared(skipopu: Any, case: Path, asked: dict[str, Any]) -> None:
    said = skipopu("cosim", "overlay", "--case", case, "--stall-seed", 3)
    assert asked["stall_seed"] == 3
    assert "random stalls of seed 3" in said.out
    assert "issue, first and last" not in said.out
    assert "every byte of HBM and DDR4" in said.out


def test_every_kind_of_difference_is_named(skipopu: Any, case: Path, asked: dict[str, Any]) -> None:
    asked["differences"] = DIFFERENT
    said = skipopu("cosim", "overlay", "--case", case)
    assert said.status == 1
    assert "first difference: cycle 7, cause, block npe, signal cause: model busy, RTL rows" in said.out
    assert "first difference: logits, step 0, logit 3 (1 of 8 differ): model 0x3c00, RTL 0x3c01" in said.out
    assert "--waves DIR" in said.out


def test_json_is_the_run_and_nothing_else(skipopu: Any, case: Path, asked: dict[str, Any]) -> None:
    asked["differences"] = DIFFERENT
    said = skipopu("cosim", "overlay", "--case", case, "--json")
    values = json.loads(said.out)
    assert said.status == 1
    assert (values["equal"], values["instructions"]) == (False, 84)
    assert values["differences"][0]["cycle"] == 7


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("overlay", "--tiles", 5), "--tiles 5 is not for this block; use --layers"),
        (("overlay", "--seed", 5), "--seed 5 is not for this block"),
        (("dma", "--layers", 2), "--layers 2 is not for this block; use cosim overlay"),
        (("dma", "--stall-seed", 2), "--stall-seed 2 is not for this block"),
        (("overlay", "--prompt", 100_000), "--prompt 100000: the text has"),
    ],
)
def test_what_does_not_go_together_is_refused(skipopu: Any, arguments: tuple[Any, ...], told: str) -> None:
    said = skipopu("cosim", *arguments)
    assert (said.status, said.out) == (2, "")
    assert told in said.err
    assert said.err.count("\n") == 1


def test_a_case_says_everything_itself(skipopu: Any, case: Path) -> None:
    said = skipopu("cosim", "overlay", "--case", case, "--layers", 2)
    assert said.status == 2
    assert "says itself what --layers 2 would" in said.err


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"settings": [], "unknown": 1}'])
def test_what_is_no_case_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(SpecError, match="no seed of a random case"):
        read_seed(path)
