"""What every part of the compiler looks at: the trace's needs, resolved once."""

from dataclasses import dataclass

import numpy as np

from skipopu.numerics.kv_rounds import Demand, Passes, demand, limits_of, place
from skipopu.numerics.kv_schedule import Limits, Placement
from skipopu.program.blocking import RowTiles, check_decode, prefill_rows
from skipopu.program.constants import WIDE_ROUTERS, routed
from skipopu.program.memory_map import MemoryMap, map_memory
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import (
    AXI3_BURST_BEATS,
    DDR_BEAT_BYTES,
    DDR_CHANNELS,
    HBM_BEAT_BYTES,
    Overlay,
)
from skipopu.trace import StepPhase, Trace


@dataclass(frozen=True)
class Context:
    """Inputs of the compiler and what follows from them before the first instruction."""

    trace: Trace
    shape: ModelShape
    overlay: Overlay
    memory: MemoryMap
    tiles: RowTiles
    passes: Passes
    placement: Placement
    limits: Limits
    demand: Demand

    @property
    def router_hidden(self) -> int:
        """Hidden width of the routers, 0 for linear ones."""
        router = self.trace.header.router
        return router.hidden if router.kind in WIDE_ROUTERS else 0

    def routed(self, module: str, layer: int) -> bool:
        """Whether ``module`` ("attention" or "ffn") of ``layer`` has a router."""
        return routed(self.trace.header.router, module, layer)


def resolve(trace: Trace, overlay: Overlay, board: Board) -> Context:
    """Check that trace, overlay and board fit together, lay out memory, and schedule the K/V rounds.

    Raises SpecError for what this compiler cannot carry and for what does not fit.
    """
    shape = trace.header.shape
    _check_supported(trace, shape, overlay, board)
    router = trace.header.router
    hidden = router.hidden if router.kind in WIDE_ROUTERS else 0
    memory = map_memory(shape, overlay, board, trace.tokens, router)
    tiles = RowTiles.of(shape, overlay, hidden)
    check_decode(shape, overlay)
    ports = 1 if overlay.kv_buffer.map == "interleaved" else overlay.dma.hbm_ports
    placement = place(trace.kv_source_layers(), ports)
    limits = limits_of(overlay, 2 * memory.vector_bytes)
    longest = int(trace.steps.token_count.max())
    rows, count = longest, 0
    while True:  # a smaller row block never needs more rounds, so this ends
        passes = _passes(trace, rows)
        found = demand(limits, placement, passes, trace.rows("q"))
        prefill = found.rounds[~passes.decode]
        count = int(prefill.max()) if prefill.size else 1
        fit = prefill_rows(shape, overlay, tiles, count, memory.strides.rotary)
        if fit >= rows or longest == 1:
            return Context(trace, shape, overlay, memory, tiles, passes, placement, limits, found)
        rows = fit


def _passes(trace: Trace, row_block: int) -> Passes:
    step, first, rows, decode = [], [], [], []
    for s in range(len(trace.steps)):
        start, count = int(trace.steps.first_token[s]), int(trace.steps.token_count[s])
        for offset in range(0, count, row_block):
            step.append(s)
            first.append(start + offset)
            rows.append(min(row_block, count - offset))
            decode.append(count == 1 and trace.steps.phase[s] == StepPhase.DECODE)
    ints = [np.array(a, np.int64) for a in (step, first, rows)]
    return Passes(ints[0], ints[1], ints[2], np.array(decode, np.bool_))


