"""The accuracy table of the PE array: every variant of its arithmetic against exact sums."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from skipopu.cli.terminal import columns, say

if TYPE_CHECKING:
    from skipopu.numerics.accuracy import Accuracy
    from skipopu.numerics.arithmetic import Arithmetic

ROWS = COLUMNS = 64  # 4096 dot products a line
CHECKPOINT = "skipgpt-bytes"
PROJECTIONS = {"q_proj": "attention input × W_q", "down_proj": "SwiGLU output × W_down"}
HEADING = ("bits", "alignment", "output", "psum", "weights", "mean rel.", "max rel.", "max/Σ|p|", "bias/Σ|p|")


def accuracy_tables(length: int, seed: int) -> dict[str, "list[Accuracy]"]:
    """Return name of the data → a row for every variant and kind of weights."""
    from skipopu.numerics.accuracy import measure, normal_operands

    normal = [normal_operands(ROWS, COLUMNS, length, seed, int4=int4) for int4 in (False, True)]
    tables = {"standard normal numbers": [row for operands in normal for row in measure(*operands)]}
    return tables | dict(_trained(length))


def _trained(length: int) -> Iterator[tuple[str, "list[Accuracy]"]]:
    """Dot products of the shipped model's middle layer: the first K-tile of its first columns, on real text."""
    if find_spec("torch") is None:
        return
    import numpy as np

    from skipopu.models.checkpoint import open_checkpoint
    from skipopu.models.operands import projection_operands
    from skipopu.numerics.accuracy import measure, quantised

    checkpoint = open_checkpoint(CHECKPOINT)
    found = projection_operands(checkpoint, tuple(PROJECTIONS), ROWS)
    middle = f".{len(found) // len(PROJECTIONS) // 2}."
    for each in (o for o in found if middle in o.layer):
        activations = each.activations[:, :length].astype(np.float16).view(np.uint16)
        weights = each.weights[:COLUMNS, :length].astype(np.float64)
        kinds: tuple[Any, ...] = (weights.astype(np.float16).view(np.uint16), quantised(weights))
        rows = [row for kind in kinds for row in measure(np.ascontiguousarray(activations), kind)]
        yield f"{CHECKPOINT}: {PROJECTIONS[each.layer.rsplit('.', 1)[-1]]} ({each.layer})", rows


def show_accuracy(tables: dict[str, "list[Accuracy]"], built: "Arithmetic") -> None:
    """Print the tables; a star marks the variant that the overlay builds."""
    for name, rows in tables.items():
        say(f"\naccuracy of one {rows[0].length}-long dot product, {rows[0].dots} of them, {name}")
        say(columns([HEADING, *(_line(row, built) for row in rows)]))
    if len(tables) == 1:
        say("data of the trained model: pip install 'skipopu[models]'")


def _line(row: "Accuracy", built: "Arithmetic") -> tuple[str, ...]:
    a = row.arithmetic
    star = "*" if a._replace(interleave=built.interleave) == built else ""
    figures = (row.mean_relative, row.max_relative, row.max_scaled)
    return (
        f"{a.product_bits}{star}", "nearest" if a.nearest_alignment else "truncate",
        "nearest even" if a.nearest_output else "toward zero", "fp16" if a.fp16_psum else "fp32", row.weights,
        *(f"{v:.2e}" for v in figures), f"{row.bias:+.1e}",
    )  # fmt: skip


def as_json(tables: dict[str, "list[Accuracy]"]) -> dict[str, Any]:
    """Return the tables as plain values."""
    return {
        name: [asdict(row) | {"arithmetic": row.arithmetic._asdict()} for row in rows] for name, rows in tables.items()
    }
