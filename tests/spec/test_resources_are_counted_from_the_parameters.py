"""The resource model: prices of its terms, what they add up to, and how they follow the parameters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skipopu.spec import resources
from skipopu.spec.board import Board
from skipopu.spec.memory_bits import buffer_memories, constant_readers
from skipopu.spec.overlay import Overlay
from skipopu.spec.resource_terms import (
    RAM_SHAPES,
    Estimate,
    Logic,
    Module,
    Registers,
    bits_for,
    block_rams,
    compare,
    dsp_slices,
    lut_rams,
    reduce,
    shift,
    spread,
    ultra_rams,
)
from skipopu.spec.resources_of_memories import memory_cells

BRAM36_BITS = 36 * 1024


def tiny(*settings: str) -> Overlay:
    return Overlay.load("tiny", settings)


def test_the_published_array_has_4096_slices() -> None:
    """SkipOPU §4: 32 for the 64 products of a column, 128 columns."""
    overlay = Overlay.load("skipopu-u280")
    assert resources.dsp_slices(overlay) == resources.pe_array(overlay).dsp48e2 == 4096
    assert resources.column_pair(overlay).dsp48e2 == 64


def test_psum_and_ifm_of_the_published_array() -> None:
    """128 FP32 columns are 4096 bits, 57 times 72; row tiles of two packed heads are 2048 bits, 29 times 72; both no
    deeper than 512. Without packed heads IFM is half as wide.
    """
    modules = {module.name: module for module in resources.modules(Overlay.load("skipopu-u280"))}
    assert modules["psum_half"].bram36 * modules["psum_half"].count == 2 * 57
    assert modules["ifm"].bram36 == 29
    alone = resources.modules(Overlay.load("skipopu-u280", ("dataflow.packed_heads=1",)))
    assert next(module for module in alone if module.name == "ifm").bram36 == 15


def test_the_whole_is_its_parts() -> None:
    overlay = tiny()
    modules = resources.modules(overlay)
    assert resources.pe_array(overlay).lut == sum(m.count * m.estimate.lut for m in modules)
    assert resources.flip_flop_bits(overlay) == sum(m.count * m.flip_flops for m in modules)
    buffers = ("ifm", "psum", "psum_half", "pe_array")
    columns = [m for m in modules if m.name not in buffers and not m.name.startswith("ker")]
    assert resources.column_pair(overlay) * 4 == sum((m.estimate * m.count for m in columns), Estimate())


@pytest.mark.parametrize(
    ("words", "bits", "blocks"),
    [(512, 72, 1), (513, 72, 2), (1024, 36, 1), (256, 4096, 57), (128, 1024, 15), (4096, 8, 1), (32768, 1, 1)],
)
def test_block_rams(words: int, bits: int, blocks: int) -> None:
    assert block_rams(words, bits) == blocks


def test_a_shape_holds_a_block_ram() -> None:
    for words, bits in RAM_SHAPES:
        assert words * bits in (BRAM36_BITS, 32 * 1024)  # the narrow ones leave the parity bits out


@given(st.integers(1, 10**5), st.integers(1, 5000))
def test_block_rams_hold_all_bits(words: int, bits: int) -> None:
    assert block_rams(words, bits) * BRAM36_BITS >= words * bits


def test_a_delay_line_of_three_cycles_is_in_luts() -> None:
    assert Registers("x", 8, 2).estimate == Estimate(ff=16)
    assert Registers("x", 8, 3).estimate == Estimate(lut=8)
    assert Registers("x", 8, 33).estimate == Estimate(lut=16)
    assert Registers("x", 8, 3, shifts=False).estimate == Estimate(ff=24)
    assert Registers("x", 8, 1, live=3).estimate == Estimate(ff=3)
    assert Registers("x", 8, 5, live=3).flip_flops == 40


def test_a_module_is_registers_and_logic() -> None:
    module = Module("m", 3, (Registers("r", 4), Registers("s", 2, 4)), (Logic("l", 7, ff=1),), dsp48e2=1, bram36=2)
    assert module.flip_flops == 12
    assert module.estimate.values() == (9, 5, 1, 2, 0)
    assert (module.estimate * 3).values() == (27, 15, 3, 6, 0)


def test_prices() -> None:
    assert [bits_for(n) for n in (1, 2, 3, 4, 5, 256, 257)] == [0, 1, 2, 2, 3, 8, 9]
    assert [reduce(n) for n in (1, 2, 6, 7, 11, 12, 64)] == [0, 1, 1, 2, 2, 3, 13]
    assert (compare(6), compare(7), shift(15, 5)) == (3, 4, 45)


@given(st.integers(1, 12), st.integers(0, 40))
def test_stages_are_spread_evenly_and_end_in_a_register(steps: int, stages: int) -> None:
    cuts = spread(steps, stages)
    assert (len(cuts), sum(cuts)) == (steps, stages)
    assert max(cuts) - min(cuts) <= 1
    assert cuts[-1] == max(cuts)


def test_columns_are_counted_by_pairs() -> None:
    one, two = (resources.column_pair(tiny(f"pe_array.columns={n}")) for n in (8, 16))
    assert one == two
    slices = [resources.dsp_slices(tiny(f"pe_array.columns={n}")) for n in (2, 8, 16)]
    assert slices == [16, 64, 128]


def test_the_dsp_tree_trades_luts_for_slices() -> None:
    lut, dsp = (resources.column_pair(tiny(f"pe_array.tree={tree}")) for tree in ("lut", "dsp"))
    assert dsp.dsp48e2 - lut.dsp48e2 == 15
    assert dsp.lut < lut.lut
    assert dsp.ff < lut.ff


SETTINGS = {
    "pe_array.product_bits": st.integers(15, 22),
    "pe_array.alignment_rounding": st.sampled_from(["truncate", "nearest"]),
    "pe_array.output_rounding": st.sampled_from(["toward_zero", "nearest_even"]),
    "psum.format": st.sampled_from(["fp32", "fp16"]),
    "pe_array.multiply_stages": st.integers(1, 16),
    "pe_array.align_stages": st.integers(1, 16),
    "pe_array.tree_stages": st.integers(1, 16),
    "pe_array.convert_stages": st.integers(1, 16),
    "pe_array.broadcast_stages": st.integers(1, 8),
    "pe_array.columns": st.integers(1, 64).map(lambda n: 2 * n),
    "pe_array.dot_length": st.sampled_from([16, 64, 512]),
    "dma.hbm_ports": st.integers(1, 32),
    "ifm.rows": st.integers(2, 1000),
}


@given(st.fixed_dictionaries({}, optional=SETTINGS))
def test_no_term_is_negative(values: dict[str, object]) -> None:
    for module in resources.modules(tiny(*(f"{key}={value}" for key, value in values.items()))):
        assert min(each.bits * each.cycles for each in (*module.registers, Registers("none", 0))) >= 0, module.name
        assert all(each.live is None or 0 <= each.live <= each.bits for each in module.registers), module.name
        assert all(each.lut >= 0 and each.ff >= 0 for each in module.logic), module.name
        assert module.count > 0


@pytest.mark.parametrize(
    ("fewer", "more"),
    [
        ("pe_array.product_bits=15", "pe_array.product_bits=22"),
        ("pe_array.alignment_rounding=truncate", "pe_array.alignment_rounding=nearest"),
        ("psum.format=fp16", "psum.format=fp32"),
        ("pe_array.dot_length=16", "pe_array.dot_length=32"),
    ],
)
def test_what_does_more_costs_more(fewer: str, more: str) -> None:
    assert resources.column_pair(tiny(fewer)).lut < resources.column_pair(tiny(more)).lut


def test_the_board_has_what_the_data_sheet_says() -> None:
    there = Board.load("u280").resources
    assert (there.lut, there.ff, there.dsp48e2, there.bram36) == (1303680, 2607360, 9024, 2016)


def test_the_published_buffer_is_512_ultra_rams() -> None:
    """SkipOPU §4.4: 16 banks, 16 MiB; a chunk of 64 bytes is 8 URAM288 wide."""
    overlay = Overlay.load("skipopu-u280")
    words = overlay.kv_buffer.capacity_bytes // overlay.buffer_ports // overlay.chunk_bytes
    bank = memory_cells(words, 8 * overlay.chunk_bytes, late=1, immediate=0, style="ultra")
    assert (bank * overlay.buffer_ports).values() == (0, 0, 0, 0, 512)


def test_the_published_row_tiles_take_a_copy_a_read_port() -> None:
    """8192 tiles of 1024 bits: four times 2048 words of 57 × 18 bits, twice."""
    overlay = Overlay.load("skipopu-u280")
    buffer = overlay.global_buffer
    found = memory_cells(buffer.tiles, 8 * overlay.tile_bytes, late=buffer.read_ports, immediate=0)
    assert found == Estimate(bram36=2 * 4 * 57)
    source = overlay.provenance["global_buffer.tiles"].source
    assert f"{found.bram36} of the {Board.load('u280').resources.bram36}" in source


def test_constants_of_the_published_machine_are_copied_for_every_reader() -> None:
    """Scales, biases, gamma: 1024 rows of 128 bytes, 29 × 36 bits; router weights: four banks of 512 × 512 bits."""
    overlay = Overlay.load("skipopu-u280")
    assert constant_readers(overlay) == {"scale": 128, "bias": 128, "gamma": 128, "router": 256}
    assert buffer_memories(overlay).constants == 4 * 2 * 65536 * 8
    copies, router = 3 * memory_cells(1024, 1024, late=1, immediate=0).bram36, 4 * block_rams(512, 512)
    assert (copies, router) == (3 * 29, 4 * 8)
    assert overlay.provenance["constants.half_bytes"].source.endswith(f": {copies + router}")


@pytest.mark.parametrize(
    ("words", "bits", "luts"), [(32, 14, 8), (32, 15, 16), (64, 7, 8), (33, 7, 8), (16, 512, 37 * 8), (128, 7, 16 + 7)]
)
def test_memories_in_luts(words: int, bits: int, luts: int) -> None:
    """Eight LUTs hold 32 words of 14 bits or 64 of 7; two of them behind one another need a choice a bit."""
    assert lut_rams(words, bits) == luts
    assert memory_cells(words, bits, late=0, immediate=2) == Estimate(lut=2 * luts)


def test_a_memory_is_in_luts_up_to_64_words() -> None:
    """As deep as one LUT of memory; the word read is then in flip-flops, unless it is the address that is kept."""
    ports = {"late": 2, "immediate": 0}
    assert memory_cells(64, 7, **ports) == Estimate(lut=2 * 8, ff=2 * 7)
    assert memory_cells(64, 7, **ports, addressed=1) == Estimate(lut=2 * 8, ff=7)
    assert memory_cells(65, 7, **ports) == Estimate(bram36=2)
    assert memory_cells(32, 72, **ports, style="ultra") == Estimate(uram=2)


@given(st.integers(1, 10**5), st.integers(1, 5000))
def test_ultra_rams_hold_all_bits(words: int, bits: int) -> None:
    assert ultra_rams(words, bits) * 4096 * 72 >= words * bits


@pytest.mark.parametrize(
    ("factors", "slices"), [((26, 17), 1), ((17, 26), 1), ((27, 17), 2), ((24, 24), 2), ((11, 24), 1), ((18, 18), 2)]
)
def test_products_take_slices(factors: tuple[int, int], slices: int) -> None:
    """A slice multiplies 27 × 18 bits, signs included."""
    assert dsp_slices(*factors) == slices
