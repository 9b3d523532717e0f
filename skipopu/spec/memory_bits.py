"""Bits of the memories of memory system and NPE, from the overlay's parameters; what the Verilog must hold."""

from dataclasses import dataclass

from skipopu.spec.overlay import AXI3_BURST_BEATS, FP16_BYTES, FP32_BYTES, Overlay

BITS = 8
HALVES = 2  # of the bitmask: even and odd rows; banks, gates, mask registers of the NPE


@dataclass(frozen=True)
class Memories:
    """Bits a kind of memory takes in the whole block."""

    invariance_buffer: int
    chunk_fifos: int  # weights and K/V, of all ports
    write_data: int  # of all ports; a chunk and whether it is its burst's last
    bitmask: int


def memories(overlay: Overlay) -> Memories:
    """Return them for ``overlay``; FIFOs between the clocks are powers of two deep."""
    dma, chunk = overlay.dma, BITS * overlay.chunk_bytes
    banks, ratio = overlay.buffer_ports, overlay.clock.hbm_ratio
    bank_chunks = overlay.kv_buffer.capacity_bytes // banks // overlay.chunk_bytes if banks else 0
    fifos = _power_of_two(dma.weight_chunks) + _power_of_two(dma.kv_chunks)
    rows, tokens = overlay.bitmask.rows, overlay.bitmask.tokens
    return Memories(
        invariance_buffer=banks * bank_chunks * chunk,
        chunk_fifos=dma.hbm_ports * fifos * chunk,
        write_data=dma.hbm_ports * dma.write_bursts * (AXI3_BURST_BEATS // ratio) * (chunk + 1),
        bitmask=HALVES * -(-rows // HALVES) * _power_of_two(tokens),
    )


@dataclass(frozen=True)
class NpeMemories:
    """Bits a kind of memory takes in the NPE."""

    rotary_buffer: int
    row_statistics: int  # maxima and sums of scores in two banks, sums of rows, inverses
    row_lists: int  # of two gates and two mask registers: row numbers and bits


def npe_memories(overlay: Overlay) -> NpeMemories:
    """Return them for ``overlay``; maxima are FP16, sums FP32."""
    npe, rows = overlay.npe, _power_of_two(overlay.dataflow.row_block)
    fp16, fp32 = BITS * FP16_BYTES, BITS * FP32_BYTES
    of_rows = 2 * fp32 * (2 if npe.layer_norm else 1)  # Σx² and inverse; Σx and mean
    return NpeMemories(
        rotary_buffer=BITS * npe.rotary_bytes,
        row_statistics=npe.statistics_rows * (HALVES * (fp16 + fp32) + of_rows),
        row_lists=HALVES * HALVES * rows * (rows.bit_length() - 1 + 1),
    )


def _power_of_two(words: int) -> int:
    return 1 << max(words - 1, 1).bit_length()
