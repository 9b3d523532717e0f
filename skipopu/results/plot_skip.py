"""The skip map: which token executed which module of which layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.results.figure import ACCENT, PALE, SECOND, SKIPPED, picture
from skipopu.results.record import Record

COLUMNS = 640  # a page has room for no more; longer sequences show the share of each group of tokens
MODULES = (("q", "attention"), ("ffn", "feed-forward"))


def skip_map(record: Record) -> str:
    """Layer × token pictures of attention and FFN with the skip rate of each layer at their right."""
    with picture(5.4, 2, 2, width_ratios=[6, 1], sharey="row") as drawn:
        for (left, right), (rows, module) in zip(drawn.axes, MODULES, strict=True):
            _map(left, record.rows[rows], record.first_decode_token)
            _rates(right, record.rows[rows])
            left.set_title(f"{module}: {100 * (1 - record.rows[rows].mean()):.1f} % skipped")
        drawn.axes[1][0].set_xlabel("token position")
        drawn.axes[1][1].set_xlabel("skipped (%)")
    return drawn.source


def shares(rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Share of executing tokens in each group of neighbours: bool [layers, tokens] → [layers, ≤ COLUMNS]."""
    tokens = rows.shape[1]
    together = max(1, -(-tokens // COLUMNS))
    starts = np.arange(0, tokens, together)
    return np.add.reduceat(rows, starts, axis=1, dtype=np.float64) / np.diff(np.append(starts, tokens))


def _map(axis: Any, rows: NDArray[np.bool_], first_decode_token: int) -> None:
    from matplotlib.colors import LinearSegmentedColormap

    layers, tokens = rows.shape
    colours = LinearSegmentedColormap.from_list("executed", ["#f6f1e7", ACCENT])
    extent = (-0.5, tokens - 0.5, layers - 0.5, -0.5)
    # "none" keeps the picture's own pixels, one a group of tokens, and lets the page scale them
    axis.imshow(
        shares(rows), aspect="auto", interpolation="none", cmap=colours, vmin=0, vmax=1, extent=extent
    )
    axis.set_ylabel("layer")
    for lines in (axis.xaxis, axis.yaxis):
        lines.get_major_locator().set_params(integer=True)
    if 0 < first_decode_token < tokens:
        for colour, width in (("white", 3.0), (SECOND, 1.6)):
            axis.axvline(first_decode_token - 0.5, color=colour, lw=width)
        axis.set_title(
            f"line: decode from token {first_decode_token}", loc="right", weight="normal", color=PALE
        )


def _rates(axis: Any, rows: NDArray[np.bool_]) -> None:
    layers = rows.shape[0]
    axis.barh(np.arange(layers), 100 * (1 - rows.mean(axis=1)), height=0.86, color=SKIPPED)
    axis.set_xlim(0, 100)
    axis.grid(axis="x")
