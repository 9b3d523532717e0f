"""The plot of a training log: loss by step, what each layer executes, and held-out losses side by side."""

import io
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

Lines = Sequence[Mapping[str, Any]]
BLUE, ORANGE, GREEN, GREY = "#2f6db3", "#d9822b", "#3a8f5c", "#8a8f98"
STAGES = {
    "pretraining": ("pre-training", BLUE),
    "router tuning": ("router tuning", ORANGE),
    "lora": ("LoRA", GREEN),
}
STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#555b66",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": "#e4e7eb",
    "axes.axisbelow": True,
}


def training_plot(lines: Lines) -> bytes:
    """Return a PNG of a training log (see :mod:`skipopu.models.recipe`); same lines, same bytes."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(12, 3.7), layout="constrained")
        FigureCanvasAgg(figure)
        curve, layers, bars = figure.subplots(1, 3, width_ratios=(2.1, 1.3, 1.3))
        _loss(curve, lines)
        _execution(layers, _final(lines, "learned"))
        _held_out(bars, lines)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=150, metadata={"Software": "skipopu"})
    return buffer.getvalue()


def _loss(axes: Axes, lines: Lines) -> None:
    start, edges = 0, [0]
    for stage, (label, color) in STAGES.items():
        points = [line for line in lines if line["stage"] == stage]
        axes.plot(
            [start + p["step"] for p in points], [p["loss"] for p in points], color=color, lw=1.4, label=label
        )
        start += max((p["step"] for p in points), default=0)
        edges.append(start)
    for _, edge in pairwise(edges[:-1]):
        axes.axvline(edge, color="#c5cad3", lw=0.8, ls=(0, (4, 3)))
    axes.set(title="Training loss", xlabel="step", ylabel="nats per byte", xlim=(0, start))
    axes.grid(visible=True, axis="y")
    axes.legend(frameon=False)


def _execution(axes: Axes, final: Mapping[str, Any]) -> None:
    attention, ffn = final["attention_execution"], final["ffn_execution"]
    places = range(len(attention))
    axes.bar([p - 0.2 for p in places], attention, 0.38, color=BLUE, label="attention")
    axes.bar([p + 0.2 for p in places], ffn, 0.38, color=ORANGE, label="feed-forward")
    axes.set(
        title="Executed tokens by layer", xlabel="layer", ylabel="share", ylim=(0, 1.22), xticks=list(places)
    )
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.grid(visible=True, axis="y")
    axes.legend(frameon=False, ncols=2, loc="upper center", columnspacing=1.0, handlelength=1.2)


def _held_out(axes: Axes, lines: Lines) -> None:
    dense = next(line for line in lines if line.get("after") == "pretraining")
    learned, random = _final(lines, "learned"), _final(lines, "random")
    skip = f"{learned['skip_rate']:.0%} skip"
    values = [dense["loss"], learned["loss"], random["loss"]]
    drawn = axes.bar(
        ["dense", f"learned\n{skip}", f"random\n{skip}"], values, 0.62, color=[BLUE, GREEN, GREY]
    )
    axes.bar_label(drawn, [f"{v:.2f}" for v in values], padding=2)
    axes.set(title="Held-out loss", ylabel="nats per byte", ylim=(0, 1.15 * max(values)))
    axes.grid(visible=True, axis="y")


def _final(lines: Lines, routing: str) -> Mapping[str, Any]:
    return next(
        line for line in reversed(lines) if line["stage"] == "held-out" and line["routing"] == routing
    )
