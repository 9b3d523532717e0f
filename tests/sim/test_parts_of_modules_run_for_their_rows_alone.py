"""Groups of heads and channels, experts, stand-ins: streamed and multiplied for the rows that run them, no others."""

import math
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from part_traces import FAMILIES, OVERLAY, RANK, approximated, part_trace, shape

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import COLUMN, Opcode, Post, decode, encode, writes_lists
from skipopu.program.macs import macs
from skipopu.program.program import Program
from skipopu.results.audit import audit
from skipopu.sim.reference import simulate
from skipopu.sim.work import resolve_work
from skipopu.spec.board import Board
from skipopu.spec.ledger import Part, Phase, Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.gemms import gemms
from skipopu.trace.synthetic import synthesize

BOARD = Board.load("u280")
DOT, WIDTH = OVERLAY.pe_array.dot_length, OVERLAY.pe_array.columns
D = shape().dimensions


def compiled(trace: Trace, overlay: Overlay = OVERLAY) -> Program:
    return compile_trace(trace, overlay, BOARD)


def passes_of(rows: int, k: int, n: int) -> int:
    """Row tiles that a product of ``rows`` × k × n takes through the array, column block by column block."""
    return rows * math.ceil(k / DOT) * math.ceil(n / WIDTH)


def padded(n: int) -> int:
    return math.ceil(n / DOT) * DOT


def wide_by_hand(trace: Trace) -> Counter[str]:
    heads, channels = trace.array("head_groups"), trace.array("ffn_groups")
    assert heads is not None
    assert channels is not None
    group, size = D.attention_heads // heads.shape[2] * D.head_dim, D.intermediate_size // channels.shape[2]
    every = trace.tokens * D.layers
    return Counter(
        kv=2 * passes_of(every, D.hidden_size, D.kv_heads * D.head_dim),
        q=passes_of(int(heads.sum()), D.hidden_size, group), o=passes_of(int(heads.sum()), group, D.hidden_size),
        gate_up=passes_of(int(channels.sum()), D.hidden_size, 2 * size),
        down=passes_of(int(channels.sum()), size, D.hidden_size),
        routers=sum(
            passes_of(every, D.hidden_size, padded(8)) + passes_of(every, 8, 2 * groups.shape[2])
            for groups in (heads, channels)
        ),
    )  # fmt: skip


def experts_by_hand(trace: Trace) -> Counter[str]:
    experts = trace.array("experts")
    assert experts is not None
    tokens, on, rank, size = trace.tokens, int(experts.sum()), 6, 24
    return attention_by_hand(tokens * D.layers, tokens * D.layers) + Counter(
        first=passes_of(tokens, D.hidden_size, 2 * D.intermediate_size)
        + passes_of(tokens, D.intermediate_size, D.hidden_size),
        scores=passes_of((D.layers - 1) * tokens, D.hidden_size, experts.shape[2] * padded(rank)),
        gate=passes_of(on, rank, padded(size)), up=passes_of(on, D.hidden_size, padded(size)),
        down=passes_of(on, size, D.hidden_size),
    )  # fmt: skip


def attention_by_hand(rows: int, every: int) -> Counter[str]:
    query = D.attention_heads * D.head_dim
    return Counter(
        kv=2 * passes_of(every, D.hidden_size, D.kv_heads * D.head_dim),
        q=passes_of(rows, D.hidden_size, query), o=passes_of(rows, query, D.hidden_size),
    )  # fmt: skip


def stand_ins_by_hand(trace: Trace) -> Counter[str]:
    q, ffn = int(trace.rows("q").sum()), int(trace.rows("ffn").sum())
    every = trace.tokens * D.layers
    skipped = 2 * every - q - ffn
    return attention_by_hand(q, every) + Counter(
        ffn=passes_of(ffn, D.hidden_size, 2 * D.intermediate_size) + passes_of(ffn, D.intermediate_size, D.hidden_size),
        stand_ins=passes_of(skipped, D.hidden_size, 2 * padded(RANK)) + passes_of(skipped, RANK, D.hidden_size),
        routers=2 * passes_of(every, D.hidden_size, 16),
    )  # fmt: skip


