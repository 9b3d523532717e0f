"""The KV scheduler's contracts are proved, and with a fault the proof ends in a counterexample."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from skipopu.hdl.formal import kv_scheduler
from skipopu.hdl.formal.kv_scheduler_claims import scheduler_bench
from skipopu.hdl.formal.kv_scheduler_queues import fetch_bench, queue_bench
from skipopu.hdl.formal.kv_scheduler_ring import ring_bench
from skipopu.hdl.formal.smtbmc import prove, refute
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.verilog import emit

QUEUES = scheduler_bench(kv_scheduler.shape(2, 1, 2))
RING = ring_bench(kv_scheduler.shape(2, 1, 2))
QUEUE, FETCH = queue_bench(3), fetch_bench(kv_scheduler.shape(2, 0, 1))
NARROW = scheduler_bench(kv_scheduler.shape(2, 0, 1))
IN_ORDER = scheduler_bench(kv_scheduler.shape(2, 2, 2, lock_step=True))


def named(benches: Iterable[Bench]) -> list[Any]:
    return [pytest.param(bench, id=bench.name) for bench in benches]


@pytest.mark.parametrize("bench", named(kv_scheduler.small()))
def test_the_contract_is_proved(bench: Bench) -> None:
    verdict = prove(bench)
    assert verdict.proved, str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("bench", named(kv_scheduler.larger()))
def test_the_contract_is_proved_of_larger_ones(bench: Bench) -> None:
    verdict = prove(bench)
    assert verdict.proved, str(verdict)


FAULTS = {
    "a fetch queue is full, and written": (
        QUEUES, "kv_scheduler", "fits & (~(fetched & (fetch_full >> token__port)))", "fits", "no fetch queue",
    ),
    "a queue is never empty": (QUEUES, "fifo", "empty = !stored", "empty = 1'h0", "underflow"),
    "the window does not move": (NARROW, "kv_waiting", "turn ? 2'h0 : (turn + 1'h1)", "turn", "a head that waits"),
    "one bank for two heads": (QUEUES, "kv_waiting", "going = there & ~lost_bank", "going = there", "bank of its own"),
    "a lane is given twice": (
        IN_ORDER, "kv_open_round", "~((formed__mask >> lane) |", "~((1'h0) |", "never two of a port",
    ),
    "a closed round's lanes stay": (
        IN_ORDER, "kv_open_round", "formed[3:0] <= 4'h0", "formed[3:0] <= formed[3:0]", "never two of a port",
    ),
    "a round is pushed though there is no room": (
        QUEUES, "kv_scheduler", "(flushing & ~forming__empty)) & ~rounds_full", "(flushing & ~forming__empty))",
        "the round queue does not overflow",
    ),
    "the last rounds wait for luck": (
        QUEUES, "kv_scheduler", "flushing & ~forming__empty", "flushing & ~forming__empty & scan_bits[0]", "after 3",
    ),
    "the ring takes one more": (QUEUES, "kv_ring", "room = held < ", "room = held <= ", "more than its capacity"),
    "the last token is not waited for": (
        QUEUES, "kv_scheduler", "scan__advance & scan__last", "scan__advance & scan__last & ~put", "at the end every",
    ),
    "a place begins where another does": (QUEUES, "kv_ring", "tail_chunk + (2'h2 * vector)", "tail_chunk", "begins"),
    "a kept token executes": (RING, "kv_scan", "visible & ~scan_bits[1]", "visible", "the ring holds|in it"),
    "a queue wraps a place late": (QUEUE, "fifo", "read_place == 2'h2", "read_place == 2'h3", "order and data"),
    "a chunk too many": (FETCH, "kv_fetch", "_3 <= 3'h4", "_3 <= 3'h5", "chunks asked for"),
    "a burst crosses 4 KiB": (FETCH, "kv_fetch", "to_boundary = 7'h40", "to_boundary = 7'h41", "stays within 4 KiB"),
    "a token is put again": (
        QUEUES, "kv_scheduler", "scan__valid & (put | ~placing)", "scan__valid & ~placing", "no more than one round",
    ),
}  # fmt: skip
MORE = {
    "a queue is full a token late": (QUEUES, "fifo", "full = stored == 2'h2", "full = stored == 2'h3", "overflow"),
}
faults = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]


@pytest.mark.parametrize(("bench", "module", "right", "wrong", "claim"), [*faults, *slow])
def test_a_fault_has_a_counterexample(bench: Bench, module: str, right: str, wrong: str, claim: str) -> None:
    texts = emit(bench.block)
    (name,) = [name for name in texts if name.startswith(module)]
    assert texts[name].count(right) == 1
    verdict = refute(bench, {**texts, name: texts[name].replace(right, wrong)})
    assert verdict is not None
    assert re.search(claim, str(verdict.failed))
    assert verdict.counterexample is not None


def test_without_the_protocol_nothing_is_proved() -> None:
    begins_again = replace(QUEUES, assumed={k: v for k, v in QUEUES.assumed.items() if "begins" not in k})
    assert not prove(begins_again).proved
