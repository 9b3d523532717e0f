"""The audit: statements that hold for every correct simulation, whatever was simulated.

Each is an equality or a bound between numbers that were counted in different places, so that a wrong
counter, a lost byte or an impossible time contradicts another number instead of passing as a result.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from skipopu.program.executed_shape import executed_shape
from skipopu.results.audit_retire import retired_once, retirement
from skipopu.results.check import Check, at_most, equal
from skipopu.results.spans import decode_span, phase_cycles
from skipopu.results.streaming_audit import streaming_checks
from skipopu.sim.run import Run
from skipopu.spec.ledger import Block, Phase, Traffic
from skipopu.spec.overlay import DDR_BEAT_BYTES, FP16_BYTES, HBM_BEAT_BYTES

if TYPE_CHECKING:
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

COUNTERS = ("ledger", "parts", "traffic", "asked", "windows", "step_end", "macs")
HBM = [kind for kind in Traffic if kind.is_hbm]
DDR = [kind for kind in Traffic if not kind.is_hbm]


def audit(run: Run, trace: "Trace", overlay: "Overlay") -> list[Check]:
    """Return every check of ``run`` in a fixed order, passed or not; see `enforce`."""
    once = retired_once(run)
    if not once.passed:
        return [once]  # the other checks need columns of one length
    return [
        once,
        *_counts(run),
        *_bytes(run),
        *_ledger(run),
        *_rooflines(run, trace, overlay),
        *retirement(run, trace),
        equal("semaphores", "sum of final counts", int(np.abs(run.semaphores).sum()), "expected", 0),
        *_kv(run, trace, overlay),
        *_windows(run),
        *_beats(run),
        *streaming_checks(run, trace, overlay),
    ]


def _counts(run: Run) -> Iterator[Check]:
    """No count is negative: a wrapped or unset counter shows here first."""
    counts = {"cycles": np.array(phase_cycles(run))}
    counts |= {name: getattr(run, name) for name in COUNTERS}
    counts |= {f"retired.{name}": getattr(run.retired, name) for name in ("step", "issue", "first", "last")}
    counts |= {f"kv.{name}": np.array([value]) for name, value in vars(run.kv).items()}
    counts |= {f"dram.{memory}": np.array(list(values.values())) for memory, values in run.dram.items()}
    for name, values in counts.items():
        lowest = int(values.min()) if values.size else 0
        detail = f"lowest count {lowest:,} {'≥' if lowest >= 0 else '<'} 0"
        yield Check(f"not_negative.{name}", lowest >= 0, detail)


def _bytes(run: Run) -> Iterator[Check]:
    """What the program asks for is what the memories moved."""
    for phase in Phase:
        for kind in Traffic:
            asked, moved = int(run.asked[phase, kind]), int(run.traffic[phase, kind])
            yield equal(f"bytes.{phase.label}.{kind.label}", "bytes asked", asked, "bytes moved", moved)


def _beats(run: Run) -> Iterator[Check]:
    """The DRAM models' own count of beats is the bytes that the engines account for."""
    for memory, kinds, size in (("hbm", HBM, HBM_BEAT_BYTES), ("ddr", DDR, DDR_BEAT_BYTES)):
        for direction in ("read", "write"):
            counted = [kind for kind in kinds if kind.is_write == (direction == "write")]
            moved = int(run.traffic[:, counted].sum())
            beats = run.dram[memory][f"{direction}_beats"] * size
            yield equal(f"beats.{memory}.{direction}", "bytes of DRAM beats", beats, "bytes moved", moved)


def _ledger(run: Run) -> Iterator[Check]:
    """Every cycle of every block has exactly one cause."""
    for phase, cycles in zip(Phase, phase_cycles(run), strict=True):
        for block in Block:
            total = int(run.ledger[phase, block].sum())
            yield equal(f"ledger.{phase.label}.{block.label}", "sum of causes", total, "cycles", cycles)
        off = np.abs(run.parts[phase].sum(axis=0) - run.ledger[phase, Block.PE_ARRAY]).sum()
        yield equal(f"ledger.{phase.label}.parts", "cycles that the parts of a layer miss", int(off), "expected", 0)


def _rooflines(run: Run, trace: "Trace", overlay: "Overlay") -> Iterator[Check]:
    """Neither the run nor a phase is faster than its arithmetic, its HBM bytes or its DDR4 bytes allow."""
    traffic, macs = run.traffic, run.macs
    ddr = [kind for kind in DDR if kind != Traffic.INSTRUCTIONS]  # fetched long before their phase begins
    yield from _roofs(
        "run", overlay, run.core_cycles, macs.sum(), traffic[:, HBM].sum(), traffic[:, DDR].sum()
    )
    for phase, span in zip(Phase, (run.prefill_cycles, decode_span(run, trace)), strict=True):
        part = traffic[phase]
        yield from _roofs(phase.label, overlay, span, macs[phase], part[HBM].sum(), part[ddr].sum())


def _roofs(name: str, overlay: "Overlay", cycles: int, macs: int, hbm: int, ddr: int) -> Iterator[Check]:
    yield _under_roof(f"roofline.{name}.compute", int(macs), overlay.peak_macs_per_cycle, cycles)
    yield _under_roof(f"roofline.{name}.hbm", int(hbm), overlay.hbm_bytes_per_cycle, cycles)
    yield _under_roof(f"roofline.{name}.ddr", int(ddr), overlay.ddr_bytes_per_cycle, cycles)


def _kv(run: Run, trace: "Trace", overlay: "Overlay") -> Iterator[Check]:
    """The K/V cache holds what the trace executed, and its reads fit in their time."""
    dimensions, rows, kv = executed_shape(trace.header).dimensions, trace.rows("kv"), run.kv
    entry = 2 * dimensions.kv_heads * overlay.head_storage(dimensions.head_dim) * FP16_BYTES
    executed, span = int(rows.sum()) * entry, decode_span(run, trace)
    written = int(run.traffic[:, Traffic.KV_WRITE].sum())
    read = int(run.traffic[Phase.DECODE, Traffic.KV_READ])
    yield equal("kv.stored", "bytes stored", kv.bytes_stored, "entries executed × bytes", executed)
    yield equal("kv.dense", "bytes if dense", kv.bytes_dense, "tokens × layers × bytes", rows.size * entry)
    yield at_most("kv.written", "bytes stored", kv.bytes_stored, "bytes written", written)
    yield equal("kv.read", "bytes read by the KV engine", kv.hbm_bytes_read, "bytes moved in decode", read)
    yield at_most("kv.read_cycles", "cycles streaming", kv.read_cycles, "cycles since decode began", span)
    yield _under_roof("roofline.kv", kv.hbm_bytes_read, overlay.hbm_bytes_per_cycle, kv.read_cycles)


def _windows(run: Run) -> Iterator[Check]:
    """The bandwidth windows cover the run and hold every byte."""
    covered = -(-run.core_cycles // run.window_cycles)
    yield equal("windows.count", "windows", len(run.windows), "core cycles ÷ window", covered)
    for kind in Traffic:
        total, moved = int(run.windows[:, kind].sum()), int(run.traffic[:, kind].sum())
        yield equal(f"windows.{kind.label}", "bytes in windows", total, "bytes moved", moved)


def _under_roof(name: str, amount: int, peak: int, cycles: int) -> Check:
    return at_most(name, "demand", amount, f"{peak:,} a cycle × {cycles:,} cycles =", peak * cycles)