BY_HAND = {"wide": wide_by_hand, "routing_free_moe": experts_by_hand, "lff": stand_ins_by_hand}


def products(program: Program) -> Iterator[tuple[int, int]]:
    """Yield (row tiles through the array, bytes streamed) of every product with weights inside a layer."""
    work, f = resolve_work(program, OVERLAY), decode(program.words)
    bound = (f[:, 0] == Opcode.MATMUL) & (program.tags[:, 1] >= 0)
    for index in np.flatnonzero(bound).tolist():
        w = work[index]
        yield int(w.rows * w.depth * w.blocks), int(w.rows > 0) * int(w.depth * w.blocks * w.tile_bytes)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(FAMILIES), st.integers(1, 20), st.integers(0, 3), st.integers(0, 99))
def test_rows_pass_the_array_once_a_part_that_they_run(name: str, prompt: int, steps: int, seed: int) -> None:
    trace = part_trace(name, prompt, steps, seed)
    assert sum(tiles for tiles, _ in products(compiled(trace))) == BY_HAND[name](trace).total()


def listed(program: Program) -> dict[tuple[int, int], list[int]]:
    """(block, layer) → rows of each product that follows a row list, in program order."""
    work, f = resolve_work(program, OVERLAY), decode(program.words)
    found: dict[tuple[int, int], list[int]] = {}
    for i in np.flatnonzero((f[:, 0] == Opcode.MATMUL) & (f[:, COLUMN["list"]] > 0) & ~writes_lists(f)).tolist():
        found.setdefault((int(work[i].kv_pass), int(program.tags[i, 1])), []).append(int(work[i].rows))
    return found


def listed_by_hand(name: str, trace: Trace, program: Program) -> dict[tuple[int, int], list[int]]:
    """Groups: Q, then O; input, then down. Experts: three products each. Stand-ins: two a module."""
    arrays = {kind: trace.array(kind) for kind in ("head_groups", "ffn_groups", "experts")}
    both, passes, found = trace.array("approx_rows"), program.context.passes, {}
    for block, (first, rows) in enumerate(zip(passes.first, passes.rows, strict=True)):
        own = passes.tokens[first : first + rows]
        for layer in range(1 if name == "routing_free_moe" else 0, D.layers):
            count = {kind: a[layer, own].sum(axis=0).tolist() for kind, a in arrays.items() if a is not None}
            if name == "wide":
                found[block, layer] = 2 * count["head_groups"] + 2 * count["ffn_groups"]
            elif both is not None:
                found[block, layer] = [int(bits[layer, own].sum()) for bits in both for _ in range(2)]
            else:
                found[block, layer] = [rows for rows in count["experts"] for _ in range(3)]
    return found


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(FAMILIES), st.integers(1, 20), st.integers(0, 3), st.integers(0, 99))
def test_every_product_has_the_rows_of_its_own_part(name: str, prompt: int, steps: int, seed: int) -> None:
    trace = part_trace(name, prompt, steps, seed)
    program = compiled(trace)
    assert listed(program) == listed_by_hand(name, trace, program)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(FAMILIES), st.integers(1, 9), st.integers(0, 3), st.integers(0, 99))
def test_multiplications_are_those_of_the_products(name: str, prompt: int, steps: int, seed: int) -> None:
    trace = part_trace(name, prompt, steps, seed)
    assert macs(trace).sum() == sum(product.macs for product in gemms(trace))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("fused", ["true", "false"])
