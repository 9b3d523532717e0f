"""Overlay, board and trace: ports that fit one another, and room for the sequence."""

from skipopu.program.row_blocks import prefix
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
from skipopu.trace import EventKind, Trace


def check_board(trace: Trace, shape: ModelShape, overlay: Overlay, board: Board) -> None:
    """Raise SpecError where the overlay does not go with the board, or is too small for the trace."""
    _check_interfaces(overlay, board)
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
    scores = sum(event.kind is EventKind.SCORE_OP for event in trace.events)
    for key, size, have in (
        ("bitmask.tokens", prefix(trace) + trace.tokens, overlay.bitmask.tokens),
        ("bitmask.rows", shape.dimensions.layers + scores, overlay.bitmask.rows),
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
