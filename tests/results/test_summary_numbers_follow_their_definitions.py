"""Every derived number of the summary, recomputed here from the raw counts in another way."""

import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skipopu.results.summary import summary
from skipopu.spec.ledger import Block, Cause, Traffic

DESIGN = {  # the keys that DESIGN §3 promises
    "": (
        "schema", "overlay", "trace", "engine", "core_cycles", "seconds", "prefill", "decode",
        "tokens_per_second", "hbm", "ddr", "kv", "ledger", "audit",
    ),
    "trace": ("sha256", "family", "shape", "prompt_tokens", "decode_tokens", "kv_policy"),
    "prefill": ("tokens", "core_cycles", "seconds"),
    "decode": ("tokens", "core_cycles", "seconds", "tokens_per_second"),
    "hbm": ("bytes_read", "bytes_written", "peak_bandwidth", "bandwidth", "utilization", "weight_bandwidth"),
    "ddr": ("bytes_read", "bytes_written", "peak_bandwidth", "bandwidth", "utilization", "weight_bandwidth"),
    "kv": (
        "bytes_stored", "bytes_dense", "saving", "hbm_bytes_read", "buffer_bytes_read", "effective_bandwidth",
        "hbm_utilization",
    ),
    "audit": ("checks", "failed"),
}  # fmt: skip


def summed(case):
    return summary(case.run, case.trace, case.overlay, case.board)


@pytest.fixture(scope="module")
def s(case):
    return summed(case)


def test_every_promised_key_is_there(s):
    for part, keys in DESIGN.items():
        assert set(keys) <= set(s[part] if part else s)


def test_everything_is_plain_json(s):
    assert json.loads(json.dumps(s, allow_nan=False)) == s


def test_time_is_cycles_over_the_clock(case, s):
    hz = Fraction(case.overlay.clock.core_mhz) * 10**6
    assert s["seconds"] == float(Fraction(case.run.core_cycles) / hz)
    assert s["prefill"]["core_cycles"] + s["decode"]["core_cycles"] == s["core_cycles"]
    assert s["tokens_per_second"] == pytest.approx(float(4 * hz / case.run.core_cycles), rel=1e-12)
    decode = case.run.core_cycles - case.run.prefill_cycles
    assert s["decode"]["tokens_per_second"] == pytest.approx(float(4 * hz / decode), rel=1e-12)


@pytest.mark.parametrize(
    ("memory", "read", "written", "weights"),
    [
        ("hbm", (Traffic.WEIGHTS, Traffic.KV_READ), (Traffic.KV_WRITE,), Traffic.WEIGHTS),
        (
            "ddr",
            (Traffic.CONSTANTS, Traffic.ACTIVATIONS_READ, Traffic.INSTRUCTIONS),
            (Traffic.ACTIVATIONS_WRITE,),
            Traffic.CONSTANTS,
        ),
    ],
)
def test_bandwidth_is_bytes_over_time(case, s, memory, read, written, weights):
    total = case.run.traffic.sum(axis=0)
    m = s[memory]
    assert m["bytes_read"] == sum(int(total[kind]) for kind in read)
    assert m["bytes_written"] == sum(int(total[kind]) for kind in written)
    assert m["bandwidth"] * s["seconds"] == pytest.approx(m["bytes_read"] + m["bytes_written"], rel=1e-12)
    assert m["weight_bandwidth"] * s["seconds"] == pytest.approx(int(total[weights]), rel=1e-12)
    assert m["utilization"] * m["peak_bandwidth"] == pytest.approx(m["bandwidth"], rel=1e-12)
    per_cycle = {"hbm": case.overlay.hbm_bytes_per_cycle, "ddr": case.overlay.ddr_bytes_per_cycle}[memory]
    assert m["peak_bandwidth"] == per_cycle * case.overlay.clock.core_mhz * 1e6


def test_kv_bandwidth_counts_streaming_time_only(case, s):
    kv, raw = s["kv"], case.run.kv
    streaming = raw.read_cycles / (case.overlay.clock.core_mhz * 1e6)
    delivered = raw.hbm_bytes_read + raw.buffer_bytes_read
    assert kv["effective_bandwidth"] == pytest.approx(delivered / streaming, rel=1e-12)
    peak = s["hbm"]["peak_bandwidth"]
    assert kv["hbm_utilization"] == pytest.approx(raw.hbm_bytes_read / streaming / peak, rel=1e-12)
    executed = float(case.trace.rows("kv").mean())
    assert kv["saving"] == pytest.approx(1 - executed, rel=1e-9)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 99), decode=st.integers(0, 4))
def test_ledgers_sum_to_their_cycles(make_case, seed, decode):
    s = summed(make_case(seed=seed, decode=decode))
    for part in (s, s["prefill"], s["decode"]):
        assert {sum(causes.values()) for causes in part["ledger"].values()} == {part["core_cycles"]}
    assert list(s["ledger"]) == [block.label for block in Block]
    assert list(s["ledger"]["npe"]) == [cause.label for cause in Cause]
    assert s["audit"]["failed"] == 0
    assert s["audit"]["checks"] > 80


def test_a_run_without_decode_has_rates_of_zero(make_case):
    s = summed(make_case(decode=0))
    assert s["decode"]["tokens_per_second"] == s["tokens_per_second"] == s["kv"]["effective_bandwidth"] == 0
    assert s["decode"]["hbm"]["bandwidth"] == s["decode"]["pe_array"]["utilization"] == 0


def test_array_utilization_is_work_over_peak(case, s):
    macs = int(np.sum(case.run.macs))
    assert s["pe_array"]["macs"] == macs
    assert s["pe_array"]["utilization"] == macs / (case.overlay.peak_macs_per_cycle * case.run.core_cycles)


def test_skip_rates_are_those_of_the_trace(case, s):
    assert s["skip"]["attention"] == pytest.approx(1 - case.trace.rows("q").mean())
    assert s["skip"]["ffn"] == pytest.approx(1 - case.trace.rows("ffn").mean())


STREAMS = ("busy", "weights", "rows", "kv", "hbm", "backpressure")
AROUND = ("norm", "router", "softmax", "ffn_router")


def test_what_is_outside_the_products_is_all_but_multiplying_and_waiting_for_streams(case):
    found = case.result().summary
    for phase in ("prefill", "decode"):
        cycles = {
            (part, cause): n for part, causes in found[phase]["parts"].items() for cause, n in causes.items()
        }
        assert sum(cycles.values()) == sum(found[phase]["ledger"]["pe_array"].values())
        outside = sum(n for (part, cause), n in cycles.items() if part in AROUND or cause not in STREAMS)
        assert found[phase]["outside_products"] == outside / sum(cycles.values())
