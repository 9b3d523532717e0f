"""Weights, K/V cache and DDR4 tensors have places of their own on the board; what does not fit is refused."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from ordering import rows_of
from small_programs import CASES, board, compiled, program, shape, tiny, trace

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode
from skipopu.program.memory_map import MemoryMap, map_memory
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import BITS, Overlay
from skipopu.trace import Router, synthesize

U280 = Overlay.load("skipopu-u280")


def maps() -> dict[str, tuple[ModelShape, Overlay, int, MemoryMap]]:
    wanted = [(shape(), tiny(), 40, 0), (shape(head_dim=20, hidden_size=72), tiny(), 7, 24)]
    wanted += [(ModelShape.load(n), U280, 1152, 0) for n in ("llama2-7b", "llama3.1-8b", "mobilellama-2.7b")]
    return {f"{s.name} {h}": (s, o, t, map_memory(s, o, board(), t, router(h))) for s, o, t, h in wanted}


def router(hidden: int) -> Router:
    return Router(kind="mlp" if hidden else "linear", hidden=hidden)


MAPS = maps()


@pytest.mark.parametrize("name", MAPS)
def test_matrices_lie_one_after_another_and_the_cache_behind_them(name: str) -> None:
    model, overlay, tokens, found = MAPS[name]
    end = 0
    for matrix in found.matrices.values():
        assert matrix.offset >= end
        end = matrix.offset + matrix.chunk_sets * overlay.chunk_bytes
    assert found.kv_base >= end
    assert found.slots * overlay.dma.hbm_ports >= tokens
    cache = 2 * model.dimensions.layers * found.slots * found.vector_bytes
    assert found.kv_base + cache <= board().hbm.capacity_bytes


@pytest.mark.parametrize("name", MAPS)
def test_every_weight_has_its_bits(name: str) -> None:
    model, overlay, _, found = MAPS[name]
    hidden = found.matrices.get((0, "router_ffn"))
    room = sum(m.chunk_sets * overlay.hbm_bytes_per_cycle for m in found.matrices.values())
    d = model.dimensions
    weights = d.layers * (model.attention_weights + model.ffn_weights) + d.vocabulary * d.hidden_size
    least = weights * BITS["int4"] // 8 + (2 * d.layers * d.hidden_size * hidden.columns * 2 if hidden else 0)
    assert least <= room <= 1.6 * least  # padding: heads to whole tiles, matrices to whole chunk sets
    layers = {layer for layer, _ in found.matrices}
    assert layers == {-1, *range(d.layers)}


def test_the_7b_model_takes_its_published_room() -> None:
    _, overlay, _, found = MAPS["llama2-7b 0"]
    stored = found.kv_base * overlay.dma.hbm_ports
    assert stored == pytest.approx((6_738_415_616 - 32000 * 4096) / 2, rel=0.002)
    assert 2 * 32 * found.vector_bytes == 512 * 1024


@pytest.mark.parametrize("name", CASES)
def test_every_transfer_stays_in_the_tensor_it_starts_in(name: str) -> None:
    p = compiled(name)
    starts = sorted(p.context.memory.ddr.values())
    tile = p.context.overlay.tile_bytes
    for row in rows_of(p):
        if row["opcode"] in (Opcode.LOAD_ROWS, Opcode.STORE_ROWS, Opcode.LOAD_CONSTANTS):
            size = (
                64 * row["columns"]
                if row["opcode"] == Opcode.LOAD_CONSTANTS
                else row["rows"] * row["k_tiles"] * tile
            )
            first = row["address"] * 64
            assert sum(s <= first for s in starts) == sum(s < first + size for s in starts)


@pytest.mark.parametrize("name", CASES)
def test_every_weight_stream_stays_in_its_matrix(name: str) -> None:
    p = compiled(name)
    overlay = p.context.overlay
    ends = {
        m.offset: m.offset + m.chunk_sets * overlay.chunk_bytes for m in p.context.memory.matrices.values()
    }
    for row in rows_of(p):
        if row["opcode"] == Opcode.LOAD_WEIGHTS:
            first = row["address"] * 64
            start = max(s for s in ends if s <= first)
            assert first + row["columns"] * overlay.chunk_bytes <= ends[start]


@pytest.mark.parametrize("name", MAPS)
def test_every_ddr_tensor_has_room_for_its_padded_rows(name: str) -> None:
    model, overlay, tokens, found = MAPS[name]
    d, dot = model.dimensions, overlay.pe_array.dot_length
    heads = 2 * tokens * d.attention_heads * overlay.head_storage(d.head_dim)
    width = 2 * -(-d.hidden_size // dot) * dot
    least = {"embedding": d.vocabulary * width, "x": tokens * width, "q": heads, "o": heads}
    starts = sorted(found.ddr.values())
    for tensor, size in least.items():
        after = starts[starts.index(found.ddr[tensor]) + 1]
        assert after - found.ddr[tensor] >= size, tensor


@pytest.mark.parametrize("name", ["linear", "many_heads", "padded_heads"])
def test_head_pairs_of_a_row_block_have_slots_of_their_own(name: str) -> None:
    """Q and O are stored and loaded pair by pair, each pair where it was stored; no slot reaches into another."""
    p = compiled(name)
    ddr, tile = p.context.memory.ddr, p.context.overlay.tile_bytes
    parts: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    for row, tag in zip(rows_of(p), p.tags.tolist(), strict=False):
        for tensor, after in (("q", "o"), ("o", "scores0")):
            first = row["address"] * 64
            moves = row["opcode"] in (Opcode.LOAD_ROWS, Opcode.STORE_ROWS)
            if moves and ddr[tensor] <= first < ddr[after]:
                size = row["rows"] * row["k_tiles"] * tile
                parts.setdefault((*tag, tensor, row["opcode"]), []).append((first, first + size))
    assert len(parts) == 4 * 3 * len({tuple(t[2:]) for t in p.tags.tolist() if t[0] == 0})
    slots: set[tuple[int, int]] = set()
    for (*tag, tensor, opcode), found in parts.items():
        other = {Opcode.LOAD_ROWS: Opcode.STORE_ROWS, Opcode.STORE_ROWS: Opcode.LOAD_ROWS}[Opcode(int(str(opcode)))]
        assert sorted(found) == sorted(parts[(*tag, tensor, other)])
        assert len(set(found)) == p.context.shape.dimensions.kv_heads // 2
        slots |= set(found)
    ends = sorted(slots)
    assert all(end <= first for (_, end), (first, _) in pairwise(ends))


@pytest.mark.parametrize("name", CASES)
def test_every_transfer_begins_at_a_word_of_both_channels(name: str) -> None:
    moves = (Opcode.LOAD_ROWS, Opcode.STORE_ROWS, Opcode.LOAD_CONSTANTS)
    found = [row for row in rows_of(compiled(name)) if row["opcode"] in moves]
    assert found
    assert all(row["address"] * 64 % 128 == 0 for row in found)
    assert all(row["columns"] % 2 == 0 for row in found if row["opcode"] == Opcode.LOAD_CONSTANTS)


@pytest.mark.parametrize("name", ["linear", "mlp_layer_input"])
def test_constants_of_a_layer_keep_their_place_in_every_step(name: str) -> None:
    p = compiled(name)
    found: dict[tuple[int, int], list[int]] = {}
    for row, (step, layer, first) in zip(rows_of(p), p.tags.tolist(), strict=False):
        rotary = row["value"] == 1  # these follow the token's position
        if row["opcode"] == Opcode.LOAD_CONSTANTS and step >= 1 and not rotary:
            found.setdefault((step, layer), []).append(row["address"])
            assert first == 11 + step
    for layer in range(-1, 3):
        assert found[1, layer] == found[2, layer] == found[3, layer]
    assert len({a for addresses in found.values() for a in addresses}) == sum(
        len(found[1, layer]) for layer in range(-1, 3)
    )


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(SpecError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_model_larger_than_hbm_is_refused() -> None:
    overlay = Overlay.load("skipopu-u280", ("datatypes.weights=fp16",))
    of = synthesize("skipgpt", "llama2-7b", prompt=4, decode=0)
    assert refusal(lambda: compile_trace(of, overlay, board())) == (
        "shape llama2-7b: 13.02 GB of weights, 8.59 GB of HBM behind 32 ports; use a smaller model,"
        " datatypes.weights=int4 or datatypes.lm_head=int4"
    )


def test_a_sequence_beyond_the_cache_is_refused_and_the_length_it_names_fits() -> None:
    model = ModelShape.load("llama2-7b")
    text = refusal(lambda: map_memory(model, U280, board(), 20_000, router(0)))
    assert text.startswith("sequence of 20000 tokens: beyond capacity, ")
    most = int(text.split()[-2])
    assert text.endswith(f" are needed; shorten it to about {most} tokens")
    map_memory(model, U280, board(), most - 32, router(0))
    refusal(lambda: map_memory(model, U280, board(), most + 32, router(0)))


REFUSED: list[tuple[dict[str, object], tuple[str, ...], str]] = [
    (
        {"prompt": 4, "decode": 1}, ("global_buffer.tiles=170",),
        "sequence of 5 tokens: beyond capacity, needs 180 row tiles of the global buffer at 'scores';"
        " global_buffer.tiles = 170; shorten the sequence or enlarge global_buffer.tiles",
    ),
    (
        {}, ("psum.entries=63",),
        "shape small: psum.entries = 63; decode needs 64 (4 heads × 4 parts × psum.interleave); nearest: 64",
    ),
    ({"kv_heads": 1}, (), "shape small: kv_heads = 1; two heads are packed: must be even"),
    ({}, ("dma.hbm_ports=64",), "overlay tiny: dma.hbm_ports = 64; board u280 has 32; nearest: 32"),
    (
        {"ffn_input": "layer_input"}, ("constants.half_bytes=512",),
        "shape small: constants.half_bytes = 512; gamma and 4 router columns need 640; nearest: 640",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "settings", "text"), REFUSED)
def test_what_does_not_fit_on_chip_is_refused(
    changes: dict[str, object], settings: tuple[str, ...], text: str
) -> None:
    assert refusal(lambda: program(trace(**changes), *settings)).startswith(text)


def test_every_block_loads_the_rotary_constants_of_its_own_rows() -> None:
    p = compiled("linear")
    start, size = p.context.memory.ddr["rotary"], 128  # a head of 32 elements, padded to a word of both channels
    found = [
        (row["address"], row["columns"], first)
        for row, (_, _, first) in zip(rows_of(p), p.tags.tolist(), strict=False)
        if row["opcode"] == Opcode.LOAD_CONSTANTS and row["value"]
    ]
    rows = dict(zip(p.context.passes.first.tolist(), p.context.passes.rows.tolist(), strict=True))
    assert {first for *_, first in found} == set(rows)
    for address, words, first in found:
        assert address == (start + first * size) // 64
        assert words == -(-rows[first] * size // 64)


@pytest.mark.parametrize("name", ["linear", "mlp_layer_input"])
def test_parts_of_a_matrix_find_their_scales_inside_the_loaded_half(name: str) -> None:
    p = compiled(name)
    words, taken = {0: 0, 1: 0}, {0: set[int](), 1: set[int]()}
    several = 0
    for row in rows_of(p):
        half = row["half"]
        if row["opcode"] == Opcode.LOAD_CONSTANTS and not row["value"]:
            words[half], taken[half] = row["columns"], set()
        elif row["opcode"] == Opcode.MATMUL and not row["datatype"]:  # FP16 matrices have no scales
            assert row["address"] not in taken[half]
            assert row["address"] + -(-2 * row["columns"] // 64) <= words[half]
            taken[half].add(row["address"])
            several += len(taken[half]) > 1
    assert several
