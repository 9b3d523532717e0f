"""FIFOs and counts between the clocks are proved, and with a fault the proof ends in a counterexample."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from skipopu.hdl.async_fifo import AsyncFifo
from skipopu.hdl.formal import fifo
from skipopu.hdl.formal.fifo_claims import chunk_bench, fifo_bench
from skipopu.hdl.formal.fifo_count import count_bench
from skipopu.hdl.formal.fifo_credit import read_bench
from skipopu.hdl.formal.fifo_write_data import data_bench
from skipopu.hdl.formal.fifo_writes import write_bench
from skipopu.hdl.formal.smtbmc import main, prove, refute
from skipopu.hdl.formal.smtbmc_bench import Bench
from skipopu.hdl.verilog import emit
from skipopu.spec.error import SpecError

FIFO, OUT = fifo_bench(4, 2, fifo.TO_CORE, True, None), fifo_bench(4, 2, fifo.TO_HBM, False, None)
COUNT, CHUNKS, READS = count_bench(4, 2, None), chunk_bench(4, 3, 2, None), read_bench(2, 2, None)
WRITES, DATA = write_bench(2, 2, None), data_bench(2, 8, None)


def named(benches: Iterable[Bench]) -> list[Any]:
    return [pytest.param(bench, id=bench.name) for bench in benches]


def with_fault(bench: Bench, right: str, wrong: str) -> Mapping[str, str]:
    """The Verilog with ``right`` replaced, which stands in it once."""
    texts = emit(bench.block)
    assert sum(text.count(right) for text in texts.values()) == 1
    return {name: text.replace(right, wrong) for name, text in texts.items()}


# what is proved


@pytest.mark.parametrize("bench", named(fifo.small()))
def test_the_contract_is_proved(bench: Bench) -> None:
    verdict = prove(bench)
    assert verdict.proved, str(verdict)


@pytest.mark.slow
@pytest.mark.parametrize("bench", named(fifo.larger()))
def test_the_contract_is_proved_of_larger_ones(bench: Bench) -> None:
    verdict = prove(bench)
    assert verdict.proved, str(verdict)


def test_the_command_prints_a_line_a_claim(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([COUNT]) == 0
    head, given, *lines = capsys.readouterr().out.splitlines()
    assert head.startswith(COUNT.name)
    assert given.startswith("  given: ")
    assert len(lines) == len(COUNT.claims) + len(COUNT.reached)
    assert {line.rpartition(" | ")[2] for line in lines} == {"proved", "reached"}


# with a fault it is not


ONE_BIT = "changes in one bit at a time"
POINTER = ("write_pointer_next ^ { 1'h0, _1[2:1] }", "write_pointer_next")
FAULTS = {
    "a pointer in binary": (FIFO, *POINTER, ONE_BIT),
    "read though empty": (OUT, "write_gray_seen_2 != (", "1'h1 | (", "no underflow"),
    "the output register does not wait": (FIFO, "due & (~read__valid | read__ready)", "due", "order and data"),
    "one flip-flop": (FIFO, "due = write_gray_seen_2", "due = write_gray_seen_1", "and not before"),
    "a count in binary": (COUNT, "events_next ^ { 1'h0, _1[2:1] }", "events_next", ONE_BIT),
    "a burst too many": (READS, "outstanding < 2'h2", "outstanding <= 2'h2", "accepted − completed|request FIFO"),
}
MORE = {
    "a chunk too early": (CHUNKS, "fifo__write = beat_valid & beat_of_chunk", "fifo__write = beat_valid", "order"),
    "every beat completes a burst": (READS, "rvalid & rlast", "rvalid", "accepted − completed"),
    "a write burst too many": (
        WRITES, "ready = unacknowledged < 2'h2", "ready = unacknowledged <= 2'h2", "accepted −|request FIFO",
    ),
    "W does not wait for AW": (DATA, "load & ((|bursts_due) | start)", "load", "no beat is sent|when it is asked for"),
    "AR does not wait": (READS, "load = ~arvalid | arready", "load = 1'h1", "what stands at AR"),
}  # fmt: skip
faults = [pytest.param(*fault, id=name) for name, fault in FAULTS.items()]
slow = [pytest.param(*fault, id=name, marks=pytest.mark.slow) for name, fault in MORE.items()]


@pytest.mark.parametrize(("bench", "right", "wrong", "claim"), [*faults, *slow])
def test_a_fault_has_a_counterexample(bench: Bench, right: str, wrong: str, claim: str) -> None:
    verdict = refute(bench, with_fault(bench, right, wrong))
    assert verdict is not None
    assert re.search(claim, str(verdict.failed))
    assert verdict.counterexample is not None


def test_a_counterexample_is_a_table_of_signals() -> None:
    verdict = prove(FIFO, with_fault(FIFO, *POINTER))
    lines = str(verdict).split("counterexample\n")[1].splitlines()
    assert lines[0].split() == ["step", *map(str, range(len(lines[0].split()) - 1))]
    assert {"write", "clk", "hbm_clk", "dut.write_gray", "gray_before"} <= {line.split()[0] for line in lines}
    assert verdict.counterexample is not None
    codes = verdict.counterexample.values["dut.write_gray"]
    assert any((code ^ code_before).bit_count() > 1 for code_before, code in pairwise(codes[1:]))


def test_without_its_credit_a_fifo_overflows() -> None:
    verdict = prove(replace(FIFO, assumed={}, invariants=()))
    assert not verdict.proved
    assert verdict.counterexample is not None
    written = verdict.counterexample.values["written"]
    assert max(written) > 4 or "overflow" in str(verdict.failed)


def test_assumptions_that_contradict_each_other_prove_nothing() -> None:
    verdict = prove(replace(COUNT, assumed={**COUNT.assumed, "nothing ever": "0"}))
    assert not verdict.proved
    assert set(verdict.missed) == set(COUNT.reached)


def test_a_claim_about_a_signal_that_is_not_there_is_refused() -> None:
    block = AsyncFifo(width=2, depth=4, stages=2, write_domain="hbm", read_domain="sync", ahead=True)
    with pytest.raises(SpecError, match="no signal of this name"):
        prove(Bench("no such signal", block, {"it is low": "!dut.no_such_signal"}))
    with pytest.raises(SpecError, match="no instance inner"):
        prove(Bench("no such instance", block, {"it is low": "!dut.inner.write"}))
