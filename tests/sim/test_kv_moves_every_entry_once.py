"""K/V rounds take a chunk from each of their sources a cycle; an append writes every executed row once."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hand_made import carrier, cycles, hand_made, watch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_machine import BOARD, shape, skipping

from skipopu.numerics.kv_rounds import schedule
from skipopu.numerics.kv_schedule import new_schedule
from skipopu.program.compiler import compile_trace
from skipopu.program.isa import Opcode
from skipopu.program.program import Program
from skipopu.sim.dram_state import QUEUE
from skipopu.spec.overlay import HBM_BEAT_BYTES, Overlay

ROWS = 4
KV = {"tokens": ROWS, "rows": ROWS, "pairs": 1}


def scores(k_tiles: int = 2) -> list[tuple[Opcode, dict[str, int]]]:
    """K of all tokens, and the scores of a head pair with heads of ``k_tiles`` row tiles."""
    return [(Opcode.READ_KV, KV), (Opcode.SCORES, KV | {"group": 2, "k_tiles": k_tiles})]


@pytest.mark.parametrize("ports", [1, 2, 3])
def test_a_round_takes_one_chunk_of_each_source_a_cycle(ports: int) -> None:
    overlay = Overlay.load("tiny", (f"dma.hbm_ports={ports}",))
    program = hand_made(scores(), overlay, carrier(ROWS))
    popped = watch(program, overlay, lambda m: tuple(int(m.kv.popped[port]) for port in range(ports)))
    taken = [tuple(now - old for old, now in zip(a, b, strict=True)) for a, b in pairwise(popped)]
    steps = [step for step in taken if any(step)]
    c = program.context
    rounds = new_schedule(ROWS, c.limits)
    count = schedule(c.limits, c.placement, 0, ROWS, False, False, rounds)
    sources = [set(rounds.port[rounds.first[r] : rounds.first[r + 1]].tolist()) for r in range(count)]
    chunks = c.memory.vector_bytes // overlay.chunk_bytes
    expected = [tuple(int(port in source) for port in range(ports)) for source in sources]
    assert steps == [step for step in expected for _ in range(chunks)]


def writes(program: Program, overlay: Overlay) -> Counter[tuple[int, int]]:
    """How often each (port, byte address of a beat) is written, from the requests that the ports take."""
    seen: Counter[tuple[int, int]] = Counter()
    taken = [0] * overlay.dma.hbm_ports
    for m in cycles(program, overlay):
        for port in range(overlay.dma.hbm_ports):
            channel = m.hbm.channels[port]
            for burst in range(taken[port], int(channel.pushed)):
                slot = burst % QUEUE
                if channel.is_write[slot]:
                    first = int(channel.beat[slot])
                    seen.update((port, (first + b) * HBM_BEAT_BYTES) for b in range(int(channel.beats[slot])))
            taken[port] = int(channel.pushed)
    return seen


@settings(max_examples=10)
@given(
    policy=st.sampled_from(["dense", "reuse_last", "evict"]), skip=st.sampled_from([0.3, 0.8]),
    head_dim=st.sampled_from([16, 80]), ports=st.sampled_from([2, 3]),
    kv_map=st.sampled_from(["token_wise", "interleaved"]),
)  # fmt: skip
def test_an_append_writes_every_executed_row_once(
    policy: str, skip: float, head_dim: int, ports: int, kv_map: str
) -> None:
    """Heads of 80 do not divide 4 KiB: their bursts are split at its multiples."""
    size = ("pe_array.columns=32", "pe_array.dot_length=32", f"kv_buffer.map={kv_map}", "kv_buffer.enabled=false")
    overlay = Overlay.load("tiny", (f"dma.hbm_ports={ports}", *size))
    model = shape(head_dim=head_dim, attention_heads=2, hidden_size=32, intermediate_size=32, vocabulary=16)
    trace = skipping(model, 10, 1, skip, kv_policy=policy)
    program = compile_trace(trace, overlay, BOARD)
    memory, placement = program.context.memory, program.context.placement
    chunk = overlay.chunk_bytes
    expected: Counter[tuple[int, int]] = Counter()
    for layer, token in np.argwhere(trace.rows("kv")):
        for value in (0, 1):
            vector = (2 * int(layer) + value) * memory.slots + int(placement.slot[layer, token])
            for n in range(memory.vector_bytes // chunk):
                port, place = (n % ports, n // ports) if kv_map == "interleaved" else (placement.port[layer, token], n)
                start = memory.kv_base + vector * memory.stride_bytes + place * chunk
                expected.update((int(port), beat) for beat in range(start, start + chunk, HBM_BEAT_BYTES))
    assert set(expected.values()) == {1}
    assert writes(program, overlay) == expected


def test_kv_waits_for_a_port_and_not_the_other_way_round() -> None:
    """A FIFO of one burst is enough for every round to come, if slowly."""
    times: dict[int, int] = {}
    for chunks in (8, 64):
        overlay = Overlay.load("tiny", (f"dma.kv_chunks={chunks}",))
        program = hand_made(scores(64 // overlay.pe_array.dot_length), overlay, carrier(ROWS, head_dim=64, kv_heads=2))
        times[chunks] = len(watch(program, overlay, id))
    assert times[64] <= times[8]
