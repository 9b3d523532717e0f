"""What K/V reads come to when they are streamed alone: rounds, port use, bandwidths, buffer hits.

All numbers are those of the passes that were streamed. A round gives a chunk of each of its tokens a cycle; the rounds
of a layer are counted once, although K and V go through them one after the other.

- ``passes``: numbers of the streamed decode steps (row blocks of the prefill), ``of_passes`` in all;
- ``port_use``: share of the chunks that a round's HBM ports (buffer ports) could give in its cycles that they gave,
  and that of the HBM ports that gave least and most;
- ``cycles``: of reads in layers whose query executes, from the first to the last; ``table_cycles``: of the other
  layers, where the scheduler brings its table of tokens up to date and nothing is read;
- ``effective_bandwidth``: bytes from HBM and buffer over ``cycles``; ``physical_bandwidth``: bytes from HBM alone;
- ``seconds_per_token``: ``cycles`` in seconds over the tokens of the streamed passes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.context import Context
from skipopu.results.check import Check, at_most, enforce, equal
from skipopu.results.summary import ratio
from skipopu.sim.kv_stream import KvStream, Progress, stream
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import HBM_BEAT_BYTES

if TYPE_CHECKING:
    from skipopu.spec.board import Board

PHASES = ("decode", "prefill")
K, V = 0, 1


@dataclass(frozen=True)
class KvReads:
    """The streamed passes of one trace on one machine; ``figures`` as `kv.json` has them."""

    context: Context
    found: KvStream
    figures: dict[str, Any]
    checks: tuple[Check, ...]


def read_kv(
    context: Context, board: "Board", phase: str = "decode", every: int = 1, progress: Progress | None = None
) -> KvReads:
    """Stream the K/V of every ``every``-th decode step of a trace, or of its prefill, and audit the counts.

    Raises SpecError where the trace has no such pass, AuditError if the counts contradict one another.
    """
    found = stream(context, board, chosen_passes(context, phase, every), progress)
    checks = tuple(_checks(context, found))
    enforce(checks)
    return KvReads(context, found, _figures(context, found, phase, every), checks)


def chosen_passes(context: Context, phase: str, every: int) -> NDArray[np.int64]:
    """Return the passes of ``phase``, of each ``every`` of them the middle one."""
    passes = passes_of(context, phase)
    if not 1 <= every <= len(passes):
        raise SpecError(f"--every {every}: the trace has {len(passes)} {phase} passes; must be in 1..{len(passes)}")
    return passes[(every - 1) // 2 :: every]


def passes_of(context: Context, phase: str) -> NDArray[np.int64]:
    """Return all passes of ``phase``: decode steps, or row blocks of the prefill."""
    passes = np.flatnonzero(context.passes.decode == (phase == "decode"))
    if not len(passes):
        other = PHASES[1 - PHASES.index(phase)]
        raise SpecError(f"--phase {phase}: the trace has no such pass; use --phase {other}, or give another trace")
    return passes


def vector_bytes(context: Context) -> int:
    """K plus V of one token in one layer."""
    return 2 * context.memory.vector_bytes


def _figures(context: Context, found: KvStream, phase: str, every: int) -> dict[str, Any]:
    overlay, demand, reads = context.overlay, context.demand, found.reads
    hz, size = overlay.clock.core_mhz * 1e6, vector_bytes(context)
    rounds = int(demand.rounds[found.passes].sum())
    hbm, buffer = int(reads.hbm_bytes.sum()), int(reads.buffer_bytes.sum())
    causes = reads.cycles[found.executed].sum(axis=(0, 1))
    cycles, tokens = int(causes.sum()), int(context.passes.rows[found.passes].sum())
    seconds, peak = cycles / hz, overlay.hbm_bytes_per_cycle * hz
    all_passes = passes_of(context, phase)
    return {
        "phase": phase, "every": every, "of_passes": len(all_passes),
        "passes": np.searchsorted(all_passes, found.passes).tolist(), "tokens": tokens,
        "memory": _memory(context), "rounds": rounds,
        "hbm_entries": hbm // size, "buffer_entries": buffer // size,
        "tokens_per_round": ratio((hbm + buffer) // size, rounds),
        "port_use": {
            "hbm": ratio(hbm // size, rounds * overlay.dma.hbm_ports),
            "hbm_least": ratio(int(found.port_bytes.min()), rounds * size),
            "hbm_most": ratio(int(found.port_bytes.max()), rounds * size),
            "buffer": ratio(buffer // size, rounds * overlay.buffer_ports),
        },
        "hbm_bytes": hbm, "buffer_bytes": buffer, "buffer_hits": ratio(buffer, hbm + buffer),
        "cycles": cycles, "table_cycles": found.core_cycles - cycles, "seconds": seconds,
        "seconds_per_token": ratio(seconds, tokens),
        "effective_bandwidth": ratio(hbm + buffer, seconds), "physical_bandwidth": ratio(hbm, seconds),
        "peak_bandwidth": peak, "physical_share": ratio(hbm, seconds * peak),
        "cycles_by_cause": {cause.label: int(n) for cause, n in zip(Cause, causes, strict=True) if n},
        "layers": list(_layers(context, found)),
    }  # fmt: skip


def _memory(context: Context) -> dict[str, Any]:
    b = context.overlay.kv_buffer
    return {
        "map": b.map, "hbm_ports": context.overlay.dma.hbm_ports, "buffer_ports": context.overlay.buffer_ports,
        "buffer_tokens": context.limits.capacity, "invalid_rounds": b.invalid_rounds,
    }  # fmt: skip


def _layers(context: Context, found: KvStream) -> Iterator[dict[str, int]]:
    """The sums of each layer over the streamed passes."""
    for layer in range(found.executed.shape[1]):
        reads: Any = found.reads[:, layer]
        ran = found.executed[:, layer]
        yield {
            "layer": layer, "passes": int(ran.sum()),
            "rounds": int(context.demand.rounds[found.passes, layer].sum()),
            "hbm_bytes": int(reads.hbm_bytes.sum()), "buffer_bytes": int(reads.buffer_bytes.sum()),
            "cycles": int(reads.cycles[ran].sum()),
        }  # fmt: skip


def _checks(context: Context, found: KvStream) -> Iterator[Check]:
    """What was streamed is what the schedules ask for, and no port was faster than its pins."""
    reads, demand, overlay = found.reads, context.demand, context.overlay
    asked, size = int(reads.hbm_bytes.sum()), vector_bytes(context)
    yield equal("kv.bytes", "bytes asked of HBM", asked, "bytes delivered", found.hbm_bytes)
    beats = found.dram["read_beats"] * HBM_BEAT_BYTES
    yield equal("kv.beats", "bytes delivered", found.hbm_bytes, "bytes of the memory's beats", beats)
    yield equal("kv.ports", "bytes taken from all ports", int(found.port_bytes.sum()), "bytes asked of HBM", asked)
    hbm, buffer = (int(d[found.passes].sum()) * size for d in (demand.hbm_entries, demand.buffer_entries))
    yield equal("kv.hbm", "bytes asked of HBM", asked, "bytes of the schedules", hbm)
    yield equal("kv.buffer", "bytes of the buffer", int(reads.buffer_bytes.sum()), "bytes of the schedules", buffer)
    parts = np.where(context.passes.decode[found.passes], 1, context.shape.dimensions.kv_heads // 2)
    rounds = int((demand.rounds[found.passes] * parts[:, None]).sum())
    for name, value in (("K", K), ("V", V)):
        yield equal(f"kv.rounds.{name}", f"rounds of {name}", int(reads.rounds[..., value].sum()), "expected", rounds)
    chunks = context.memory.vector_bytes // overlay.chunk_bytes
    sets = 2 * int(demand.rounds[found.passes].sum()) * chunks
    yield equal("kv.sets", "chunk sets taken", int(reads.chunk_sets.sum()), "chunks of all rounds", sets)
    yield equal("kv.cycles", "cycles of all reads", int(reads.cycles.sum()), "core cycles", found.core_cycles)
    most = overlay.hbm_bytes_per_cycle * found.core_cycles
    yield at_most("kv.peak", "bytes from HBM", asked, "bytes of all ports in the cycles taken", most)
