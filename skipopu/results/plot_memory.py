"""Memory: the roofline, and HBM bandwidth over time."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.results.audit import HBM
from skipopu.results.figure import GRID, INK, PALE, PHASE_COLOURS, TRAFFIC_COLOURS, picture, words
from skipopu.results.quantity import number, quantity, scale
from skipopu.results.record import Record
from skipopu.results.summary import ratio
from skipopu.spec.ledger import Phase

BINS = 500  # points of a bandwidth curve: more than the page has room for adds bytes, not detail
CLOSE_UP = 24  # windows a decode step must span before it is worth a panel of its own

Span = tuple[str, int, int]  # title, first and last core cycle


def roofline(record: Record) -> str:
    """Achieved MAC/s over MAC per HBM byte, under the roofs of HBM and PE array; rings: the dense run."""
    peak = record.summary["pe_array"]["peak_macs_per_second"]
    bandwidth = record.summary["hbm"]["peak_bandwidth"]
    with picture(3.6) as drawn:
        axis = drawn.axes[0][0]
        reach = [peak / bandwidth, *_points(axis, record.summary, "this run", ring=False)]
        if record.dense is not None:
            reach += _points(axis, record.dense, "dense", ring=True)
        _roofs(axis, peak, bandwidth, min(reach) / 3, max(reach) * 6)
        axis.legend(loc="lower right")
    return drawn.source


def bandwidth_over_time(record: Record) -> str:
    """HBM bytes a second in each window of time, stacked by kind: prefill, decode, the last step close up."""
    spans = [span for span in _spans(record) if span[2] > span[1]]
    with picture(2.3 * len(spans), len(spans), 1, sharey=True) as drawn:
        for axis, span in zip(drawn.axes[:, 0], spans, strict=True):
            _curve(axis, record, span)
        handles, labels = drawn.axes[0][0].get_legend_handles_labels()
        drawn.figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
    return drawn.source


def binned(record: Record, begin: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average the bandwidth windows that core cycles ``begin`` to ``end`` touch.

    Returns the edges [bins + 1] in core cycles and the rates [bins, HBM kinds] in bytes a second;
    neighbouring windows are summed where there are more than `BINS`.
    """
    run = record.run
    first, last = begin // run.window_cycles, -(-end // run.window_cycles)
    together = max(1, -(-(last - first) // BINS))
    starts = np.arange(first, last, together)
    edges = np.append(starts * run.window_cycles, min(last * run.window_cycles, run.core_cycles)).astype(
        np.float64
    )
    sums = np.add.reduceat(run.windows[first:last][:, HBM], starts - first, axis=0)
    return edges, sums / np.diff(edges)[:, None] * record.summary["clock_mhz"] * 1e6


def _points(axis: Any, summary: Mapping[str, Any], name: str, *, ring: bool) -> list[float]:
    """Plot the phases of one run and return their arithmetic intensities."""
    intensities = []
    for phase in Phase:
        part = summary[phase.label]
        intensity = ratio(part["pe_array"]["macs"], part["hbm"]["bytes_read"] + part["hbm"]["bytes_written"])
        if intensity:
            colour = PHASE_COLOURS[phase]
            style = {"ms": 12, "mfc": "none", "mew": 1.4} if ring else {"ms": 7, "mfc": colour}
            label = f"{phase.label}, {name}"
            rate = part["pe_array"]["macs_per_second"]
            axis.plot(intensity, rate, marker="o", ls="", mec=colour, label=label, zorder=4, **style)
            intensities.append(intensity)
    return intensities


def _roofs(axis: Any, peak: float, bandwidth: float, low: float, high: float) -> None:
    ridge = peak / bandwidth
    axis.plot([low, ridge, high], [low * bandwidth, peak, peak], color=INK, lw=1.4)
    axis.axvline(ridge, color=GRID, lw=1, zorder=1)
    axis.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low * bandwidth * 0.6, peak * 2.5))
    middle = (low * ridge) ** 0.5
    near = {"textcoords": "offset points", "va": "bottom"}
    axis.annotate(f"PE array {quantity(peak, 'MAC/s')}", (high, peak), (-4, 4), ha="right", **near)
    axis.annotate(
        f"HBM {quantity(bandwidth, 'B/s')}", (middle, middle * bandwidth), (-8, 4), ha="right", **near
    )
    axis.annotate(
        f"ridge: {ridge:.3g} MAC/B", (ridge, low * bandwidth * 0.6), (4, 4), ha="left", color=PALE, **near
    )
    axis.set(xlabel="arithmetic intensity (MAC per byte of HBM traffic)", ylabel="achieved MAC/s")
    axis.yaxis.set_minor_formatter("")
    axis.grid(which="major")


def _spans(record: Record) -> Iterator[Span]:
    run = record.run
    yield "prefill", 0, run.prefill_cycles
    yield "decode", run.prefill_cycles, run.core_cycles
    steps = len(run.step_end)
    if steps > record.first_decode_step + 1:
        begin, end = int(run.step_end[-2]), run.core_cycles
        if end - begin >= CLOSE_UP * run.window_cycles:
            yield (
                f"last decode step, {quantity((end - begin) / (record.summary['clock_mhz'] * 1e6), 's')}",
                begin,
                end,
            )


def _curve(axis: Any, record: Record, span: Span) -> None:
    title, begin, end = span
    hz = record.summary["clock_mhz"] * 1e6
    edges, rates = binned(record, begin, end)
    peak = record.summary["hbm"]["peak_bandwidth"]
    factor, unit = scale([peak], "B/s")
    second, time = scale([end / hz], "s")
    steps = np.repeat(edges, 2)[1:-1] / hz / second
    heights = np.repeat(rates / factor, 2, axis=0).T
    colours, labels = [TRAFFIC_COLOURS[kind] for kind in HBM], [words(kind.label) for kind in HBM]
    axis.stackplot(steps, heights, colors=colours, labels=labels, linewidth=0)
    axis.axhline(peak / factor, color=INK, lw=0.9, ls=(0, (5, 3)))
    place = {"xycoords": ("axes fraction", "data"), "ha": "right", "va": "bottom"}
    axis.annotate(f"peak {number(peak / factor)} ", (1, peak / factor), **place)
    axis.set(xlim=(begin / hz / second, end / hz / second), ylim=(0, peak / factor * 1.18))
    axis.set(ylabel=f"HBM ({unit})", xlabel=f"simulated time ({time})", title=title)
    axis.grid(axis="y")