def test_a_run_contradicts_nothing_and_streams_what_its_rows_ask(name: str, fused: str) -> None:
    trace, overlay = part_trace(name), Overlay.load("tiny", ("bitmask.lists=24", f"dataflow.fused={fused}"))
    program = compiled(trace, overlay)
    found = simulate(program, overlay, BOARD)
    assert [check for check in audit(found, trace, overlay) if not check.passed] == []
    chunk_sets = decode(program.words)[:, COLUMN["columns"]] * (resolve_work(program, overlay)["rows"] > 0)
    streamed = chunk_sets[decode(program.words)[:, 0] == Opcode.LOAD_WEIGHTS].sum() * OVERLAY.hbm_bytes_per_cycle
    assert found.traffic[:, Traffic.WEIGHTS].sum() == streamed
    assert found.parts[:, Part.FFN_ROUTER].sum() > 0


def test_what_no_row_runs_costs_no_weights() -> None:
    """A token of decode that runs one group of four streams a quarter of the FFN, and of Q and O."""
    bits = {}
    for skip in ("0", "1"):
        trace = part_trace("wide", 4, 6, 1, f"attention_skip={skip}", f"ffn_skip={skip}")
        program = compiled(trace)
        decoding = np.isin(program.tags[:, 0], range(1, 7))
        work, f = resolve_work(program, OVERLAY), decode(program.words)
        loads = decoding & (f[:, 0] == Opcode.LOAD_WEIGHTS) & (f[:, COLUMN["list"]] > 0)
        bits[skip] = int((work["amount"] * loads).sum())
    sets = compiled(trace).context.memory.matrices
    own = sum(m.chunk_sets for (_, name), m in sets.items() if name.split(".")[0] in ("q", "o", "gate_up", "down"))
    assert bits == {"0": 6 * own, "1": 0}


def test_a_pair_of_heads_is_read_for_the_rows_that_ask_either() -> None:
    trace = part_trace("wide", 9, 4)
    program = compiled(trace)
    work, f = resolve_work(program, OVERLAY), decode(program.words)
    asked = trace.array("head_groups")
    assert asked is not None
    either = asked[:, :, 0::2] | asked[:, :, 1::2]
    assert work["rows"][f[:, 0] == Opcode.SCORES].sum() == either.sum()
    assert work["rows"][f[:, 0] == Opcode.CONTEXT].sum() == either.sum()


def test_groups_that_all_run_stream_the_bytes_of_the_whole_matrices() -> None:
    plain, grouped = synthesize("dense", shape(), 5, 2), part_trace("wide", 5, 2, 1, "attention_skip=0", "ffn_skip=0")
    dense, wide = (simulate(compiled(trace), OVERLAY, BOARD) for trace in (plain, grouped))
    context = compiled(grouped).context
    routers = sum(m.chunk_sets for (_, name), m in context.memory.matrices.items() if name.startswith("router"))
    blocks = np.bincount(context.passes.decode, minlength=2)  # each streams every matrix once
    for phase in Phase:
        more = wide.traffic[phase, Traffic.WEIGHTS] - dense.traffic[phase, Traffic.WEIGHTS]
        assert more == blocks[phase] * routers * OVERLAY.hbm_bytes_per_cycle
        assert wide.traffic[phase, Traffic.KV_WRITE] == dense.traffic[phase, Traffic.KV_WRITE]


def test_stand_ins_for_every_row_leave_the_modules_out() -> None:
    trace = approximated(synthesize("bernoulli", shape(), 6, 2, 1.0))
    found = [tiles for tiles, _ in products(compiled(trace))]
    assert sum(found) == stand_ins_by_hand(trace).total()
    assert simulate(compiled(trace), OVERLAY, BOARD).core_cycles > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_a_wrong_list_is_noticed(name: str) -> None:
    """Planted: every product with down reads the list after its own."""
    trace = part_trace(name)
    program = compiled(trace)
    fields = decode(program.words)
    lists, posts = fields[:, COLUMN["list"]], fields[:, COLUMN["post"]]
    last = len(program.context.lists.bits)
    wrong = (lists > 0) & (lists < last) & (posts == Post.RESIDUAL) & (fields[:, 0] == Opcode.MATMUL)
    fields[wrong, COLUMN["list"]] += 1
    faulty = Program(encode(fields), program.tags, program.context, program.parts)
    assert wrong.any()
    assert listed(faulty) != listed_by_hand(name, trace, program)
