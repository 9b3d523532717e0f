"""A parameter that cannot be used is refused in one line: where, value, what is valid, what is nearest."""

import copy
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.load import DATA, build
from skipopu.spec.model_shape import Dimensions, ModelShape
from skipopu.spec.overlay import Overlay, Parameters

Table = dict[str, Any]
SHIPPED = tomllib.loads((DATA / "overlay" / "tiny.toml").read_text(encoding="utf-8"))


def refusal(load: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as caught:
        load()
    text = str(caught.value)
    assert "\n" not in text
    return text


BAD_SETTINGS = [
    ("pe_array.columns=0", "skipopu-u280.toml: pe_array.columns = 0; must be in 2..1024 column; nearest: 2"),
    (
        "pe_array.columns=63",
        "overlay skipopu-u280: pe_array.columns = 63; must be even (two columns share a DSP); nearest: 64",
    ),
    (
        "pe_array.columns=2000",
        "skipopu-u280.toml: pe_array.columns = 2000; must be in 2..1024 column; nearest: 1024",
    ),
    ("pe_array.columns=nan", "skipopu-u280.toml: pe_array.columns = nan; expected int, e.g. 2"),
    ("pe_array.columns=64.0", "skipopu-u280.toml: pe_array.columns = 64.0; expected int, e.g. 2"),
    ("pe_array.columns=true", "skipopu-u280.toml: pe_array.columns = True; expected int, e.g. 2"),
    ("pe_array.columns=", "skipopu-u280.toml: pe_array.columns = ''; expected int, e.g. 2"),
    (
        "pe_array.dot_length=48",
        "skipopu-u280.toml: pe_array.dot_length = 48; must be a power of two; nearest: 64",
    ),
    (
        "clock.core_mhz=nan",
        "skipopu-u280.toml: clock.core_mhz = nan; expected a finite number in 1..2000 MHz",
    ),
    (
        "clock.core_mhz=inf",
        "skipopu-u280.toml: clock.core_mhz = inf; expected a finite number in 1..2000 MHz",
    ),
    ("clock.core_mhz=-1", "skipopu-u280.toml: clock.core_mhz = -1; must be in 1..2000 MHz; nearest: 1"),
    ("datatypes.weights=int3", "skipopu-u280.toml: datatypes.weights = 'int3'; expected one of int4, fp16"),
    ("kv_buffer.enabled=1", "skipopu-u280.toml: kv_buffer.enabled = 1; expected bool, e.g. true"),
    ("pe_array.colums=64", "--set pe_array.colums: unknown key; did you mean 'pe_array.columns'?"),
    ("zzzzzzzz=1", "--set zzzzzzzz: unknown key"),
    ("pe_array=1", "--set pe_array: unknown key"),
    ("pe_array.columns", "--set pe_array.columns: expected key=value, e.g. --set pe_array.columns=64"),
    ("pe_array.columns=[1]", "--set pe_array.columns=[1]: expected a value like 128"),
    (
        "psum.interleave=2",
        "overlay skipopu-u280: psum.interleave = 2; must be at least 4 (pe_array.accumulate_stages, or a sum"
        " would be read before it is written); nearest: 4",
    ),
]


@pytest.mark.parametrize(("setting", "text"), BAD_SETTINGS)
def test_a_bad_setting_is_refused(setting: str, text: str) -> None:
    found = refusal(lambda: Overlay.load("skipopu-u280", (setting,)))
    assert found.startswith(text) if text.endswith("unknown key") else found == text


BAD_LEAVES: list[tuple[str, Any, str]] = [
    ("unit", "columns", "t.toml: pe_array.columns.unit = 'columns'; expected 'column'"),
    ("source", " ", "t.toml: pe_array.columns.source is empty; say where 8 comes from"),
    (
        "confidence", "guess",
        "t.toml: pe_array.columns.confidence = 'guess';"
        " expected one of paper, datasheet, measured, derived, decision",
    ),
    ("value", "8", "t.toml: pe_array.columns = '8'; expected int, e.g. 2"),
    ("value", 0, "t.toml: pe_array.columns = 0; must be in 2..1024 column; nearest: 2"),
]  # fmt: skip


@pytest.mark.parametrize(("part", "value", "text"), BAD_LEAVES)
def test_a_bad_leaf_is_refused(part: str, value: Any, text: str) -> None:
    table = copy.deepcopy(SHIPPED)
    table["pe_array"]["columns"][part] = value
    assert refusal(lambda: build(Parameters, table, "t.toml")) == text


def without(*path: str) -> Table:
    table = copy.deepcopy(SHIPPED)
    node = table
    for key in path[:-1]:
        node = node[key]
    del node[path[-1]]
    return table


def with_extra(key: str, value: Any) -> Table:
    table = copy.deepcopy(SHIPPED)
    table["pe_array"][key] = value
    return table


BAD_TABLES = [
    (without("pe_array", "columns"), "t.toml: missing key 'pe_array.columns'"),
    (without("pe_array"), "t.toml: missing key 'pe_array'"),
    (with_extra("colums", 1), "t.toml: unknown key 'pe_array.colums'; did you mean 'columns'?"),
    (SHIPPED | {"pe_array": 8}, "t.toml: pe_array = 8; expected a section [pe_array]"),
    (with_extra("columns", 8), "t.toml: pe_array.columns = 8; expected {value, unit, source, confidence}"),
]


@pytest.mark.parametrize(("table", "text"), BAD_TABLES)
def test_a_bad_table_is_refused(table: Table, text: str) -> None:
    assert refusal(lambda: build(Parameters, table, "t.toml")) == text


@given(st.data())
def test_no_leaf_may_lose_any_part_of_its_provenance(data: st.DataObject) -> None:
    table = copy.deepcopy(SHIPPED)
    section = data.draw(st.sampled_from(sorted(table)))
    key = data.draw(st.sampled_from(sorted(table[section])))
    part = data.draw(st.sampled_from(["value", "unit", "source", "confidence"]))
    del table[section][key][part]
    found = refusal(lambda: build(Parameters, table, "t.toml"))
    assert found.startswith(f"t.toml: {section}.{key} = ")
    assert found.endswith("; expected {value, unit, source, confidence}")


@given(st.data())
def test_no_number_may_be_infinite_absent_or_of_another_kind(data: st.DataObject) -> None:
    leaves = [(s, k) for s, keys in SHIPPED.items() for k in keys]
    numbers = [(s, k) for s, k in leaves if type(SHIPPED[s][k]["value"]) in (int, float)]
    section, key = data.draw(st.sampled_from(sorted(numbers)))
    value = data.draw(st.sampled_from([float("nan"), float("inf"), -float("inf"), None, "", [], True]))
    table = copy.deepcopy(SHIPPED)
    table[section][key]["value"] = value
    found = refusal(lambda: build(Parameters, table, "t.toml"))
    assert found.startswith(f"t.toml: {section}.{key} = {value!r}; ")


@given(st.integers(-(10**6), 10**6))
def test_exactly_the_values_in_bounds_are_taken_and_the_nearest_is_valid(value: int) -> None:
    table = copy.deepcopy(SHIPPED)
    table["ifm"]["rows"]["value"] = value
    if 2 <= value <= 8192:
        assert build(Parameters, table, "t.toml")[0].ifm.rows == value
        return
    nearest = int(refusal(lambda: build(Parameters, table, "t.toml")).rsplit(" ", 1)[1])
    assert abs(nearest - value) == min(abs(2 - value), abs(8192 - value))
    table["ifm"]["rows"]["value"] = nearest
    build(Parameters, table, "t.toml")


BAD_SHAPES = [
    ("kv_heads=5", "shape llama2-7b: kv_heads = 5 must divide attention_heads = 32; nearest: 4"),
    ("head_dim=127", "shape llama2-7b: head_dim = 127 must be even for RoPE; nearest: 128"),
    ("layers=0", "llama2-7b.toml: layers = 0; must be in 1..1024 layer; nearest: 1"),
    ("tied_embeddings=yes", "llama2-7b.toml: tied_embeddings = 'yes'; expected bool, e.g. true"),
]


@pytest.mark.parametrize(("setting", "text"), BAD_SHAPES)
def test_a_bad_shape_is_refused(setting: str, text: str) -> None:
    assert refusal(lambda: ModelShape.load("llama2-7b", (setting,))) == text


def test_a_shape_from_values_needs_every_dimension_and_no_other() -> None:
    values = {n: leaf.value for n, leaf in ModelShape.load("llama2-7b").provenance.items()}
    assert ModelShape.from_values("llama2-7b", "config.json", **values) == ModelShape.load("llama2-7b")
    missing = {n: v for n, v in values.items() if n != "layers"}
    assert refusal(lambda: ModelShape.from_values("m", "c", **missing)) == "shape m: missing key 'layers'"
    found = refusal(lambda: ModelShape.from_values("m", "c", **values, layer=1))
    assert found == "shape m: unknown key 'layer'; did you mean 'layers'?"
    assert set(values) == set(Dimensions.__dataclass_fields__)


UNKNOWN: list[tuple[Callable[[], object], str]] = [
    (
        lambda: Overlay.load("skipop-u280"),
        "overlay 'skipop-u280' is not known; did you mean 'skipopu-u280'?; shipped: skipopu-u280, tiny",
    ),
    (lambda: Board.load("u28"), "board 'u28' is not known; did you mean 'u280'?; shipped: u280"),
    (
        lambda: Overlay.load("no/such.toml"),
        "overlay no/such.toml: no such file; give a readable .toml or one of: skipopu-u280, tiny",
    ),
]


@pytest.mark.parametrize(("load", "text"), UNKNOWN)
def test_an_unknown_file_is_refused_with_the_known_ones(load: Callable[[], object], text: str) -> None:
    assert refusal(load) == text


@pytest.mark.parametrize("content", [b"[pe_array", b"\xff\xfe", b"a = 1\na = 2"])
def test_a_file_that_is_not_toml_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    found = refusal(lambda: Overlay.load(str(path)))
    assert found.startswith("mine.toml: ")
    assert found.endswith("; expected a readable TOML file")
