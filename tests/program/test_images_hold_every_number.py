"""Images: every number of the model where the machine looks for it, by addresses worked out apart."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_programs import CASES, compiled, program, trace

from skipopu.program.image import Image, build_image, logits_of
from skipopu.program.image_memory import SparseMemory, StripedMemory
from skipopu.program.parameters import ModelParameters, RouterWeights, interleaved_rows
from skipopu.program.program import Program
from skipopu.program.random_parameters import random_parameters
from skipopu.spec.error import SpecError

FP16 = np.uint16


def numbers(p: Program, seed: int = 0) -> ModelParameters:
    c = p.context
    datatypes = c.overlay.datatypes
    return random_parameters(
        c.shape, c.trace.header.router, c.trace.tokens, seed, datatypes.weights, datatypes.lm_head
    )  # fmt: skip


def made(name: str) -> tuple[Program, ModelParameters, Image]:
    p = compiled(name)
    parameters = numbers(p)
    return p, parameters, build_image(p, parameters)


def weight_at(p: Program, image: Image, matrix: Any, column: int, k: int) -> int:
    """A weight by its place in the stream that KER takes: column block, K-tile, column, element."""
    o = p.context.overlay
    part = next(x for x in reversed(matrix.parts) if x.first <= column)
    width, dot = o.pe_array.columns, o.pe_array.dot_length
    block, inside = divmod(column - part.first, width)
    number = ((block * matrix.k_tiles + k // dot) * width + inside) * dot + k % dot
    byte = number * 2 if matrix.datatype == "fp16" else number // 2
    word, rest = divmod(byte, o.dma.hbm_ports * o.chunk_bytes)
    port, at = divmod(rest, o.chunk_bytes)
    found = image.hbm[port].read(part.offset + word * o.chunk_bytes + at, 2)
    if matrix.datatype == "fp16":
        return int(found.view("<u2")[0])
    return ((int(found[0]) >> 4 * (number % 2) & 0xF) ^ 8) - 8


def matrix_entries(p: Program, parameters: ModelParameters, layer: int) -> Iterator[tuple[str, Any, Any, Any]]:
    """(name, weights, columns of the stream, elements of a column): heads apart, gate and up in turn."""
    d, o = p.context.shape.dimensions, p.context.overlay
    layer_ = parameters.layers[layer]
    stored = o.head_storage(d.head_dim)

    def heads(count: int) -> Any:
        return (np.arange(count)[:, None] * stored + np.arange(d.head_dim)).reshape(-1)

    hidden, inner = np.arange(d.hidden_size), np.arange(d.intermediate_size)
    yield "q", layer_.q.weights, heads(d.attention_heads), hidden
    yield "k", layer_.k.weights, heads(d.kv_heads), hidden
    yield "v", layer_.v.weights, heads(d.kv_heads), hidden
    yield "o", layer_.o.weights, hidden, heads(d.attention_heads)
    assert layer_.gate is not None
    yield "gate_up", layer_.gate.weights, 2 * inner, hidden
    yield "gate_up", layer_.up.weights, 2 * inner + 1, hidden
    yield "down", layer_.down.weights, hidden, inner
    for name, router in (("router_attention", layer_.attention_router), ("router_ffn", layer_.ffn_router)):
        if router is not None and router.hidden is not None:
            yield name, router.hidden, np.arange(len(router.hidden)), hidden


@pytest.mark.parametrize("name", ["linear", "padded_heads", "mlp", "fp16_weights", "small_constants", "many_ports"])
def test_every_weight_is_in_its_place(name: str) -> None:
    p, parameters, image = made(name)
    choose = np.random.default_rng(1)
    matrices = p.context.memory.matrices
    entries = [(1, *entry) for entry in matrix_entries(p, parameters, 1)]
    d = p.context.shape.dimensions
    entries.append((-1, "lm_head", parameters.lm_head.weights, np.arange(d.vocabulary), np.arange(d.hidden_size)))
    for layer, matrix, weights, columns, elements in entries:
        for _ in range(60):
            row, k = choose.integers(len(columns)), choose.integers(len(elements))
            found = weight_at(p, image, matrices[layer, matrix], int(columns[row]), int(elements[k]))
            assert found == weights[row, k], (matrix, row, k)


@pytest.mark.parametrize("name", CASES)
def test_regions_do_not_overlap(name: str) -> None:
    """Streams of weights and vectors of K/V in a port; regions of DDR4, blocks and pieces of constants."""
    c = compiled(name).context
    memory, o = c.memory, c.overlay
    hbm = [(part.offset, part.chunk_sets * o.chunk_bytes) for m in memory.matrices.values() for part in m.parts]
    size = memory.slots * memory.stride_bytes
    hbm += [(memory.kv_address(layer, value), size) for layer in range(c.shape.dimensions.layers) for value in (0, 1)]
    apart(hbm)
    assert all(first % 64 == 0 for first, _ in hbm)
    blocks = [block for blocks in memory.constants.values() for block in blocks]
    apart([(block.address, 64 * block.words) for block in blocks])
    for block in blocks:
        assert block.address % 128 == block.words % 2 == 0
        assert 64 * block.words <= o.constants.half_bytes
        apart([(p.at, p.columns) for p in block.pieces] + [(32 * block.words, 1)])
        assert all(p.at % 32 == 0 for p in block.pieces if p.kind != "beta")


def apart(ranges: list[tuple[int, int]]) -> None:
    ordered = sorted(ranges)
    for (first, size), (after, _) in pairwise(ordered):
        assert first + size <= after


def fp16_at(p: Program, image: Image, region: str, byte: int) -> int:
    """An element of a tensor over two channels, 64 bytes in turn."""
    address = p.context.memory.ddr[region] + byte
    channel, own = address // 64 % 2, address // 128 * 64 + address % 64
    return int(image.ddr.channels[channel].read(own, 2).view("<u2")[0])


def test_rows_of_the_prompt_lie_block_by_block_tile_by_tile() -> None:
    p, parameters, image = made("linear")
    passes, ids = p.context.passes, p.context.trace.token_ids
    stride, dot = 128, 16  # four tiles of 32 bytes
    for first, rows, decode in zip(passes.first, passes.rows, passes.decode, strict=True):
        for row in range(rows if not decode else 0):
            wanted = parameters.embedding[0 if ids is None else ids[first + row]]
            for k in range(64):
                at = first * stride + ((k // dot) * rows + row) * 32 + k % dot * 2
                assert fp16_at(p, image, "prompt", int(at)) == wanted[k]
    assert fp16_at(p, image, "embedding", 7 * stride + 2 * 33) == parameters.embedding[7, 33]


def test_rotary_records_have_words_of_cosines_and_sines() -> None:
    """Words of 8 lanes: four cosines, four sines; 16 elements are the first two of a head; a token every 128 bytes."""
    p, parameters, image = made("linear")
    assert parameters.cosines is not None
    assert parameters.sines is not None
    for token in range(p.context.trace.tokens):
        for pair in range(8):
            word, lane = divmod(pair, 4)
            at = token * 128 + word * 16 + lane * 2
            assert fp16_at(p, image, "rotary", at) == parameters.cosines[token, pair]
            assert fp16_at(p, image, "rotary", at + 8) == parameters.sines[token, pair]


def test_gains_come_first_and_routers_tile_by_tile() -> None:
    p, parameters, image = made("linear_layer_input")
    (block,) = p.context.memory.constants[1, "attention norm"]
    layer = parameters.layers[1]
    assert layer.attention_router is not None
    assert layer.ffn_router is not None
    last = np.concatenate([layer.attention_router.last, layer.ffn_router.last])
    for k in range(64):
        assert fp16_at(p, image, "constants", block.address + 2 * k) == layer.attention_norm.gamma[k]
        for column in range(4):
            at = block.address + 128 + 2 * ((k // 16 * 4 + column) * 16 + k % 16)
            assert fp16_at(p, image, "constants", at) == last[column, k]


def test_biases_lie_behind_the_scales_of_their_columns() -> None:
    p, parameters, image = made("biases")
    blocks = p.context.memory.constants[2, "k"]
    pieces = {(x.name, x.kind): block.address + 2 * x.at for block in blocks for x in block.pieces}
    for name in ("q", "k", "v"):
        linear = getattr(parameters.layers[2], name)
        assert linear.bias is not None
        first = pieces[name, "scales"]
        for n, (scale, bias) in enumerate(zip(linear.scales, linear.bias, strict=True)):
            column = n // 16 * 32 + n % 16  # a head of 16 elements takes a chunk of 64 bytes in the cache
            assert fp16_at(p, image, "constants", first + 2 * column) == scale
            assert fp16_at(p, image, "constants", first + 2 * len(linear.scales) * 2 + 2 * column) == bias


def test_the_program_lies_in_the_first_channel() -> None:
    p, _, image = made("linear")
    data = image.ddr.channels[0].read(p.context.memory.ddr["program"] // 2, 32 * len(p))
    assert data.tobytes() == p.words.tobytes()


def test_settings_of_a_small_model() -> None:
    s = made("linear")[2].settings
    as_real = [float(np.uint32(bits).view(np.float32)) for bits in (s.share, s.epsilon, s.score_scale)]
    assert as_real == [1 / 64, float(np.float32(1e-5)), 0.25]
    assert (s.rotary_words, s.rotary_stride) == (4, 8)  # of 8 lanes: a head of 16 is padded to a chunk, 32
    assert (s.vector, s.bank_slots, s.reuse) == (2, 4096 // 2 // 256, 1)
    assert s.value_offset == 2 * math.ceil(15 / 2)  # two chunks a vector, 15 tokens over two ports
    assert made("kv_evict")[2].settings.reuse == 0


def test_logits_are_read_where_parts_of_the_vocabulary_are_stored() -> None:
    p, _, image = made("linear")
    wanted = np.arange(100, dtype=np.uint16)
    image.ddr.write(p.context.memory.ddr["logits"], wanted.view(np.uint8))
    assert np.array_equal(logits_of(image.ddr, p.context), wanted)


@given(pieces=st.lists(st.tuples(st.integers(0, 9000), st.binary(min_size=1, max_size=300)), max_size=8))
def test_memory_keeps_what_was_written_last(pieces: list[tuple[int, bytes]]) -> None:
    memory, naive = SparseMemory(), np.zeros(10_000, np.uint8)
    for address, data in pieces:
        memory.write(address, np.frombuffer(data, np.uint8))
        naive[address : address + len(data)] = np.frombuffer(data, np.uint8)
    assert np.array_equal(memory.read(0, len(naive)), naive)
    copy = memory.copy()
    assert copy == memory
    copy.write(5, np.array([naive[5] ^ 1], np.uint8))
    assert copy != memory


@given(word=st.integers(0, 70), data=st.binary(min_size=1, max_size=700))
def test_striped_memory_gives_back_what_it_took(word: int, data: bytes) -> None:
    memory = StripedMemory()
    memory.write(128 * word, np.frombuffer(data, np.uint8))
    assert memory.read(128 * word, len(data)).tobytes() == data
    for n, value in enumerate(data):
        assert memory.channels[n // 64 % 2].read((word + n // 128) * 64 + n % 64, 1)[0] == value


def test_halves_of_a_rotated_head_become_pairs() -> None:
    assert interleaved_rows(2, 6).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]


def spoiled(parameters: ModelParameters, **changes: Any) -> ModelParameters:
    layers = (replace(parameters.layers[0], **changes), *parameters.layers[1:])
    return replace(parameters, layers=layers)


def no_router(p: ModelParameters) -> ModelParameters:
    layers = tuple(replace(layer, ffn_router=None) for layer in p.layers)
    return replace(p, layers=layers)


REFUSED: list[tuple[dict[str, Any], tuple[str, ...], Callable[[ModelParameters], ModelParameters], str]] = [
    ({}, ("datatypes.weights=fp16",), lambda p: p, "weights int8; overlay tiny holds fp16: uint16"),
    ({"hidden_size": 32}, (), lambda p: p, "numbers of shape small; the program was compiled for small"),
    ({}, (), no_router, "ffn has a router in the trace and none in the model's numbers"),
    ({"qk_norm": True}, (), lambda p: p, "qk_norm = true; programs have no norms of queries and keys"),
    ({}, ("npe.layer_norm=true",), lambda p: p, "npe.layer_norm = true; shape small has norm = rms; --set npe.layer_"),
    ({}, (), lambda p: replace(p, cosines=p.cosines[:4]), "numbers of 4 positions; the trace has 15"),  # type: ignore[index]
    (
        {}, (), lambda p: spoiled(p, ffn_router=RouterWeights(np.zeros((2, 64), FP16), None, np.ones(2, FP16))),
        "a router has a bias; ROUTE adds none to its logits",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "settings", "change", "text"), REFUSED)
def test_numbers_that_do_not_fit_are_refused(
    changes: dict[str, Any], settings: tuple[str, ...], change: Callable[[Any], Any], text: str
) -> None:
    p = program(trace(**changes), *settings)
    of = program(trace(**({} if "hidden_size" in changes else changes)))
    with pytest.raises(SpecError) as caught:
        build_image(p, change(numbers(of)))
    assert text in str(caught.value)
