"""Published figures beside simulated ones, as they come out."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from skipopu.results.record import Record
from skipopu.spec.leaf import Confidence

GIGA = 1e9  # published bandwidths stand in GB/s


@dataclass(frozen=True)
class Published:
    """A figure of the literature for one model shape; ``simulated`` says which of ours stands beside it."""

    quantity: str
    value: float
    unit: str
    source: str
    confidence: Confidence
    shape: str
    simulated: str
    caveat: str


@dataclass(frozen=True)
class Beside:
    """A published figure, ours in the same unit, and the run that ours comes from."""

    published: Published
    simulated: float
    run: str


def published() -> tuple[Published, ...]:
    """Return every figure of ``published.toml``."""
    table = tomllib.loads(Path(__file__).with_name("published.toml").read_text(encoding="utf-8"))
    return tuple(Published(**figure) for figure in table["figure"])


def beside(record: Record) -> list[Beside]:
    """Return the published figures for the shape of this run, each with the simulated one."""
    shape = record.summary["trace"]["shape"]
    return [_simulated(figure, record) for figure in published() if figure.shape == shape]


def _simulated(figure: Published, record: Record) -> Beside:
    if figure.simulated == "kv_bandwidth":
        dense = record.dense
        name = (
            "dense run"
            if dense is not None
            else f"this run, KV policy {record.summary['trace']['kv_policy']}"
        )
        source: Mapping[str, Any] = record.summary if dense is None else dense
        return Beside(figure, source["kv"]["effective_bandwidth"] / GIGA, name)
    trace = record.summary["trace"]
    run = f"this run, [{trace['prompt_tokens']}, {trace['decode_tokens']}]"
    return Beside(figure, record.summary["decode"]["tokens_per_second"], run)
