"""The K/V reads alone, whose memory runs ahead of the core, against the machine's blocks stepped every cycle."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from kv_cases import WIDE, overlays, trace_of, traces

from skipopu.numerics.kv_schedule import Schedule
from skipopu.program.compiler import compile_trace
from skipopu.sim.dma import arrive
from skipopu.sim.kv_buffer import advance_read, begin_read, end_read, read_finished, read_part
from skipopu.sim.kv_rounds import output_valid
from skipopu.sim.kv_stream import executed_layers, stream
from skipopu.sim.machine import KvCache, Machine, new_kv_cache, new_machine
from skipopu.sim.work import resolve_work
from skipopu.spec.ledger import Cause, Phase
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace

LONGEST = 200_000  # cycles of one read: far more than any here takes
K, V = 0, 1


@dataclass
class Read:
    """One read of K or V: cycles by cause, and its rounds as lists of tokens."""

    cycles: list[int] = field(default_factory=lambda: [0] * len(Cause))
    rounds: list[list[int]] = field(default_factory=list)
    chunk_sets: int = 0


def one_read(m: Machine, c: KvCache, executed: bool, value: int, layer: int, tokens: int, pairs: int) -> Read:
    """Step one decode read to its end; whatever stands at the output is taken."""
    found, k, t = Read(), m.kv, m.total
    arrive(m)
    begin_read(k, c, int(t.now), executed, True, value, layer, tokens)
    read_part(k, m.p, 0, pairs)
    k.cause = Cause.KV
    for _ in range(LONGEST):
        found.cycles[int(k.cause)] += 1
        t.now += 1
        if not k.active:
            found.rounds = rounds(c.schedule)
            return found
        arrive(m)
        if read_finished(k, c, int(t.now)):
            end_read(k, c)
            k.cause = Cause.DRAINING
            continue
        k.taken = output_valid(k, m.p)
        found.chunk_sets += int(k.taken)
        advance_read(m, c, Phase.DECODE)
        k.taken = 0
    raise AssertionError(f"read of layer {layer} does not end")


def rounds(c: Schedule) -> list[list[int]]:
    """Tokens of every round."""
    return [c.token[c.first[r] : c.first[r + 1]].tolist() for r in range(c.s.rounds)]


def check(trace: Trace, overlay: Overlay) -> None:
    program = compile_trace(trace, overlay, WIDE)
    context = program.context
    passes = np.flatnonzero(context.passes.decode)
    alone = stream(context, WIDE, passes)
    m, c = new_machine(program, resolve_work(program, overlay), overlay, WIDE, LONGEST, LONGEST), new_kv_cache(program)
    executed, pairs = executed_layers(context), context.shape.dimensions.kv_heads // 2
    for i, index in enumerate(passes.tolist()):
        tokens = int(context.passes.first[index]) + 1
        for layer in range(trace.layers):
            ran = bool(executed[index, layer])
            k, v = (one_read(m, c, ran, value, layer, tokens, pairs) for value in (K, V))
            for value, read in ((K, k), (V, v)):
                found = alone.reads[i, layer, value]
                assert found.cycles.tolist() == read.cycles, (index, layer, value)
                assert (int(found.rounds), int(found.chunk_sets)) == (len(read.rounds), read.chunk_sets)
            assert k.rounds == v.rounds, (index, layer)
    assert alone.core_cycles == int(m.total.now)
    assert alone.hbm_bytes == int(m.counts.window.sum())


@settings(max_examples=8)
@given(trace=traces(most_tokens=24), overlay=overlays())
def test_on_any_overlay(trace: Trace, overlay: Overlay) -> None:
    check(trace, overlay)


def test_an_interleaved_round_may_be_larger_than_queues_and_fifos() -> None:
    """Eleven tokens a round; the queue takes two, the FIFOs of four ports eight, those of the others have no chunk."""
    settings = ("dma.hbm_ports=11", "dma.kv_chunks=8", "kv_buffer.queue_depth=2", "pe_array.columns=64",
                "kv_buffer.map=interleaved", "kv_buffer.enabled=false", "psum.entries=2048", "ifm.rows=2048",
                "global_buffer.tiles=16384")  # fmt: skip
    check(trace_of(np.ones((2, 24), bool), "reuse_last", 1), Overlay.load("tiny", settings))
