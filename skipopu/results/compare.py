"""Headline figures of several runs side by side, with ratios against the first."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from skipopu.results.aligned import aligned
from skipopu.results.equivalent_sparsity import equivalents
from skipopu.results.quantity import number, scale, times
from skipopu.results.streaming import SECTION

if TYPE_CHECKING:
    from rich.table import Table

Summary = Mapping[str, Any]
SAME = 0.005  # a ratio this near to one is no gain and no loss


@dataclass(frozen=True)
class Row:
    """One figure of every run, in base units; ``better``: 1 where more is better, −1 where less is, or 0."""

    label: str
    unit: str
    better: int
    values: tuple[float, ...]

    @property
    def ratios(self) -> tuple[float | None, ...]:
        """Each value over the first one's; None over nothing."""
        return tuple(value / self.values[0] if self.values[0] else None for value in self.values)

    @property
    def gains(self) -> tuple[int, ...]:
        """Against the first value: 1 better, −1 worse, 0 the same or neither."""
        return tuple(_gain(ratio, self.better) for ratio in self.ratios)

    @property
    def shown_unit(self) -> str:
        """The unit with the prefix that all values of the row are printed in."""
        return scale(self.values, self.unit)[1]

    @property
    def shown(self) -> tuple[str, ...]:
        """Each value as it is printed, without its unit."""
        factor, _ = scale(self.values, self.unit)
        return tuple(number(value if factor == 1 else value / factor) for value in self.values)


def _moved(summary: Summary, memory: str) -> int:
    return int(summary[memory]["bytes_read"] + summary[memory]["bytes_written"])


def _per_token(summary: Summary) -> float:
    decode = summary["decode"]
    return float(decode["seconds"] / decode["tokens"]) if decode["tokens"] else 0.0


FIGURES: tuple[tuple[str, str, int, Callable[[Summary], float]], ...] = (
    ("prefill time", "s", -1, lambda s: s["prefill"]["seconds"]),
    ("decode time", "s", -1, lambda s: s["decode"]["seconds"]),
    ("decode time per token", "s", -1, _per_token),
    ("decode rate", "tokens/s", 1, lambda s: s["decode"]["tokens_per_second"]),
    ("rate over prefill and decode", "tokens/s", 1, lambda s: s["tokens_per_second"]),
    ("core cycles", "cycles", -1, lambda s: s["core_cycles"]),
    ("multiply-accumulates", "MAC", -1, lambda s: s["pe_array"]["macs"]),
    ("PE array utilization, prefill", "%", 1, lambda s: s["prefill"]["pe_array"]["utilization"]),
    ("PE array utilization, decode", "%", 1, lambda s: s["decode"]["pe_array"]["utilization"]),
    ("outside matrix products, prefill", "%", -1, lambda s: s["prefill"]["outside_products"]),
    ("outside matrix products, decode", "%", -1, lambda s: s["decode"]["outside_products"]),
    ("HBM traffic", "B", -1, lambda s: _moved(s, "hbm")),
    ("HBM utilization, prefill", "%", 0, lambda s: s["prefill"]["hbm"]["utilization"]),
    ("HBM utilization, decode", "%", 0, lambda s: s["decode"]["hbm"]["utilization"]),
    ("DDR4 traffic", "B", -1, lambda s: _moved(s, "ddr")),
    ("KV cache stored", "B", -1, lambda s: s["kv"]["bytes_stored"]),
    ("KV read from HBM in decode", "B", -1, lambda s: s["kv"]["hbm_bytes_read"]),
    ("KV read from the invariance buffer", "B", 0, lambda s: s["kv"]["buffer_bytes_read"]),
    ("KV bandwidth while streaming", "B/s", 1, lambda s: s["kv"]["effective_bandwidth"]),
)
STREAMING: tuple[tuple[str, str, int, Callable[[Summary], float]], ...] = (
    ("source rate", "words/s", 0, lambda s: s["source_words_per_second"]),
    ("first word since the source's first", "s", -1, lambda s: s["first_word"]["since_first_source_word"]),
    ("first word since the one waited for", "s", -1, lambda s: s["first_word"]["since_awaited_source_word"]),
    ("AL of the policy", "words", -1, lambda s: s["al_words"]),
    ("LAAL of the policy", "words", -1, lambda s: s["laal_words"]),
    ("AL without computation", "s", -1, lambda s: s["without_computation"]["al_seconds"]),
    ("LAAL without computation", "s", -1, lambda s: s["without_computation"]["laal_seconds"]),
    ("AL on the simulated clock", "s", -1, lambda s: s["al_seconds"]),
    ("LAAL on the simulated clock", "s", -1, lambda s: s["laal_seconds"]),
    ("idle because input was late", "%", 0, lambda s: s["input_late"]),
)


def compare(summaries: Sequence[Summary]) -> list[Row]:
    """Return the headline figures of every summary in ``summaries``, and those of streaming where all have them."""
    rows = [Row(label, unit, better, tuple(map(get, summaries))) for label, unit, better, get in FIGURES]
    rows += [Row(f"equivalent static-M sparsity, {phase}", "%", 1, found) for phase, found in equivalents(summaries)]
    if not all(SECTION in summary for summary in summaries):
        return rows
    lags = [summary[SECTION] for summary in summaries]
    return [*rows, *(Row(label, unit, better, tuple(map(get, lags))) for label, unit, better, get in STREAMING)]


def title(summary: Summary) -> str:
    """Name a run: family, shape, [prompt, decode] and overlay."""
    trace = summary["trace"]
    length = f"[{trace['prompt_tokens']}, {trace['decode_tokens']}]"
    return f"{trace['family']} {trace['shape']} {length} on {summary['overlay']}"


def table(rows: Sequence[Row], titles: Sequence[str]) -> "Table":
    """Return the rows as a table for a terminal; ratios that are better are green, worse ones red."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(header_style="bold")
    drawn.add_column("")
    for name in titles:
        drawn.add_column(Text(name), justify="right")
    colours = {1: "green", 0: "dim", -1: "red"}
    for row in rows:
        cells = [Text(row.shown[0])]
        for value, ratio, gain in zip(row.shown[1:], row.ratios[1:], row.gains[1:], strict=True):
            cells.append(Text.assemble(value, " ", (times(ratio), colours[gain])))
        drawn.add_row(Text.assemble(row.label, (f" ({row.shown_unit})", "dim")), *cells)
    return drawn


def text(rows: Sequence[Row], titles: Sequence[str]) -> str:
    """Return the rows as plain text, one line a figure, for a pipe."""
    return aligned([["", *titles], *(list(_cells(row)) for row in rows)])


def _cells(row: Row) -> Iterator[str]:
    yield f"{row.label} ({row.shown_unit})"
    yield row.shown[0]
    for value, ratio in zip(row.shown[1:], row.ratios[1:], strict=True):
        yield f"{value} ({times(ratio)})"


def _gain(ratio: float | None, better: int) -> int:
    if ratio is None or abs(ratio - 1) < SAME:
        return 0
    return better if ratio > 1 else -better