def _check_supported(trace: Trace, shape: ModelShape, overlay: Overlay, board: Board) -> None:
    allowed = {int(StepPhase.PREFILL), int(StepPhase.DECODE)}
    for s, phase in enumerate(trace.steps.phase):
        if int(phase) not in allowed:
            raise SpecError(
                f"trace step {s}: phase {StepPhase(phase).name.lower()};"
                " the compiler takes prefill and decode"
            )
        if phase == StepPhase.DECODE and trace.steps.token_count[s] != 1:
            raise SpecError(
                f"trace step {s}: decode of {trace.steps.token_count[s]} tokens; expected 1, the batch size"
            )
    if len(set(trace.steps.cache.tolist())) > 1:
        raise SpecError("trace: several K/V caches; the compiler takes one")
    if trace.header.caches[0].prefix_hit:
        raise SpecError("trace: a K/V prefix is there already; the compiler takes caches that start empty")
    if trace.steps.arrival_seconds.any():
        raise SpecError("trace: arrival times; the compiler takes steps whose input is there")
    if trace.header.layer_shapes:
        raise SpecError("trace: layers with shapes of their own; the compiler takes one shape for all layers")
    if trace.header.router.shared:
        raise SpecError("trace: one router for both modules of a layer; the compiler takes a router a module")
    if trace.events:
        raise SpecError(
            f"trace: event {trace.events[0].kind.name.lower()}; the compiler takes traces without events"
        )
    known = {"rows_q", "rows_kv", "rows_ffn", "token_ids", "positions", "token_class"}
    extra = sorted(set(trace.arrays) - known)
    if extra:
        raise SpecError(
            f"trace: array {extra[0]!r} changes what is executed; the compiler takes row masks only"
        )
    if shape.dimensions.kv_heads % 2:
        raise SpecError(
            f"shape {shape.name}: kv_heads = {shape.dimensions.kv_heads}; two heads are packed: must be even"
        )
    _check_units(trace, shape, overlay)
    _check_interfaces(overlay, board)
    _check_board(trace, shape, overlay, board)


def _check_units(trace: Trace, shape: ModelShape, overlay: Overlay) -> None:
    """The NPE has the units that the model's layers need, and the model has the positions."""
    d = shape.dimensions
    for key, there, needed, what in (
        ("npe.layer_norm", overlay.npe.layer_norm, d.norm == "layer", "norm = layer"),
        ("npe.gelu", overlay.npe.gelu, d.activation == "gelu", "activation = gelu"),
    ):
        if needed and not there:
            raise SpecError(f"overlay {overlay.name}: {key} = false; shape {shape.name} has {what}; --set {key}=true")
    if d.learned_positions and trace.tokens > d.learned_positions:
        raise SpecError(
            f"trace: {trace.tokens} tokens; shape {shape.name} has learned_positions = {d.learned_positions};"
            " shorten the sequence"
        )


def _check_board(trace: Trace, shape: ModelShape, overlay: Overlay, board: Board) -> None:
    if overlay.dma.hbm_ports > board.hbm.channels:
        raise SpecError(
            f"overlay {overlay.name}: dma.hbm_ports = {overlay.dma.hbm_ports}; board {board.name} has"
            f" {board.hbm.channels}; nearest: {board.hbm.channels}"
        )
    d = overlay.dma
    for key, bursts, what, most in (
        ("dma.read_bursts + dma.write_bursts", d.read_bursts + d.write_bursts, "port", board.hbm.queue_depth),
        ("dma.ddr_read_bursts + dma.ddr_write_bursts", d.ddr_read_bursts + d.ddr_write_bursts, "channel",
         board.ddr.queue_depth),
    ):  # fmt: skip
        if bursts > most:
            memory = "hbm" if what == "port" else "ddr"
            raise SpecError(
                f"overlay {overlay.name}: {key} = {bursts}; a {what} of board {board.name} takes"
                f" {most} ({memory}.queue_depth); lower either"
            )
    for key, size, have in (
        ("bitmask.tokens", trace.tokens, overlay.bitmask.tokens),
        ("bitmask.rows", shape.dimensions.layers, overlay.bitmask.rows),
    ):
        if size > have:
            raise SpecError(f"overlay {overlay.name}: {key} = {have}; the trace needs {size}; nearest: {size}")


def _check_interfaces(overlay: Overlay, board: Board) -> None:
    """The overlay's AXI ports are built for one width, burst and clock; the board must have the same."""
    wanted = {
        "hbm.beat_bytes": (board.hbm.beat_bytes, HBM_BEAT_BYTES),
        "hbm.max_burst_beats": (board.hbm.max_burst_beats, AXI3_BURST_BEATS),
        "hbm.axi_mhz": (board.hbm.axi_mhz, overlay.clock.core_mhz * overlay.clock.hbm_ratio),
        "ddr.beat_bytes": (board.ddr.beat_bytes, DDR_BEAT_BYTES),
        "ddr.max_burst_beats": (board.ddr.max_burst_beats, AXI3_BURST_BEATS),
        "ddr.channels": (board.ddr.channels, DDR_CHANNELS),
    }
    for key, (value, port) in wanted.items():
        if value != port:
            raise SpecError(
                f"board {board.name}: {key} = {value:g}; overlay {overlay.name} is built for {port:g}"
                " (clock.core_mhz, clock.hbm_ratio and the AXI widths); set both alike"
            )
