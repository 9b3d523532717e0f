"""What a reader sees in each picture of a run, in words and with its numbers."""

import numpy as np

from skipopu.results.figure import words
from skipopu.results.quantity import number, quantity
from skipopu.results.record import Record
from skipopu.results.spans import phase_cycles
from skipopu.spec.ledger import Block, Cause, Phase

WAITS = [cause for cause in Cause if cause not in (Cause.BUSY, Cause.IDLE)]


def blocks_and_causes(record: Record) -> str:
    """Say how busy the PE array was and what it waited for most."""
    said = [_pe_array(record, phase) for phase in Phase if phase_cycles(record.run)[phase]]
    return (
        "Every core cycle of every block has exactly one cause, so each bar is the whole phase."
        f" {' '.join(said)} Busy counts cycles of work, not how full they were: for that see the utilization"
        " in the first table."
    )


def operations(record: Record) -> str:
    """Say what an operation's time is."""
    return (
        f"Left: from the first to the last cycle of work of each of {len(record.run.retired.step):,} retired"
        " instructions, waits within it included. Engines overlap, so the sum can exceed the run. Right: the"
        " instructions of the PE array, layer by layer; layers that skip more take less."
    )


def roofline(record: Record) -> str:
    """Say how near to its roof each phase came."""
    summary = record.summary
    ridge = summary["pe_array"]["peak_macs_per_second"] / summary["hbm"]["peak_bandwidth"]
    said = ""
    for phase in Phase:
        part = summary[phase.label]
        if part["core_cycles"]:
            compute, memory = part["pe_array"]["utilization"], part["hbm"]["utilization"]
            said += f" {phase.label.capitalize()} reaches {compute:.1%} of the PE array's peak"
            said += f" and {memory:.1%} of HBM's."
    return (
        f"Left of the ridge at {ridge:.3g} MAC per byte HBM sets the limit, right of it the PE array.{said}"
        " The distance from a point up to the roof is what dependences, refresh, short bursts and DDR4 cost."
    )


def bandwidth(record: Record) -> str:
    """Say what the windows are."""
    run, part = record.run, record.summary["decode"]
    mean = (
        f" Decode moves {quantity(part['hbm']['bandwidth'], 'B/s')} on average."
        if part["core_cycles"]
        else ""
    )
    return (
        f"Bytes moved on the HBM ports, counted in windows of {run.window_cycles:,} core cycles; long phases"
        f" sum neighbouring windows.{mean} Dashed: the peak of all ports together."
    )


def skip_map(record: Record) -> str:
    """Say what the colours mean and which layer skips most."""
    rates = 1 - record.rows["q"].mean(axis=1)
    most = int(np.argmax(rates))
    layers, tokens = record.rows["q"].shape
    return (
        f"{layers} layers × {tokens:,} tokens. Dark: the module is executed for the token; light: skipped,"
        f" its input passes on unchanged. Attention is skipped most in layer {most} ({rates[most]:.0%});"
        f" the bars at the right give the rate of every layer.{_parts(record)}"
    )


def _parts(record: Record) -> str:
    """Say what the map does not show: rows that run some of a module's groups."""
    skip = record.summary["skip"]
    of_rows = {"attention": 1 - float(record.rows["q"].mean()), "ffn": 1 - float(record.rows["ffn"].mean())}
    if all(abs(skip[name] - rate) < 1e-9 for name, rate in of_rows.items()):
        return ""
    return (
        " Rows that run some of a module's groups are dark;"
        f" of the groups {skip['attention']:.0%} of attention and {skip['ffn']:.0%} of the FFN are skipped."
    )


def kv_storage(record: Record) -> str:
    """Say what reuse saves."""
    kv, policy = record.summary["kv"], record.summary["trace"]["kv_policy"]
    hbm, buffer = quantity(kv["hbm_bytes_read"], "B"), quantity(kv["buffer_bytes_read"], "B")
    return (
        f"KV policy {words(policy)}: the cache takes {kv['saving']:.1%} less than a dense one. In decode"
        f" {hbm} of K/V came from HBM and {buffer} from the invariance buffer, together"
        f" {quantity(kv['effective_bandwidth'], 'B/s')} while streaming."
    )


def streaming(record: Record) -> str:
    """Say how far the target is behind the source, and what the phases of a streaming run are."""
    s = record.summary["streaming"]
    first, ideal = s["first_word"], s["without_computation"]
    return (
        f"{s['source_words']:,} source words come at {number(s['source_words_per_second'])} a second;"
        f" {s['target_words']:,} target words are written. The first is done"
        f" {quantity(first['since_first_source_word'], 's')} after the source's first word was there, and"
        f" {quantity(first['since_awaited_source_word'], 's')} after the one that the policy waits for. The target lags"
        f" {number(s['al_words'])} words (AL) by policy, which is {quantity(ideal['al_seconds'], 's')} at this rate;"
        f" with the computation it lags {quantity(s['al_seconds'], 's')}. In {s['input_late']:.1%} of the cycles all"
        " that was there had been done, and the input of the next step was late. Reads count as prefill and writes as"
        " decode; where bars or curves are cut in two, the cut is the end of the last read."
    )


def _pe_array(record: Record, phase: Phase) -> str:
    cycles = record.run.ledger[phase, Block.PE_ARRAY]
    share = cycles / phase_cycles(record.run)[phase]
    wait = max(WAITS, key=lambda cause: int(cycles[cause]))
    largest = f"; its longest wait: {words(wait.label)} ({share[wait]:.1%})" if cycles[wait] else ""
    return f"In {phase.label} the PE array is busy {share[Cause.BUSY]:.1%} of the time{largest}."
