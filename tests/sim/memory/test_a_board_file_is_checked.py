"""A board whose numbers cannot be is refused in one line that names the key and what would do."""

from pathlib import Path

import pytest
from dram_oracle import decode, ticks
from dram_traffic import memory_of, place
from hypothesis import given
from hypothesis import strategies as st

from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.load import find
from skipopu.spec.memory import ADDRESS_MAPS

SHIPPED = find("board", "u280").read_text(encoding="utf-8")


BAD = {  # line of the shipped file, what stands there instead of its value, the message
    "tRP = { value = 14.0": ("nan", "hbm.timing.tRP = nan; expected a finite number in 0.1..100 ns"),
    "tRAS = { value = 28.0": ("0", "hbm.timing.tRAS = 0; must be in 0.1..200 ns; nearest: 0.1"),
    "axi_mhz = { value = 450": ("0", "hbm.axi_mhz = 0; must be in 50..1000 MHz; nearest: 50"),
    "banks_per_group = { value = 4": ("3", "hbm.banks_per_group = 3; must be a power of two"),
    'address_map = { value = "RGBCG"': ('"RGX"', "hbm.address_map = 'RGX'; expected one of RGBCG, BRGCG"),
    "uram = { value = 960": ("true", "resources.uram = True; expected int"),
    "request_latency = { value = 20": ("39", "hbm.request_latency = 39; is part of the controller's"),
    "tREFI = { value = 3900.0": ("300.0", "hbm.timing.tREFI = 300; leaves no time between refreshes"),
}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [(old, old.split("=")[0] + "= { value = " + new, message) for old, (new, message) in BAD.items()]
    + [("tFAW = {", "tFAV = {", "unknown key 'hbm.timing.tFAV'; did you mean 'tFAW'?")]
    + [("tFAW = {", "# tFAW = {", "missing key 'hbm.timing.tFAW'")],
)
def test_a_bad_value_is_named(old: str, new: str, message: str, tmp_path: Path) -> None:
    assert old in SHIPPED
    path = tmp_path / "other.toml"
    path.write_text(SHIPPED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        Board.load(str(path))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "other" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("hbm.capacity_bytes=65536", "hbm.page_bytes=8192"), "must hold a row a bank; nearest: 131072"),
        (("hbm.page_bytes=64", "hbm.beat_bytes=128"), "hbm.page_bytes = 64; must hold a beat; nearest: 128"),
        (("hbm.queue_depth=65",), "hbm.queue_depth = 65; must be in 1..64 burst; nearest: 64"),
        (("hbm.timing.tRPX=1",), "hbm.timing.tRPX: unknown key; did you mean 'hbm.timing.tRP'?"),
    ],
)
def test_settings_that_do_not_fit_together_are_named(settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Board.load("u280", settings)
    assert message in str(caught.value)


def test_the_u280_is_what_its_data_sheets_say() -> None:
    board = Board.load("u280")
    assert board.hbm.total_bytes == 8 * 2**30
    assert board.hbm.peak_bandwidth == 460.8e9
    assert board.ddr.total_bytes == 32 * 2**30
    assert board.ddr.peak_bandwidth == 38.4e9
    assert (board.hbm.rows, board.hbm.columns) == (2**14, 32)
    assert (board.ddr.rows, board.ddr.columns) == (2**17, 128)
    assert sum((439680, 432000, 432000)) == board.resources.lut
    assert sum((2880, 3072, 3072)) == board.resources.dsp48e2


def test_every_leaf_has_its_provenance() -> None:
    provenance = Board.load("u280", ("hbm.timing.tRP=15",)).provenance
    assert provenance["hbm.timing.tRCD_read"].confidence == "measured"
    assert provenance["hbm.timing.tRP"].source == "--set hbm.timing.tRP=15"


@pytest.mark.parametrize("section", ["hbm", "ddr"])
def test_ticks_are_rounded_up_once_in_exact_arithmetic(section: str) -> None:
    for mhz in (200, 300, 333, 450, 451, 1000):
        memory = memory_of(section, f"axi_mhz={mhz}")
        names = memory.timing.__dataclass_fields__
        assert memory.ticks._asdict() == {name: ticks(memory, name) for name in names}


@pytest.mark.parametrize("section", ["hbm", "ddr"])
@pytest.mark.parametrize("address_map", ADDRESS_MAPS)
@given(st.data())
def test_an_address_map_is_a_bijection(section: str, address_map: str, data: st.DataObject) -> None:
    memory = memory_of(section, f"address_map={address_map}")
    beat = data.draw(st.integers(0, memory.capacity_bytes // memory.beat_bytes - 1))
    index, row, column = decode(memory, beat)
    group, bank = divmod(index, memory.banks_per_group)
    assert place(memory, row=row, group=group, bank=bank, column=column) == beat * memory.beat_bytes
    beats = memory.capacity_bytes // memory.beat_bytes
    assert 1 << sum(f.bits for f in memory.address_fields) == beats
