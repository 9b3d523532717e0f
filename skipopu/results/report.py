"""`report.html`: one file with what a run gained, where its time went, where its numbers come from."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from skipopu.results import captions, plot_kv, plot_memory, plot_skip, plot_time
from skipopu.results.check import Check
from skipopu.results.compare import Row, compare, title
from skipopu.results.figure import words
from skipopu.results.page import figure, folded, note, page, section, table, tile
from skipopu.results.published import Beside, beside
from skipopu.results.quantity import number, quantity, times
from skipopu.results.record import Record
from skipopu.results.streaming import SECTION


def report(record: Record) -> str:
    """Return the report of ``record`` as one HTML document without scripts or outside references."""
    name = title(record.summary)
    return page(f"skipopu: {name}", _body(record, name))


def _body(record: Record, name: str) -> Iterator[str]:
    yield _opening(record, name)
    yield _headline(record)
    if SECTION in record.summary:
        yield section("Behind the source", note(captions.streaming(record)))
    found = beside(record)
    if found:
        yield _published(found)
    yield from _pictures(record)
    yield _proofs(record)


def _opening(record: Record, name: str) -> str:
    s = record.summary
    trace, checks = s["trace"], s["audit"]
    tiles = [
        tile(quantity(s["decode"]["tokens_per_second"], "tokens/s"), "decode"),
        tile(quantity(s["prefill"]["seconds"], "s"), f"prefill of {trace['prompt_tokens']:,} tokens"),
        tile(quantity(s["seconds"], "s"), f"whole run, {s['core_cycles']:,} cycles"),
        tile(quantity(s["decode"]["hbm"]["utilization"], "%"), "of peak HBM bandwidth in decode"),
        tile(quantity(s["kv"]["saving"], "%"), "of the KV cache not stored"),
        tile(f"{checks['checks'] - checks['failed']} / {checks['checks']}", "audit checks passed"),
    ]
    warnings = [f'<p class="warning">{escape(warning)}</p>' for warning in s["warnings"]]
    clock = f"{s['board']} at {s['clock_mhz']:g} MHz"
    about = f"KV policy {words(trace['kv_policy'])} · {s['engine']} engine · {clock}"
    skips = " · ".join(f"{kind} {rate:.1%}" for kind, rate in s["skip"].items())
    lines = [f"<h1>{escape(name)}</h1>", f'<p class="sub">{escape(about)}</p>']
    lines += [f'<p class="sub">skipped: {escape(skips)}</p>'] if skips else []
    return "\n".join([*lines, f'<div class="tiles">{"".join(tiles)}</div>', *warnings])


def _headline(record: Record) -> str:
    if record.dense is None:
        rows = compare([record.summary])
        cells = [[_label(row), row.shown[0]] for row in rows]
        return section("Figures", table(["", "this run"], cells, numbers=[1]))
    rows = compare([record.dense, record.summary])
    cells = [[_label(row), *row.shown, _gain(row)] for row in rows]
    said = (
        "Dense: the same model and lengths with every module executed for every token, on the same overlay."
    )
    return section(
        "Against the same model dense",
        table(["", "dense", "this run", "this run ÷ dense"], cells, numbers=[1, 2, 3]),
        note(said),
    )


def _published(found: Sequence[Beside]) -> str:
    head = ["quantity", "published", "simulated", "ratio", "simulated from", "source", "caveat"]
    rows = [
        [
            escape(row.published.quantity),
            f"{number(row.published.value)} {escape(row.published.unit)}",
            f"{number(row.simulated)} {escape(row.published.unit)}",
            times(row.simulated / row.published.value),
            escape(row.run),
            escape(row.published.source),
            escape(row.published.caveat),
        ]
        for row in found
    ]
    said = "No parameter was fitted to these figures; they stand here as they come out."
    return section("Published figures", table(head, rows, numbers=[1, 2, 3]), note(said))


def _pictures(record: Record) -> Iterator[str]:
    causes, said = plot_time.blocks_and_causes(record), captions.blocks_and_causes(record)
    yield section(
        "Time by block and cause", figure(causes, "stacked bars of cycles by block and cause", said)
    )
    operations = figure(
        plot_time.operations(record), "bars of time by operation and layer", captions.operations(record)
    )
    yield section("Time by operation", operations)
    roof = figure(plot_memory.roofline(record), "roofline of prefill and decode", captions.roofline(record))
    yield section("Roofline", roof)
    curve = figure(
        plot_memory.bandwidth_over_time(record), "HBM bandwidth over time", captions.bandwidth(record)
    )
    yield section("HBM bandwidth over time", curve)
    yield section(
        "Skip map", figure(plot_skip.skip_map(record), "layer by token skip map", captions.skip_map(record))
    )
    kept = figure(plot_kv.kv_storage(record), "KV cache stored and read", captions.kv_storage(record))
    yield section("KV cache", kept)


def _proofs(record: Record) -> str:
    failed = sum(not check.passed for check in record.checks)
    name = f"Audit: {len(record.checks)} checks, {failed} failed"
    return section(
        "Where the numbers come from", folded(name, _audit(record.checks)), *_provenance(record.provenance)
    )


def _audit(checks: Sequence[Check]) -> str:
    verdicts = {True: '<span class="good">passed</span>', False: '<span class="bad">failed</span>'}
    rows = [[f"<code>{escape(c.name)}</code>", verdicts[c.passed], escape(c.detail)] for c in checks]
    return table(["check", "", "numbers"], rows)


def _provenance(provenance: Mapping[str, Any]) -> Iterator[str]:
    for kind, leaves in provenance["parameters"].items():
        rows = [
            [
                f"<code>{escape(key)}</code>",
                escape(str(leaf["value"])),
                escape(leaf["unit"]),
                escape(leaf["confidence"]),
                escape(leaf["source"]),
            ]
            for key, leaf in leaves.items()
        ]
        name = f"{kind.capitalize()} {provenance['names'][kind]}: {len(rows)} parameters"
        yield folded(name, table(["parameter", "value", "unit", "confidence", "source"], rows, numbers=[1]))
    facts = [*provenance["sha256"].items(), *provenance["versions"].items()]
    rows = [[escape(name), f"<code>{escape(value)}</code>"] for name, value in facts]
    yield folded("Hashes and versions", table(["", ""], rows))


def _label(row: Row) -> str:
    return f'{escape(row.label)} <span class="same">({escape(row.shown_unit)})</span>'


def _gain(row: Row) -> str:
    kind = {1: "good", 0: "same", -1: "bad"}[row.gains[1]]
    return f'<span class="{kind}">{times(row.ratios[1])}</span>'
