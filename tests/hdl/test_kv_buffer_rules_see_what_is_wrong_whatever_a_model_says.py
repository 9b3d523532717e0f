"""The rules of the KV buffer's output, on outputs as they must be, and with one thing wrong."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from skipopu.hdl.cosim import kv_buffer
from skipopu.hdl.cosim.axi_memory_state import stall_names
from skipopu.hdl.cosim.kv_buffer_coverage import Coverage, coverage, missing
from skipopu.hdl.cosim.kv_buffer_events import DONE, OUTPUT, STREAMS
from skipopu.hdl.cosim.kv_buffer_model import Rounds, Simulated, simulate
from skipopu.hdl.cosim.kv_buffer_outputs import Outputs, expected_outputs, token_bits
from skipopu.hdl.cosim.kv_buffer_rules import broken_rule
from skipopu.hdl.cosim.kv_buffer_stimulus import Operation, Sequence, sequences
from skipopu.hdl.cosim.stalls import patterns
from skipopu.hdl.kv_layout import KvShape, kv_shape
from skipopu.sim.error import SimulationError
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay

SEED, BURSTS = 2, 500
Part = tuple[Sequence, Operation, Rounds, Outputs]


@cache
def simulated(*settings: str) -> tuple[Overlay, Simulated]:
    overlay, rng = Overlay.load("tiny", settings), np.random.default_rng(SEED)
    stalls = patterns(rng, (*STREAMS, *stall_names(overlay.dma.hbm_ports)))
    return overlay, simulate(overlay, Board.load("u280"), sequences(overlay, rng), stalls, BURSTS)


def parts(*settings: str) -> tuple[KvShape, list[Part]]:
    """Every operation with what the RTL must give."""
    overlay, model = simulated(*settings)
    shape, found = kv_shape(overlay), []
    for sequence, rounds in zip(model.sequences, model.rounds, strict=True):
        place = sequence.placement(shape.ports)
        for o, each in zip(sequence.operations, rounds, strict=True):
            found.append((sequence, o, each, expected_outputs(shape, sequence, place, o, each)))
    return shape, found


def verdict(shape: KvShape, given: list[Part]) -> str:
    """What the rules say of the outputs; empty: nothing is wrong."""
    trace = [[*[OUTPUT] * len(outputs.mask), DONE] for _, _, _, outputs in given]
    payloads = np.concatenate([as_bytes(shape, outputs) for *_, outputs in given])
    found = {"trace": np.concatenate(trace).astype(np.uint8)[:, None], "outputs": payloads}
    work = {id(sequence): sequence for sequence, *_ in given}
    broken = broken_rule(shape, list(work.values()), found)
    return "" if broken is None else broken.signal


def as_bytes(shape: KvShape, outputs: Outputs) -> NDArray[np.uint8]:
    """Payloads as the bench notes them."""
    transfers, lanes, words = outputs.data.shape
    bits = outputs.mask[:, None] >> np.arange(lanes, dtype=np.uint64) & np.uint64(1)
    tokens = outputs.tokens[:, :, None] >> np.arange(token_bits(shape), dtype=np.uint64) & np.uint64(1)
    tokens = tokens.reshape(transfers, lanes * token_bits(shape))
    flags = np.column_stack([bits, outputs.last, outputs.end, tokens])
    flags = np.packbits(flags.astype(np.uint8), axis=1, bitorder="little")
    return np.column_stack([outputs.data.reshape(transfers, lanes * words).view(np.uint8), flags])


@pytest.mark.parametrize(
    "settings",
    [
        (), ("dma.hbm_ports=5", "kv_buffer.ports=3", "kv_buffer.capacity_bytes=24576", "pe_array.columns=16"),
        ("clock.hbm_ratio=1",), ("kv_buffer.enabled=false",),
    ],
)  # fmt: skip
def test_what_the_model_says_is_right(settings: tuple[str, ...]) -> None:
    assert verdict(*parts(*settings)) == ""


Fault = Callable[[Outputs, Rounds, int], Outputs]


def a_bit_turns(outputs: Outputs, _: Rounds, lane: int) -> Outputs:
    data = outputs.data.copy()
    data[0, lane, -1] ^= np.uint64(1 << 63)
    return replace(outputs, data=data)


def chunks_swapped(outputs: Outputs, _: Rounds, lane: int) -> Outputs:
    data = outputs.data.copy()
    data[[0, 1], lane] = data[[1, 0], lane]
    return replace(outputs, data=data)


def a_round_lost(outputs: Outputs, r: Rounds, _: int) -> Outputs:
    return outputs.part(len(outputs.mask) // (len(r.first) - 1), len(outputs.mask))


def a_round_twice(outputs: Outputs, r: Rounds, _: int) -> Outputs:
    order = np.r_[: len(outputs.mask) // (len(r.first) - 1), : len(outputs.mask)]
    return taken(outputs, order)


def taken(outputs: Outputs, order: NDArray[np.int64]) -> Outputs:
    """Transfers in another order; the end is where it was."""
    end = np.zeros(len(order), np.uint64)
    end[-1] = 1
    return Outputs(outputs.mask[order], outputs.last[order], end, outputs.tokens[order], outputs.data[order])


def a_round_too_early(outputs: Outputs, r: Rounds, _: int) -> Outputs:
    chunks = len(outputs.mask) // (len(r.first) - 1)
    order = np.r_[chunks : 2 * chunks, :chunks, 2 * chunks : len(outputs.mask)]
    return taken(outputs, order)


def a_lane_left_out(outputs: Outputs, r: Rounds, lane: int) -> Outputs:
    mask = outputs.mask.copy()
    mask[: len(mask) // (len(r.first) - 1)] &= ~np.uint64(1 << lane)
    return replace(outputs, mask=mask)


def the_end_is_not_told(outputs: Outputs, _: Rounds, __: int) -> Outputs:
    return replace(outputs, last=np.zeros_like(outputs.last))


def a_round_is_the_end(outputs: Outputs, r: Rounds, _: int) -> Outputs:
    end = outputs.end.copy()
    end[len(end) // (len(r.first) - 1) - 1] = 1
    return replace(outputs, end=end)


def the_end_is_lost(outputs: Outputs, _: Rounds, __: int) -> Outputs:
    return replace(outputs, end=np.zeros_like(outputs.end))


def another_token(outputs: Outputs, _: Rounds, lane: int) -> Outputs:
    tokens = outputs.tokens.copy()
    tokens[-1] ^= np.uint64(1)
    return replace(outputs, tokens=tokens)


FAULTS: dict[Fault, str] = {
    a_round_is_the_end: "the end", the_end_is_lost: "the end", another_token: "brings token",
    a_bit_turns: "brings a visible token's vector", chunks_swapped: "brings a visible token's vector",
    a_round_lost: "comes", a_round_twice: "comes", a_round_too_early: "V comes in the rounds of K",
    a_lane_left_out: "comes", the_end_is_not_told: "ends with its last chunks",
}  # fmt: skip


@pytest.mark.parametrize(("fault", "rule"), FAULTS.items(), ids=lambda each: getattr(each, "__name__", ""))
def test_one_thing_wrong_in_a_v_read_is_seen(fault: Fault, rule: str) -> None:
    """In a read that takes its first round from the buffer and from HBM, and differs from the round after."""
    shape, given = parts()
    at, lane = next(
        (number, int(r.lane[0])) for number, (_, o, r, _) in enumerate(given)
        if o.value and o.chunks > 1 and len(r.first) > 3 and r.lane[0] >= shape.ports and r.first[1] > 1
    )  # fmt: skip
    sequence, o, rounds, outputs = given[at]
    given[at] = (sequence, o, rounds, fault(outputs, rounds, lane))
    assert rule in verdict(shape, given)


def test_a_token_of_another_layer_is_seen() -> None:
    """Two layers of a sequence change places: the chunks are whole, but not those of their layer."""
    shape, given = parts()
    at = next(
        n for n, (s, o, r, _) in enumerate(given)
        if n > 1 and s is given[n - 2][0] and len(r.token) and len(given[n - 2][2].token) and not o.value
        and (s.bits[o.layer, r.token]).any() and o.chunks == given[n - 2][1].chunks
    )  # fmt: skip
    one, other = given[at - 2], given[at]
    given[at - 2], given[at] = (*one[:3], other[3]), (*other[:3], one[3])
    assert verdict(shape, given) != ""


def test_a_run_that_leaves_the_buffer_unused_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kv_buffer, "coverage", lambda *_: Coverage())
    with pytest.raises(SimulationError, match=r"^kv_buffer of tiny: 1 bursts leave unexercised: .*buffered, kept, .*"):
        kv_buffer.cosimulate(Overlay.load("tiny"), 1, SEED)


def test_what_must_be_exercised_is_what_the_overlay_has() -> None:
    shapes = [kv_shape(Overlay.load("tiny", (each,))) for each in ("kv_buffer.enabled=true", "kv_buffer.enabled=false")]
    held, nothing = (missing(shape, Coverage()) for shape in shapes)
    assert set(held) > {"buffered", "kept", "wrapped", "overwritten", "valid_reads", *nothing}
    assert set(nothing) == {"invalid_reads", "queued_rounds"}


def test_each_count_counts_what_its_name_says() -> None:
    """Four tokens in order, over two ports and two banks that hold a token each: counted by hand."""
    shape, sequence = kv_shape(simulated()[0]), simulated()[1].sequences[0]
    o = Operation(True, True, False, 1, 5, 0, 1)
    numbers = (np.array(each, np.int32) for each in ([0, 1, 2, 3, 4], [2, 0, 3, 1, 0], [0, 3, 4, 5]))
    read, kept = np.array([4, -1, 5, -1, -1], np.int32), np.array([6, -1, -1, 7, -1], np.int32)
    found = coverage(shape, [(replace(sequence, bank_slots=1, vector=1), o, Rounds(*numbers, read, kept, True, True))])
    assert found == Coverage(valid_reads=1, closed_by_port=2, buffered=2, kept=2, wrapped=2, overwritten=1)
