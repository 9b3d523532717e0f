"""What the K/V cache holds and what decode reads of it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.results.figure import ACCENT, BUFFER, GRID, PALE, SECOND, picture
from skipopu.results.quantity import number, scale
from skipopu.results.record import Record


def kv_storage(record: Record) -> str:
    """Entries kept in each layer, what the cache holds, and what decode reads, dense beside this run."""
    with picture(2.9, 1, 3, width_ratios=[2.2, 0.8, 1]) as drawn:
        layers, held, read = drawn.axes[0]
        _entries(layers, record.rows["kv"])
        _held(held, record)
        _reads(read, record)
    return drawn.source


def _entries(axis: Any, rows: NDArray[np.bool_]) -> None:
    layers, tokens = rows.shape
    axis.bar(np.arange(layers), np.full(layers, tokens), color=GRID, width=0.86, label="dense")
    axis.bar(np.arange(layers), rows.sum(axis=1), color=ACCENT, width=0.86, label="stored")
    axis.set(xlabel="layer", ylabel="tokens with K/V of their own", xlim=(-0.6, layers - 0.4))
    axis.set(ylim=(0, tokens * 1.18), title="entries of each layer")
    for lines in (axis.xaxis, axis.yaxis):
        lines.get_major_locator().set_params(integer=True)
    axis.legend(ncols=2, loc="upper right")


def _held(axis: Any, record: Record) -> None:
    kv = record.summary["kv"]
    sizes = np.array([kv["bytes_dense"], kv["bytes_stored"]], dtype=np.float64)
    factor, unit = scale(list(sizes), "B")
    axis.bar(["dense", "stored"], sizes / factor, color=[PALE, ACCENT], width=0.62)
    _print_tops(axis, sizes / factor)
    axis.set(ylabel=f"KV cache at the end ({unit})", title="held in HBM")


def _reads(axis: Any, record: Record) -> None:
    """Bytes read in decode from HBM and from the invariance buffer."""
    runs = [("this run", record.summary["kv"])]
    if record.dense is not None:
        runs.insert(0, ("dense", record.dense["kv"]))
    names = [name for name, _ in runs]
    hbm = np.array([kv["hbm_bytes_read"] for _, kv in runs], dtype=np.float64)
    buffer = np.array([kv["buffer_bytes_read"] for _, kv in runs], dtype=np.float64)
    factor, unit = scale(list(hbm + buffer), "B")
    axis.bar(names, hbm / factor, color=SECOND, width=0.62, label="HBM")
    axis.bar(names, buffer / factor, bottom=hbm / factor, color=BUFFER, width=0.62, label="invariance buffer")
    _print_tops(axis, (hbm + buffer) / factor)
    axis.set(ylabel=f"K/V read in decode ({unit})", title="read in decode", xlim=(-0.6, len(runs) - 0.4))
    axis.legend(loc="upper right")


def _print_tops(axis: Any, heights: NDArray[np.float64]) -> None:
    for position, height in enumerate(heights.tolist()):
        axis.text(position, height, number(height), ha="center", va="bottom")
    axis.set_ylim(0, max(float(heights.max()) * 1.35, 1e-9))
