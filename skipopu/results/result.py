"""Result: one simulation with its inputs, its summary and its audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from skipopu.results.audit import audit
from skipopu.results.check import Check, enforce
from skipopu.results.events import frame, opcode_names
from skipopu.results.provenance import provenance
from skipopu.results.record import ROWS, Record
from skipopu.results.spans import first_decode_step
from skipopu.results.summary import summary
from skipopu.sim.run import Run

if TYPE_CHECKING:
    import polars as pl

    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace


@dataclass(frozen=True)
class Result:
    """A finished, audited simulation; make one with `Result.of`, which raises AuditError for a false run."""

    run: Run
    trace: "Trace"
    overlay: "Overlay"
    board: "Board"
    summary: Mapping[str, Any]
    audit: tuple[Check, ...]

    @classmethod
    def of(cls, run: Run, trace: "Trace", overlay: "Overlay", board: "Board") -> "Result":
        """Audit ``run`` and sum it up; AuditError names the first check that fails."""
        checks = tuple(audit(run, trace, overlay))
        enforce(checks)
        return cls(run, trace, overlay, board, summary(run, trace, overlay, board), checks)

    def to_polars(self) -> "pl.DataFrame":
        """Return the retire stream as a table, one row for each instruction; see `events`."""
        return frame(self.run.retired, opcode_names(), first_decode_step(self.trace))

    def record(self, dense: "Result | None" = None) -> Record:
        """Return what a result directory holds, with ``dense`` as the run to compare with."""
        step = first_decode_step(self.trace)
        tokens = self.trace.rows("q").shape[1]
        starts = [*map(int, self.trace.steps.first_token), tokens]
        return Record(
            run=self.run,
            summary=self.summary,
            provenance=provenance(self.trace, self.overlay, self.board),
            checks=self.audit,
            rows={name: np.asarray(self.trace.rows(name), dtype=np.bool_) for name in ROWS},
            first_decode_step=step,
            first_decode_token=starts[step],
            opcodes=opcode_names(),
            dense=None if dense is None else dense.summary,
        )
