"""Nothing is faster than its bytes at the peak of the memory or its products at the peak of the array."""

import numpy as np
import pytest
from hand_made import carrier, hand_made, matmul
from hand_made import simulate as simulate_by_hand
from hypothesis import given, settings
from small_machine import BOARD, failed, overlays, run, shape, skipping, traces

from skipopu.spec.ledger import Phase, Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace, dense_like

HBM = [kind for kind in Traffic if kind.is_hbm]
SHUHAI = 13.27e9  # bytes a second of one channel read in order, measured on this board (FCCM 2020)


def projection_macs(trace: Trace) -> int:
    """Multiply-accumulates of projections, FFN and LM head: the least that the array has to do."""
    s, d = trace.header.shape, trace.header.shape.dimensions
    rows = {kind: int(trace.rows(kind).sum()) for kind in ("q", "kv", "ffn")}
    attention = 2 * d.hidden_size * (rows["q"] * s.query_size + rows["kv"] * s.kv_size)
    return attention + 3 * rows["ffn"] * d.hidden_size * d.intermediate_size + d.hidden_size * d.vocabulary


@settings(max_examples=60)
@given(trace=traces(), overlay=overlays())
def test_time_is_at_least_bytes_and_products_at_peak(trace: Trace, overlay: Overlay) -> None:
    found = run(trace, overlay)
    assert found.core_cycles * overlay.peak_macs_per_cycle >= projection_macs(trace)
    ports, core_hz = overlay.dma.hbm_ports, overlay.clock.core_mhz * 1e6
    bytes_a_cycle = ports * overlay.clock.hbm_ratio * BOARD.hbm.beat_bytes
    assert found.core_cycles * bytes_a_cycle >= found.traffic[:, HBM].sum()
    windows = found.windows[:-1]
    assert (windows[:, HBM].sum(axis=1) <= found.window_cycles * bytes_a_cycle).all()
    ddr = [kind for kind in Traffic if not kind.is_hbm]
    seconds = found.core_cycles / core_hz
    assert found.traffic[:, ddr].sum() <= seconds * BOARD.ddr.peak_bandwidth


def test_decode_bound_by_weights_comes_near_the_peak_and_not_beyond() -> None:
    """Share of the peak of 32 ports that a decoded token's weights reach; larger matrices, larger share."""
    overlay = Overlay.load("skipopu-u280")
    shares = []
    for hidden in (512, 1024, 2048):
        model = shape(
            layers=1, hidden_size=hidden, intermediate_size=4 * hidden, attention_heads=16, kv_heads=16,
            head_dim=hidden // 16, vocabulary=1024,
        )  # fmt: skip
        trace = dense_like(skipping(model, 1, 2, 0.0))
        found = run(trace, overlay)
        assert failed(found, trace, overlay) == []
        cycles = found.core_cycles - found.prefill_cycles
        shares.append(found.traffic[Phase.DECODE, Traffic.WEIGHTS] / (cycles * overlay.hbm_bytes_per_cycle))
    assert shares == sorted(shares)
    assert 0.8 < shares[-1] <= SHUHAI / (BOARD.hbm.peak_bandwidth / BOARD.hbm.channels)


@pytest.mark.parametrize("name", ["skipopu-u280", "tiny"])
def test_one_port_streams_at_the_sequential_bandwidth_of_a_channel(name: str) -> None:
    overlay = Overlay.load(name, ("dma.hbm_ports=1", "dma.weight_chunks=128"))
    tiles = 2_400_000 // (overlay.pe_array.dot_length * overlay.pe_array.columns // 2)
    product = matmul(overlay, 1, 50, tiles // 50 * overlay.pe_array.columns)
    program = hand_made(product, overlay, carrier(head_dim=32))
    found = simulate_by_hand(program, overlay)
    seconds = found.core_cycles / (overlay.clock.core_mhz * 1e6)
    moved = int(found.traffic[:, Traffic.WEIGHTS].sum())
    assert np.isclose(moved / seconds, SHUHAI, rtol=0.02)
