"""Each check of the audit turns red when the number it watches is made wrong, and a true run passes all."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.results.audit import audit
from skipopu.results.check import AuditError, enforce
from skipopu.results.result import Result
from skipopu.spec.ledger import Block, Cause, Part, Phase, Traffic


def failed(case) -> list[str]:
    return [check.name for check in audit(case.run, case.trace, case.overlay) if not check.passed]


def changed(array: np.ndarray, place, by: int) -> np.ndarray:
    copy = array.copy()
    copy[place] += by
    return copy


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 999),
    skip=st.sampled_from([0.0, 0.3, 0.9]),
    decode=st.integers(0, 5),
    prompt=st.integers(1, 9),
)
def test_a_true_run_passes(make_case, seed, skip, decode, prompt):
    assert failed(make_case(skip=skip, decode=decode, seed=seed, prompt=prompt)) == []


@pytest.mark.parametrize("name", ["ledger", "parts", "traffic", "asked", "windows", "step_end", "macs"])
def test_a_negative_count_is_named_first(case, name):
    array = getattr(case.run, name)
    wrong = case.with_run(**{name: changed(array, (0,) * array.ndim, -int(array.max()) - 10)})
    assert failed(wrong)[0] == f"not_negative.{name}"


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("kind", Traffic)
def test_a_byte_that_was_not_asked_for_is_found(case, phase, kind):
    wrong = case.with_run(traffic=changed(case.run.traffic, (phase, kind), 1))
    assert f"bytes.{phase.label}.{kind.label}" in failed(wrong)
    assert f"windows.{kind.label}" in failed(wrong)


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("block", Block)
def test_a_cycle_with_two_causes_is_found(case, phase, block):
    wrong = case.with_run(ledger=changed(case.run.ledger, (phase, block, Cause.BUSY), 1))
    parts = [f"ledger.{phase.label}.parts"] if block == Block.PE_ARRAY else []
    assert failed(wrong) == [f"ledger.{phase.label}.{block.label}", *parts]


@pytest.mark.parametrize("phase", Phase)
def test_a_cycle_of_no_part_is_found(case, phase):
    wrong = case.with_run(parts=changed(case.run.parts, (phase, Part.OUTSIDE, Cause.BUSY), -1))
    assert failed(wrong) == [f"ledger.{phase.label}.parts"]


@pytest.mark.parametrize("phase", Phase)
def test_arithmetic_faster_than_the_array_is_found(case, phase):
    cycles = (case.run.prefill_cycles, case.run.core_cycles - case.run.prefill_cycles)[phase]
    macs = case.run.macs.copy()
    macs[phase] = cycles * case.overlay.peak_macs_per_cycle
    assert failed(case.with_run(macs=macs)) == []
    assert failed(case.with_run(macs=changed(macs, phase, 1))) == [f"roofline.{phase.label}.compute"]


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize(("memory", "kind"), [("hbm", Traffic.WEIGHTS), ("ddr", Traffic.CONSTANTS)])
def test_memory_faster_than_its_ports_is_found(case, phase, memory, kind):
    peak = {"hbm": case.overlay.hbm_bytes_per_cycle, "ddr": case.overlay.ddr_bytes_per_cycle}[memory]
    traffic = changed(case.run.traffic, (phase, kind), peak * case.run.core_cycles)
    assert f"roofline.{phase.label}.{memory}" in failed(case.with_run(traffic=traffic, asked=traffic))


def retire(case, **columns):
    return case.with_run(retired=dataclasses.replace(case.run.retired, **columns))


@pytest.mark.parametrize(
    ("name", "by", "check"),
    [
        ("issue", 10**6, "retired.issue_first"),
        ("last", -(10**6), "not_negative.retired.last"),
        ("last", 10**9, "retired.last"),
        ("first", 10**6, "retired.first_last"),
    ],
)
def test_an_instruction_at_an_impossible_time_is_found(case, name, by, check):
    wrong = retire(case, **{name: changed(getattr(case.run.retired, name), 7, by)})
    assert check in failed(wrong)


@pytest.mark.parametrize("name", ["engine", "opcode", "step", "layer", "issue", "first", "last"])
def test_an_instruction_that_did_not_retire_is_found(case, name):
    assert failed(retire(case, **{name: getattr(case.run.retired, name)[:-1]})) == ["retired.once"]


def test_decode_that_ran_ahead_has_the_time_since_then(case):
    cycles = case.run.core_cycles - case.run.prefill_cycles
    traffic = case.run.traffic.copy()
    traffic[Phase.DECODE, Traffic.WEIGHTS] = cycles * case.overlay.hbm_bytes_per_cycle
    wrong = case.with_run(traffic=traffic, asked=traffic)
    assert "roofline.decode.hbm" in failed(wrong)
    ahead = case.run.retired.step.searchsorted(1)
    early = {name: changed(getattr(case.run.retired, name), ahead, -9000) for name in ("issue", "first")}
    assert "roofline.decode.hbm" not in failed(retire(wrong, **early))


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_an_engine_out_of_order_is_found(case, data):
    retired = case.run.retired
    mine = np.flatnonzero(retired.engine == Block.PE_ARRAY)
    pick = data.draw(st.integers(0, len(mine) - 2))
    order = np.arange(len(retired.engine))
    order[[mine[pick], mine[pick + 1]]] = order[[mine[pick + 1], mine[pick]]]
    columns = {name: getattr(retired, name)[order] for name in ("issue", "first", "last")}
    assert "order.pe_array.first" in failed(retire(case, **columns))


def test_a_step_without_instructions_is_found(case):
    step = case.run.retired.step.copy()
    step[step == 1] = 0
    assert "steps.retired" in failed(retire(case, step=step))


def test_a_step_that_ends_before_its_work_is_found(case):
    assert "steps.end" in failed(case.with_run(step_end=changed(case.run.step_end, 1, -50)))


def test_a_missing_step_end_is_found(case):
    assert "steps.ended" in failed(case.with_run(step_end=case.run.step_end[:-1]))


def test_a_semaphore_left_raised_is_found(case):
    assert failed(case.with_run(semaphores=changed(case.run.semaphores, 5, 1))) == ["semaphores"]
    # opposite errors do not cancel
    assert failed(case.with_run(semaphores=changed(changed(case.run.semaphores, 5, 1), 6, -1))) == [
        "semaphores"
    ]


@pytest.mark.parametrize(
    ("name", "by", "check"),
    [
        ("bytes_stored", 4, "kv.stored"),
        ("bytes_dense", -4, "kv.dense"),
        ("hbm_bytes_read", 4, "kv.read"),
        ("read_cycles", 10**9, "kv.read_cycles"),
        ("read_cycles", -(10**3), "roofline.kv"),
    ],
)
def test_a_wrong_kv_count_is_found(case, name, by, check):
    kv = dataclasses.replace(case.run.kv, **{name: getattr(case.run.kv, name) + by})
    assert failed(case.with_run(kv=kv))[0] == check


def test_entries_that_were_never_written_are_found(case):
    traffic = case.run.traffic.copy()
    traffic[:, Traffic.KV_WRITE] = 0
    assert "kv.written" in failed(case.with_run(traffic=traffic, asked=traffic))


def test_windows_that_miss_a_part_of_the_run_are_found(case):
    assert "windows.count" in failed(case.with_run(windows=case.run.windows[:-1]))


@pytest.mark.parametrize("memory", ["hbm", "ddr"])
@pytest.mark.parametrize("direction", ["read", "write"])
def test_a_beat_that_nobody_accounts_for_is_found(case, memory, direction):
    dram = {name: dict(counts) for name, counts in case.run.dram.items()}
    dram[memory][f"{direction}_beats"] += 1
    assert failed(case.with_run(dram=dram)) == [f"beats.{memory}.{direction}"]


def test_a_false_run_gives_no_result(case):
    wrong = case.with_run(asked=changed(case.run.asked, (0, 0), 5))
    moved = int(case.run.traffic[0, 0])
    with pytest.raises(AuditError) as error:
        Result.of(wrong.run, wrong.trace, wrong.overlay, wrong.board)
    assert str(error.value) == (
        f"audit: bytes.prefill.weights: bytes asked {moved + 5:,} ≠ bytes moved {moved:,};"
        " the simulated numbers are not usable"
    )


def test_enforce_counts_the_other_failures(case):
    wrong = case.with_run(asked=case.run.asked + 1)
    with pytest.raises(AuditError, match=r"\(and 13 more\)"):
        enforce(audit(wrong.run, wrong.trace, wrong.overlay))
