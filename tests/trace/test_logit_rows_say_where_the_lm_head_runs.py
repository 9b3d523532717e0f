"""Which steps meet the LM head: by phase, by decision, or as the trace says."""

from pathlib import Path

import numpy as np
from small_traces import plain

from skipopu.trace import Event, EventKind, StepPhase, dense_like, read_trace, write_trace
from skipopu.trace.gemms import gemms, total_macs
from skipopu.trace.logit_rows import logit_rows

P = StepPhase


def test_without_a_word_every_step_but_encode_and_read_has_one() -> None:
    phases = [P.ENCODE, P.PREFILL, P.READ, P.WRITE, P.DECODE, P.SCORE]
    assert logit_rows(plain([2, 3, 2, 1, 1, 2], phases=phases)).tolist() == [0, 1, 0, 1, 1, 1]


def test_a_pass_whose_head_waits_has_none() -> None:
    events = [Event(EventKind.DECISION_OP, 0, outcome=0), Event(EventKind.DECISION_OP, 1, outcome=1)]
    assert logit_rows(plain([1, 1, 1], phases=[P.WRITE] * 3, events=events)).tolist() == [0, 1, 1]


def test_what_the_trace_says_holds_survives_the_disk_and_its_dense_twin(tmp_path: Path) -> None:
    trace = plain([4, 1, 1], phases=[P.PREFILL, P.DECODE, P.DECODE], logit_rows=np.asarray([3, 0, 1]))
    write_trace(trace, tmp_path / "t.trace")
    for same in (trace, read_trace(tmp_path / "t.trace"), dense_like(trace)):
        assert logit_rows(same).tolist() == [3, 0, 1]
    d = trace.header.shape.dimensions
    assert total_macs(gemms(trace), "lm_head") == 4 * d.vocabulary * d.hidden_size
