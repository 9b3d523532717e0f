"""`summary.json`: what a run comes to, in numbers whose definition is stated here.

Seconds are core cycles divided by the core clock. Bandwidths are bytes a second, rates are fractions of 1.

- ``tokens_per_second`` of ``decode``: decode tokens over decode time; at top level: over prefill + decode.
- ``hbm``, ``ddr``: physical bytes moved; ``bandwidth`` = (read + written) / seconds; ``utilization`` =
  bandwidth / ``peak_bandwidth``; ``weight_bandwidth`` = bytes of weight matrices (for DDR4: of constants,
  which are weight scales, norm gains, rotary constants and router weights) / seconds.
- ``kv``: ``bytes_stored`` and ``bytes_dense`` cover prompt and decode; ``saving`` = 1 − stored / dense.
  Reads are those of the decode phase. ``effective_bandwidth`` = K/V bytes delivered from HBM and from the
  invariance buffer, per second in which the KV engine was streaming; ``hbm_utilization`` = HBM bytes alone
  over that time and the HBM peak.
- ``prefill`` and ``decode`` hold the same tables for their own cycles. Bytes and arithmetic belong to the
  phase of their instruction: engines run ahead, so the first bytes of decode may move while prefill ends.
- ``pe_array``: ``utilization`` = multiply-accumulates done (padding not counted) / (peak × cycles).
- ``ledger``: cycles of each block by cause; the causes of a block sum to ``core_cycles``.
- ``parts`` of ``prefill`` and ``decode``: the PE array's row of their ledger, by the part of a layer whose instruction
  is at work or next.
- ``outside_products``: share of a phase's cycles in which the PE array neither multiplies for one of the model's matrix
  products (projections, QKᵀ, PV, FFN, LM head) nor waits for what streams into it (weights, K/V, rows, room for
  results): routers, norms and softmax where they take passes of their own, and waiting for DDR4, other engines and
  late input.
- ``skip``: what the trace skipped; ``parameter`` weighs modules by their weights, ``module`` does not.
- ``streaming``: lags behind the source, see `skipopu.results.streaming`; of streaming traces alone. There reads and
  writes take turns: ``prefill`` has the cycles of all reads, ``decode`` those of all writes, neither has late input,
  and only the ``ledger`` of each is cut where the last read ends.

A ratio over nothing (no decode steps, say) is 0.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from skipopu.results.audit import DDR, HBM, audit
from skipopu.results.spans import phase_cycles
from skipopu.results.streaming import SECTION, reading_and_writing, streaming, streams
from skipopu.sim.run import Ints, Run
from skipopu.spec.ledger import Block, Cause, Part, Phase, Traffic

if TYPE_CHECKING:
    from skipopu.spec.board import Board
    from skipopu.spec.overlay import Overlay
    from skipopu.trace import Trace

SCHEMA = 1
SKIPS = ("attention_skip", "ffn_skip", "module_skip", "parameter_skip")
PRODUCTS = (Part.PROJECTIONS, Part.SCORES, Part.CONTEXT, Part.OUTPUT, Part.FFN, Part.OUTSIDE)
MULTIPLYING = (Cause.BUSY, Cause.WEIGHTS, Cause.ROWS, Cause.KV, Cause.HBM, Cause.BACKPRESSURE)


def summary(run: Run, trace: "Trace", overlay: "Overlay", board: "Board") -> dict[str, Any]:
    """Return the content of ``summary.json`` for one run; every value is a plain int, float, str or list."""
    hz = overlay.clock.core_mhz * 1e6
    facts = trace.summary()
    tokens = (int(facts["prompt_tokens"]), int(facts["decode_tokens"]))
    checks = audit(run, trace, overlay)
    streamed = streams(trace)
    cycles = reading_and_writing(run, trace, overlay) if streamed else phase_cycles(run)
    prefill, decode = (_phase(run, overlay, phase, tokens[phase], cycles[phase]) for phase in Phase)
    decode["tokens_per_second"] = ratio(tokens[1], decode["seconds"])
    return {
        "schema": SCHEMA,
        "overlay": overlay.name,
        "board": board.name,
        "trace": _trace(trace, tokens),
        "engine": run.engine,
        "clock_mhz": overlay.clock.core_mhz,
        "core_cycles": run.core_cycles,
        "seconds": run.core_cycles / hz,
        "prefill": prefill,
        "decode": decode,
        "tokens_per_second": ratio(tokens[1], run.core_cycles / hz),
        **_work(run.traffic.sum(axis=0), int(run.macs.sum()), overlay, run.core_cycles),
        "kv": _kv(run, overlay),
        **({SECTION: streaming(run, trace, overlay)} if streamed else {}),
        "dram": {memory: dict(counts) for memory, counts in sorted(run.dram.items())},
        "instructions": len(run.retired.opcode),
        "skip": {name.removesuffix("_skip"): float(facts[name]) for name in SKIPS if name in facts},
        "ledger": _ledger(run.ledger.sum(axis=0)),
        "warnings": list(run.warnings),
        "audit": {"checks": len(checks), "failed": sum(not check.passed for check in checks)},
    }


def ratio(above: float, below: float) -> float:
    """Return ``above / below``, or 0 over nothing."""
    return float(above / below) if below else 0.0


def _trace(trace: "Trace", tokens: tuple[int, int]) -> dict[str, Any]:
    return {
        "sha256": trace.sha256,
        "family": trace.header.family,
        "shape": trace.header.shape.name,
        "prompt_tokens": tokens[0],
        "decode_tokens": tokens[1],
        "kv_policy": str(trace.header.kv_policy),
    }


def _phase(run: Run, overlay: "Overlay", phase: Phase, tokens: int, cycles: int) -> dict[str, Any]:
    return {
        "tokens": tokens,
        "core_cycles": cycles,
        "seconds": cycles / (overlay.clock.core_mhz * 1e6),
        **_work(run.traffic[phase], int(run.macs[phase]), overlay, cycles),
        "ledger": _ledger(run.ledger[phase]),
        "parts": {part.label: _causes(run.parts[phase, part]) for part in Part},
        "outside_products": _outside_products(run.parts[phase]),
    }


def _outside_products(parts: Ints) -> float:
    """Share of ``parts`` [Part, Cause]; see above."""
    total = int(parts.sum())
    return ratio(total - int(parts[np.ix_(PRODUCTS, MULTIPLYING)].sum()), total)


def _work(traffic: Ints, macs: int, overlay: "Overlay", cycles: int) -> dict[str, Any]:
    """Arithmetic and bytes of ``cycles`` core cycles; ``traffic`` [Traffic]."""
    hz = overlay.clock.core_mhz * 1e6
    peak = overlay.peak_macs_per_cycle
    return {
        "pe_array": {
            "macs": macs,
            "macs_per_second": ratio(macs * hz, cycles),
            "peak_macs_per_second": peak * hz,
            "utilization": ratio(macs, peak * cycles),
        },
        "hbm": _memory(traffic, HBM, Traffic.WEIGHTS, overlay.hbm_bytes_per_cycle * hz, cycles / hz),
        "ddr": _memory(traffic, DDR, Traffic.CONSTANTS, overlay.ddr_bytes_per_cycle * hz, cycles / hz),
        "traffic": {kind.label: int(traffic[kind]) for kind in Traffic},
    }


def _memory(
    traffic: Ints, kinds: Sequence[Traffic], weights: Traffic, peak: float, seconds: float
) -> dict[str, Any]:
    read = sum(int(traffic[kind]) for kind in kinds if not kind.is_write)
    written = sum(int(traffic[kind]) for kind in kinds if kind.is_write)
    bandwidth = ratio(read + written, seconds)
    return {
        "bytes_read": read,
        "bytes_written": written,
        "peak_bandwidth": peak,
        "bandwidth": bandwidth,
        "utilization": ratio(bandwidth, peak),
        "weight_bandwidth": ratio(int(traffic[weights]), seconds),
    }


def _kv(run: Run, overlay: "Overlay") -> dict[str, Any]:
    kv, hz = run.kv, overlay.clock.core_mhz * 1e6
    streaming = kv.read_cycles / hz
    return {
        "bytes_stored": kv.bytes_stored,
        "bytes_dense": kv.bytes_dense,
        "saving": 1 - ratio(kv.bytes_stored, kv.bytes_dense) if kv.bytes_dense else 0.0,
        "hbm_bytes_read": kv.hbm_bytes_read,
        "buffer_bytes_read": kv.buffer_bytes_read,
        "read_cycles": kv.read_cycles,
        "rounds": kv.rounds,
        "effective_bandwidth": ratio(kv.hbm_bytes_read + kv.buffer_bytes_read, streaming),
        "hbm_utilization": ratio(kv.hbm_bytes_read, overlay.hbm_bytes_per_cycle * kv.read_cycles),
    }


def _ledger(cycles: Ints) -> dict[str, dict[str, int]]:
    """Name the entries of ``cycles`` [Block, Cause]."""
    return {block.label: _causes(cycles[block]) for block in Block}


def _causes(cycles: Ints) -> dict[str, int]:
    return {cause.label: int(cycles[cause]) for cause in Cause}
