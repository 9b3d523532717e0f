"""A simulation of which the attention module is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from skipopu.program.compiler import compile_trace
from skipopu.results.attention import Attention
from skipopu.results.audit import audit
from skipopu.results.check import AuditError, enforce
from skipopu.sim.error import SimulationError
from skipopu.sim.reference import simulate

if TYPE_CHECKING:
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace


@dataclass(frozen=True)
class Job:
    """One trace, named ``label``, on one machine."""

    label: str
    trace: "Trace"
    overlay: "Overlay"
    board: "Board"
    max_cycles: int | None = None


def run(job: Job) -> Attention:
    """Simulate and audit one job."""
    try:
        found = simulate(
            compile_trace(job.trace, job.overlay, job.board), job.overlay, job.board, max_cycles=job.max_cycles
        )
        enforce(audit(found, job.trace, job.overlay))
    except (SimulationError, AuditError) as error:
        kind = AuditError if isinstance(error, AuditError) else SimulationError
        raise kind(f"{job.label}: {error}") from None  # as text, which passes between processes
    return Attention(job.label, found.parts)
