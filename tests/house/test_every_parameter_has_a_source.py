"""Every number that stands in a specification says its unit, where it comes from, and how sure that is."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from skipopu.spec.board import Board
from skipopu.spec.leaf import CONFIDENCES
from skipopu.spec.load import DATA, shipped
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay

FILES = sorted(DATA.rglob("*.toml"))
LOADERS: dict[str, Any] = {"overlay": Overlay, "board": Board, "shape": ModelShape}


def unsourced(table: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the key path of every value that does not carry all four of value, unit, source, confidence."""
    for key, value in table.items():
        where = f"{path}.{key}".lstrip(".")
        if isinstance(value, Mapping) and "value" not in value:
            yield from unsourced(value, where)
        elif not _complete(value):
            yield where


def _complete(leaf: Any) -> bool:
    if not isinstance(leaf, Mapping) or set(leaf) != {"value", "unit", "source", "confidence"}:
        return False
    words = (leaf["unit"], leaf["source"])
    return all(isinstance(w, str) and w.strip() for w in words) and leaf["confidence"] in CONFIDENCES


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(DATA)))
def test_every_leaf_carries_its_provenance(path: Path) -> None:
    assert list(unsourced(tomllib.loads(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(DATA)))
def test_what_is_loaded_keeps_the_provenance(path: Path) -> None:
    loaded = LOADERS[path.parent.name].load(path.stem)
    leaves = loaded.provenance
    assert leaves
    assert all(leaf.source.strip() for leaf in leaves.values())


def test_the_promised_machines_are_shipped() -> None:
    assert {"skipopu-u280", "tiny"} <= set(shipped("overlay"))
    assert "u280" in shipped("board")


@pytest.mark.parametrize(
    "text",
    [
        "a = 1",
        "[s]\na = 1",
        "[s]\na = {value = 1, unit = 'cycle', source = 'x'}",
        "[s]\na = {value = 1, unit = 'cycle', source = ' ', confidence = 'paper'}",
        "[s]\na = {value = 1, unit = 'cycle', source = 'x', confidence = 'guess'}",
    ],
)
def test_a_planted_fault_is_found(text: str) -> None:
    assert [w[-1] for w in unsourced(tomllib.loads(text))] == ["a"]
