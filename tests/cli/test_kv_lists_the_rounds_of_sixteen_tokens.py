"""`skipopu kv --list` on sixteen tokens, four HBM ports and two buffer ports, in the style of SkipOPU figure 7.

Layer 0 runs every token: token t lies in port t mod 4. The last layer runs the even tokens and the newest: they lie in
port (t / 2) mod 4, token 15 in port 0. The rounds are worked out by hand.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kv_traces import SIXTEEN, even_tokens, written

MACHINE = ("--overlay", "tiny", "--ports", 4, "--set", "kv_buffer.ports=2", "--set", "pe_array.columns=12",
           "--set", "kv_buffer.capacity_bytes=1024")  # fmt: skip

FIRST = """\
layer 0: buffer invalid, 4 rounds, 16 tokens, 0 from the buffer
  round 0: 0 p0, 1 p1*, 2 p2, 3 p3*
  round 1: 5 p1*, 6 p2, 7 p3*, 4 p0
  round 2: 10 p2, 11 p3, 8 p0, 9 p1
  round 3: 15 p3, 12 p0, 13 p1, 14 p2"""
VALID = """\
layer 1: buffer valid, 4 rounds, 16 tokens, 4 from the buffer
  round 0: 0 p0, 1 b0 (0), 2 p1, 3 b1 (0), 4 p2
  round 1: 5 b0 (0), 6 p3, 7 b1 (0), 8 p0, 9 p1 (0)
  round 2: 10 p1, 11 p3 (0), 12 p2
  round 3: 13 p1 (0), 14 p3, 15 p0"""
SKIPPED = "layer 1: the query token skips attention; nothing is read, the buffer becomes invalid"
QUEUES = """\
layer 2: buffer invalid, 6 rounds, 16 tokens, 0 from the buffer
  round 0: 0 p0, 1 p1 (0), 4 p2, 3 p3 (0)
  round 1: 2 p1, 12 p2, 6 p3, 8 p0
  round 2: 7 p3 (0), 15 p0, 5 p1 (0)
  round 3: 11 p3 (0), 9 p1 (0)
  round 4: 10 p1, 14 p3
  round 5: 13 p1 (0)"""
LOCK_STEP = """\
layer 2: buffer invalid, 6 rounds, 16 tokens, 0 from the buffer
  round 0: 0 p0, 1 p1 (0)
  round 1: 2 p1, 3 p3 (0), 4 p2
  round 2: 5 p1 (0), 6 p3
  round 3: 7 p3 (0), 8 p0, 9 p1 (0)
  round 4: 10 p1, 11 p3 (0), 12 p2
  round 5: 13 p1 (0), 14 p3, 15 p0"""
INTERLEAVED = """\
layer 1: 4 rounds, 16 tokens
  round 0: 0 all, 1 all (0), 2 all, 3 all (0)
  round 1: 4 all, 5 all (0), 6 all, 7 all (0)
  round 2: 8 all, 9 all (0), 10 all, 11 all (0)
  round 3: 12 all, 13 all (0), 14 all, 15 all"""


@pytest.fixture
def adjacent(tmp_path: Path) -> Path:
    """The query token runs in both layers: in layer 1 the buffer is valid."""
    return written(tmp_path / "two.trace", np.stack([np.ones(SIXTEEN, bool), even_tokens()]))


@pytest.fixture
def apart(tmp_path: Path) -> Path:
    """A layer that nobody runs between the same two: in layer 2 the buffer is invalid."""
    masks = [np.ones(SIXTEEN, bool), np.zeros(SIXTEEN, bool), even_tokens()]
    return written(tmp_path / "three.trace", np.stack(masks))


def listed(skipopu: Any, *arguments: object) -> str:
    said = skipopu("kv", *arguments, "--list")
    assert (said.status, said.err) == (0, "")
    return str(said.out)


def test_of_a_valid_buffer(skipopu: Any, adjacent: Path) -> None:
    assert f"rounds of decode step 0 (token 15)\n{FIRST}\n{VALID}\n" in listed(skipopu, adjacent, *MACHINE)


def test_of_an_invalid_buffer(skipopu: Any, apart: Path) -> None:
    said = listed(skipopu, apart, *MACHINE)
    assert f"\n{SKIPPED}\n{QUEUES}\n" in said
    said = listed(skipopu, apart, *MACHINE, "--set", "kv_buffer.invalid_rounds=lock_step")
    assert f"\n{SKIPPED}\n{LOCK_STEP}\n" in said


def test_of_the_interleaved_map(skipopu: Any, adjacent: Path) -> None:
    said = listed(skipopu, adjacent, *MACHINE, "--map", "interleaved", "--layers", 1)
    assert f"(token 15)\n{INTERLEAVED}\n" in said


def test_only_of_the_layers_asked_for(skipopu: Any, adjacent: Path) -> None:
    said = listed(skipopu, adjacent, *MACHINE, "--layers", 1)
    assert VALID in said
    assert "layer 0:" not in said
