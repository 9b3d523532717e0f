"""What `skipopu kv` prints: the machine, what was simulated, its figures, and what the cache stores."""

from collections.abc import Iterator, Mapping
from typing import Any

from skipopu.results import compare
from skipopu.results.kv_storage import POLICIES, storage_rows
from skipopu.results.quantity import number, quantity

PASSES = {"decode": "decode step", "prefill": "row block of the prefill"}
SHOWN = 4  # pass numbers printed before the last one


def heading(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that say what was simulated, on what."""
    m = record["memory"]
    yield f"K/V reads alone: {compare.title(record)}, {record['trace']['kv_policy']}"
    buffer = f"{m['buffer_ports']} buffer ports, {m['buffer_tokens']:,} tokens in the buffer"
    rounds = f"invalid buffer: {m['invalid_rounds']}" if m["buffer_tokens"] else f"rounds: {m['invalid_rounds']}"
    parts = [f"{m['map']} map", f"{m['hbm_ports']} HBM ports", buffer if m["buffer_tokens"] else "no buffer"]
    yield ", ".join(parts if m["map"] == "interleaved" else [*parts, rounds])
    yield simulated(record)


def trace_line(name: str, facts: Mapping[str, Any]) -> str:
    """Say which trace ``name`` stands for."""
    rho = "" if facts["rho"] is None else f", rho {facts['rho']:g}"
    length = f"[{facts['prompt_tokens']}, {facts['decode_tokens']}]"
    skip = f"{facts['attention_skip']:.1%} of attention skipped{rho}"
    return f"{name}: {facts['family']} {facts['shape']} {length}, K/V {facts['kv_policy']}, {skip}"


def simulated(figures: Mapping[str, Any]) -> str:
    """Say which passes were simulated, and that the figures are theirs alone."""
    numbers, every, name = figures["passes"], figures["every"], PASSES[figures["phase"]]
    if every == 1:
        return f"simulated cycle by cycle: every {name} (0 to {numbers[-1]:,})"
    shown = [f"{n:,}" for n in numbers]
    listed = ", ".join(shown if len(shown) <= SHOWN + 1 else [*shown[:SHOWN], "…", shown[-1]])
    share = f"{len(numbers):,} of {figures['of_passes']:,}, one in {every:,}"
    return f"simulated cycle by cycle: {name} {listed} ({share}); all figures are theirs alone, nothing is extrapolated"


def figures_text(record: Mapping[str, Any]) -> str:
    """Return rounds, port use and bandwidths as aligned lines."""
    rows = list(_figures(record))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(f"{name:{widths[0]}}  {value:>{widths[1]}}  {note}".rstrip() for name, value, note in rows)


def _figures(r: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    spread = f"{r['port_use']['hbm_least']:.1%} to {r['port_use']['hbm_most']:.1%}"
    use, reads = r["port_use"], r["hbm_entries"] + r["buffer_entries"]
    yield "rounds", number(r["rounds"]), f"{reads:,} tokens, {number(r['tokens_per_round'])} a round"
    yield "HBM port use", f"{use['hbm']:.1%}", f"of what they could give in the rounds' cycles; port by port {spread}"
    if r["memory"]["buffer_tokens"]:
        yield "buffer port use", f"{use['buffer']:.1%}", f"{r['buffer_hits']:.1%} of all bytes are from the buffer"
    effective, physical = r["effective_bandwidth"], r["physical_bandwidth"]
    share = f"{r['physical_share']:.1%} of {quantity(r['peak_bandwidth'], 'B/s')}"
    yield (
        "effective bandwidth",
        quantity(effective, "B/s"),
        f"{quantity(r['hbm_bytes'] + r['buffer_bytes'], 'B')} taken",
    )
    yield "physical bandwidth", quantity(physical, "B/s"), f"{quantity(r['hbm_bytes'], 'B')} from HBM, {share}"
    yield "time a token", quantity(r["seconds_per_token"], "s"), f"{r['cycles']:,} core cycles; {_causes(r)}"


def _causes(record: Mapping[str, Any]) -> str:
    """Where the cycles went, the largest share first."""
    causes: Mapping[str, int] = record["cycles_by_cause"]
    shares = sorted(((count, cause) for cause, count in causes.items()), reverse=True)
    return ", ".join(f"{cause} {count / max(record['cycles'], 1):.1%}" for count, cause in shares)


def storage_text(found: Mapping[str, Mapping[str, float]]) -> str:
    """Return what each K/V policy stores for the masks of the trace, ratios against dense."""
    return compare.text(storage_rows(found), [*POLICIES])
