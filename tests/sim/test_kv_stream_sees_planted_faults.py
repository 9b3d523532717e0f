"""The checks of the K/V reads themselves: a fault in the schedule, the memory or the counts turns them red."""

import dataclasses
from typing import Any

import kv_replay
import numpy as np
import pytest
from kv_cases import TOKEN_BYTES, WIDE, resolved, trace_of
from kv_replay import BrokenReadError, longest_wait, replay

from skipopu.numerics.kv_schedule import Schedule
from skipopu.program.context import Context
from skipopu.results import kv_reads
from skipopu.results.check import AuditError
from skipopu.results.kv_reads import read_kv
from skipopu.sim import kv_stream
from skipopu.sim.error import DeadlockError
from skipopu.spec.overlay import Overlay


@pytest.fixture
def context() -> Context:
    """Four HBM ports, two banks of eight tokens; half of the tokens skip each layer, the newest does not."""
    executed = np.random.default_rng(5).random((4, 60)) >= 0.5
    executed[0], executed[:, -1] = True, True
    settings = ("dma.hbm_ports=4", "kv_buffer.ports=2", f"kv_buffer.capacity_bytes={16 * TOKEN_BYTES}",
                "pe_array.columns=64", "psum.entries=2048", "ifm.rows=2048", "global_buffer.tiles=16384")  # fmt: skip
    return resolved(trace_of(executed, "reuse_last", 1), Overlay.load("tiny", settings))


def test_without_a_fault_there_is_nothing_to_see(context: Context) -> None:
    assert replay(context) > 20
    assert all(check.passed for check in read_kv(context, WIDE).checks)
    assert 1 <= longest_wait(context) <= 4


def test_a_ring_whose_ends_are_not_kept_from_layer_to_layer(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgets(c: Schedule) -> None:
        c.s.phase = 1 - c.s.phase

    monkeypatch.setattr(kv_replay, "commit", forgets)
    with pytest.raises(BrokenReadError):
        replay(context)


def test_a_ring_that_is_larger_than_its_banks(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = kv_replay._bank
    monkeypatch.setattr(kv_replay, "_bank", lambda _, number: honest(context, number))
    with pytest.raises(BrokenReadError):
        replay(dataclasses.replace(context, limits=context.limits._replace(capacity=32)))


def test_two_tokens_in_one_place(context: Context) -> None:
    slot = context.placement.slot.copy()
    slot[0, 4] = slot[0, 0]  # both lie in port 0
    with pytest.raises(BrokenReadError, match="holds"):
        replay(dataclasses.replace(context, placement=context.placement._replace(slot=slot)))


@pytest.mark.parametrize("field", ["hbm_bytes", "buffer_bytes", "chunk_sets", "rounds"])
def test_a_read_that_miscounts(context: Context, monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    honest = kv_reads.stream

    def miscounts(*arguments: Any) -> Any:
        found = honest(*arguments)
        found.reads[field][0, 1, 0] += 64
        return found

    monkeypatch.setattr(kv_reads, "stream", miscounts)
    with pytest.raises(AuditError, match="audit: kv"):
        read_kv(context, WIDE)


def test_beats_that_do_not_come(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = kv_reads.stream

    def loses(*arguments: Any) -> Any:
        found = honest(*arguments)
        return dataclasses.replace(found, hbm_bytes=found.hbm_bytes - 32)

    monkeypatch.setattr(kv_reads, "stream", loses)
    with pytest.raises(AuditError, match="bytes asked of HBM"):
        read_kv(context, WIDE)


@pytest.mark.parametrize(("parameter", "value", "waits"), [("kv_chunks", 1, "hbm"), ("round_queue", 0, "kv")])
def test_a_machine_that_cannot_go_on(
    context: Context, monkeypatch: pytest.MonkeyPatch, parameter: str, value: int, waits: str
) -> None:
    honest = kv_stream.overlay_parameters

    def starved(overlay: Overlay) -> Any:
        found = honest(overlay)
        found[parameter] = value
        return found

    monkeypatch.setattr(kv_stream, "overlay_parameters", starved)
    monkeypatch.setattr(kv_stream, "WATCHDOG_CYCLES", 2000)
    with pytest.raises(DeadlockError, match=f"K of layer 0 waits for {waits}") as caught:
        read_kv(context, WIDE)
    assert "kv_buffer" in str(caught.value)
