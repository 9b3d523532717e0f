"""Co-simulation of the whole overlay: one program in RTL, simulator, functional machine and numerics.

The simulator says when, the functional machine what both memories hold in the end, numerics what the logits are; none
of them knows the RTL. Under random stalls times are free: values, traffic, and that it ends are still compared.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_difference import OverlayDifference, in_order
from skipopu.hdl.cosim.overlay_lockstep import different_cause, different_counters, different_retirement, never_retired
from skipopu.hdl.cosim.overlay_model import Modelled, modelled
from skipopu.hdl.cosim.overlay_outcome import RtlOutcome, broken_rules, outcome_of
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl, Work
from skipopu.hdl.cosim.overlay_values import different_values
from skipopu.program.image import Image, build_image
from skipopu.program.status import WATCHDOG_CYCLES
from skipopu.sim.functional.machine import Outcome
from skipopu.sim.functional.machine import run as run_functional
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import DDR_BEAT_BYTES, HBM_BEAT_BYTES

SILENT = 4096  # cycles without a retirement, beyond the longest such stretch of the simulator


@dataclass(frozen=True)
class OverlayRun:
    """What was compared, and the first difference of each kind in the order of time."""

    overlay: str
    shape: str
    instructions: int
    steps: int  # of which logits were compared
    decisions: int  # of routers
    cycles: int  # of the RTL
    model_cycles: int
    hbm_bytes: int
    ddr_bytes: int
    stall_seed: int | None
    build_seconds: float
    run_seconds: float
    differences: tuple[OverlayDifference, ...]

    @property
    def difference(self) -> OverlayDifference | None:
        """The first of all."""
        return self.differences[0] if self.differences else None


def cosimulate(
    case: Case, *, rtl: OverlayRtl | None = None, stall_seed: int | None = None, waves: Path | None = None
) -> OverlayRun:
    """Run a case through everything and compare; ``rtl`` is hardware that is built already.

    Waves go to the directory ``waves``. With a ``stall_seed`` every AXI channel stalls at random.
    """
    rtl = rtl or OverlayRtl(case.overlay, waves=waves)
    image = build_image(case.program, case.parameters)
    functional, model = run_functional(case.program, image), modelled(case.program, case.overlay, case.board)
    work = _work(model, len(case.program), stall_seed)
    found = rtl.run(image, case.program.context, case.board, work, stall_seed)
    differences = _compare(case, image, functional, model, found, stall_seed is None)
    return _summary(case, model, found, stall_seed, rtl.seconds, differences)


def _work(model: Modelled, instructions: int, stall_seed: int | None) -> Work:
    """What the simulator needs, and in lock-step little more time."""
    moved = model.run.traffic.sum(axis=0)
    hbm, ddr = int(moved[: Traffic.KV_WRITE + 1].sum()), int(moved[Traffic.KV_WRITE + 1 :].sum())
    longest = int(np.diff(np.sort(model.run.retired.last), prepend=0).max())
    return Work(
        instructions=instructions, hbm_beats=int(moved[Traffic.KV_WRITE]) // HBM_BEAT_BYTES,
        bursts=hbm // HBM_BEAT_BYTES + ddr // DDR_BEAT_BYTES,
        patience=longest + SILENT if stall_seed is None else 2 * WATCHDOG_CYCLES,
    )  # fmt: skip


def _compare(
    case: Case, image: Image, functional: Outcome, model: Modelled, found: Arrays, lockstep: bool
) -> tuple[OverlayDifference, ...]:
    rtl = outcome_of(case.program, image, found)
    words = case.program.words
    when = (
        [
            different_cause(model.causes, rtl.causes),
            different_retirement(model.run.retired, rtl.retired, words),
            different_counters(model.run.ledger.sum(axis=0), rtl.registers.counters, "the simulator"),
        ]
        if lockstep
        else [never_retired(rtl.retired, words)]
    )
    return in_order([*broken_rules(found), *when, *_counted(rtl), *different_values(case, functional, model.run, rtl)])


def _counted(rtl: RtlOutcome) -> list[OverlayDifference | None]:
    """What the overlay counts of itself."""
    return [
        different_counters(rtl.ledger, rtl.registers.counters, "its own causes"),
        _other("cycles", len(rtl.causes), rtl.registers.cycles),
        _other("retired", len(rtl.retired), rtl.registers.retired),
        _other("lost entries of the retire stream", 0, int(rtl.registers.flag("lost"))),
    ]


def _other(register: str, model: int, rtl: int) -> OverlayDifference | None:
    return None if model == rtl else OverlayDifference("register", None, register, str(model), str(rtl))


def _summary(
    case: Case, model: Modelled, found: Arrays, stall_seed: int | None, seconds: tuple[float, float],
    differences: tuple[OverlayDifference, ...],
) -> OverlayRun:  # fmt: skip
    moved = model.run.traffic.sum(axis=0)
    trace = case.numerics.trace
    return OverlayRun(
        overlay=case.overlay.name, shape=case.parameters.shape.name, instructions=len(case.program),
        steps=len(trace.steps), decisions=len(found["routed"]),
        cycles=len(found["causes"]), model_cycles=model.run.core_cycles,
        hbm_bytes=int(moved[: Traffic.KV_WRITE + 1].sum()), ddr_bytes=int(moved[Traffic.KV_WRITE + 1 :].sum()),
        stall_seed=stall_seed, build_seconds=seconds[0], run_seconds=seconds[1], differences=differences,
    )  # fmt: skip
