"""How every picture of the report looks, and how it becomes part of the page."""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skipopu.spec.ledger import Cause, Phase, Traffic

SVG_ADDRESS = "data:image/svg+xml;base64,"
WIDTH = 10.4  # inches; the page is as wide
INK, PALE, GRID = "#22303c", "#6b7885", "#dfe4e8"
ACCENT, SECOND = "#1f6f8b", "#c0562f"

# waits for a kind of data and the traffic of that data share a colour
CAUSE_COLOURS = {
    Cause.BUSY: ACCENT,
    Cause.WEIGHTS: "#e09f3e",
    Cause.ROWS: "#7a9e7e",
    Cause.KV: "#c0562f",
    Cause.DDR: "#7d6b91",
    Cause.HBM: "#8c2f39",
    Cause.BACKPRESSURE: "#b5838d",
    Cause.SEMAPHORE: "#9fb8c8",
    Cause.DRAINING: "#bcb8b1",
    Cause.IDLE: "#e9ecef",
}
TRAFFIC_COLOURS = {
    Traffic.WEIGHTS: "#e09f3e",
    Traffic.KV_READ: "#c0562f",
    Traffic.KV_WRITE: "#5e1a1a",
}
PHASE_COLOURS = {Phase.PREFILL: ACCENT, Phase.DECODE: SECOND}
OPERATION_COLOURS = (ACCENT, "#e09f3e", SECOND, "#7a9e7e", "#7d6b91", "#8c2f39", "#4ba3c3", "#b5838d")
BUFFER = "#f2cc8f"  # what comes from the invariance buffer
SKIPPED = "#d9b382"

SPELLED = {"kv": "KV", "ddr": "DDR4", "hbm": "HBM", "pe": "PE", "npe": "NPE", "dma": "DMA"}

STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": PALE,
    "ytick.color": PALE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.fonttype": "path",
    "svg.hashsalt": "skipopu",
    "figure.dpi": 150,
}


class Picture:
    """A figure being drawn; ``source`` is the address of the finished SVG, all of it in the address."""

    def __init__(self, height: float, rows: int, columns: int, **layout: Any) -> None:
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes = self.figure.subplots(rows, columns, squeeze=False, **layout)
        self.source = ""

    def save(self) -> None:
        """Turn the figure into an SVG that is the same whenever it is drawn."""
        buffer = io.BytesIO()
        unsaid = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        self.figure.savefig(buffer, format="svg", metadata=unsaid)
        self.source = SVG_ADDRESS + base64.b64encode(buffer.getvalue()).decode()


@contextmanager
def picture(height: float, rows: int = 1, columns: int = 1, **layout: Any) -> Iterator[Picture]:
    """Yield a picture of ``rows`` × ``columns`` axes, ``height`` inches high, in the style of the report."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        drawn = Picture(height, rows, columns, **layout)
        yield drawn
        drawn.save()


def svg_text(source: str) -> str:
    """Return the SVG file inside a picture's ``source``."""
    return base64.b64decode(source.removeprefix(SVG_ADDRESS)).decode()


def words(name: str) -> str:
    """Print the name of a member or policy: ``kv_read`` as ``KV read``."""
    return " ".join(SPELLED.get(word, word) for word in name.split("_"))
