"""What `skipopu verify` prints: errors and routing layer by layer, then logits, tokens and losses."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

MEANING = {
    "float16": "PyTorch float16 against float32: PyTorch's own arithmetic",
    "int4": "PyTorch float32 with INT4 weights against float32: quantisation",
    "overlay": "overlay numerics against PyTorch float32, the same INT4 weights: the overlay's arithmetic",
}
HEADING = ("layer", "hidden error", "attention", "ffn", "hidden error", "attention", "ffn")
GROUPS = ("", "forced routing", "", "", "own routing", "", "")


def verification_text(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines of a record."""
    text = record["text"]
    yield (
        f"{record['model']}: {record['layers']} layers, INT4 weights by {record['method']};"
        f" overlay {record['overlay']}; PyTorch on {record['device']}"
    )
    yield (
        f"{text['windows']} held-out windows of {text['tokens']} tokens; the overlay prefills {text['prefill']} and"
        f" decodes {text['decode']} of each"
    )
    for step in record["steps"]:
        yield ""
        yield MEANING[step["run"]]
        yield from _aligned([GROUPS, HEADING, *_layers(step)])
    yield ""
    yield from _aligned(_ends(record))
    yield from _notes(record)


def _layers(step: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    sides = (step["forced_routing"], step["own_routing"])
    for layer in range(len(sides[0]["hidden_error"])):
        cells = []
        for side in sides:
            cells.append(_error(side["hidden_error"][layer]))
            cells += [_share(side[key][layer]) for key in ("attention_agreement", "ffn_agreement")]
        yield (str(layer), *cells)


def _ends(record: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """What comes out at the end, a line a run."""
    heading = ["run", "loss, nats/token", "with forced routing", "logits error", "same top token"]
    in_bits = record["text"]["bytes_are_tokens"]
    if in_bits:
        heading.insert(2, "bits/byte")
    yield tuple(heading)
    steps = {step["run"]: step["own_routing"] for step in record["steps"]}
    for name, loss in record["loss"].items():
        step, forced = steps.get(name), record["forced_loss"].get(name)
        line = [name, _loss(loss), "–" if forced is None else _loss(forced)]
        line += ["–", "–"] if step is None else [_error(step["logits_error"]), _share(step["top_1_agreement"])]
        if in_bits:
            line.insert(2, _loss(loss / math.log(2)))
        yield tuple(line)


def _notes(record: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    yield "hidden error, logits error: |difference| / |reference|, over all tokens; attention, ffn: decisions alike"
    yield "own routing: each model skips what its routers say. Forced routing: it skips what the reference skipped, so"
    yield "that no flipped decision is in the error; the decisions shown are still its own. Logits error and same top"
    yield "token are with own routing, each against the reference of its table"
    if record.get("rtl"):
        rtl = record["rtl"]
        yield f"RTL: {rtl['logits']:,} logits of {rtl['steps']} steps, {rtl['differing']:,} differ from the numerics"


def _error(value: float) -> str:
    return f"{value:.2e}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


def _loss(value: float) -> str:
    return f"{value:.5f}"


def _aligned(rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> Iterator[str]:
    """First column to the left, figures to the right."""
    table = list(rows)
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for first, *rest in table:
        cells = [first.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))]
        yield "  ".join(cells).rstrip()
