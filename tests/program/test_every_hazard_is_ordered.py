"""Whatever the engines' speeds: no deadlock, and no data is read too early or replaced too soon."""

from itertools import pairwise

import numpy as np
import pytest
from ordering import Row, accesses, execute, order_of, rows_of, unordered
from small_programs import CASES, compiled, program, tiny, trace

from skipopu.program import emitter
from skipopu.program.builder import Builder, Tiles
from skipopu.program.isa import ENGINES, Gate, Opcode
from skipopu.program.program import validate_program


@pytest.mark.parametrize("name", CASES)
def test_a_program_is_valid(name: str) -> None:
    validate_program(compiled(name).words, tiny())


@pytest.mark.parametrize("name", CASES)
def test_conflicting_accesses_are_ordered(name: str) -> None:
    p = compiled(name)
    assert unordered(rows_of(p), accesses(p)) == set()


@pytest.mark.parametrize("name", ["linear", "mlp_layer_input", "kv_dense", "many_heads"])
def test_any_speed_of_the_engines_comes_to_the_end(name: str) -> None:
    rows = rows_of(compiled(name))
    order = order_of(rows)
    for seed, depth in enumerate((1, 1, 2, 4)):
        run = execute(rows, seed, depth)
        assert not any(run.left.values())
        start, finish = np.array(run.start), np.array(run.finish)
        i, j = np.triu_indices(len(rows), 1)
        promised = order.before(i, j)
        assert np.all(finish[i[promised]] <= np.maximum(start[j], finish[j])[promised])
        strict = promised & (np.array([row["stream"] for row in rows])[j] == 0)
        assert np.all(finish[i[strict]] < start[j[strict]])


def without(rows: list[Row], source: str, target: str) -> list[Row]:
    """The program with one semaphore taken out."""
    labels = [e.label for e in ENGINES]
    s, t = labels.index(source), labels.index(target)
    found = [dict(row) for row in rows]
    for row, owner in zip(found, order_of(rows).engine, strict=True):
        row["signal"] &= ~(1 << t) if owner == s else -1
        row["wait"] &= ~(1 << s) if owner == t else -1
    assert found != rows
    return found


PAIRS = [
    ("load", "pe_array"), ("pe_array", "load"), ("store", "load"), ("load", "store"), ("pe_array", "store"),
    ("store", "pe_array"), ("pe_array", "dma"), ("kv_append", "kv_buffer"), ("pe_array", "kv_append"),
    ("kv_append", "pe_array"), ("dma", "pe_array"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_missing_semaphore_is_found(source: str, target: str) -> None:
    p = compiled("linear")
    assert unordered(without(rows_of(p), source, target), accesses(p))


def test_a_missing_fence_is_found() -> None:
    p = compiled("linear")
    rows, touched = rows_of(p), accesses(p)
    assert unordered([row | {"fence": 0} for row in rows], touched)
    fenced = [i for i, row in enumerate(rows) if row["fence"]][::10]
    one_less = [[row | {"fence": row["fence"] * (i != f)} for i, row in enumerate(rows)] for f in fenced]
    found = [bool(unordered(some, touched)) for some in one_less]
    assert sum(found) >= len(found) // 3  # many results are also waited for on the way through another engine


def test_rows_normalised_by_a_single_column_block_are_fenced_off() -> None:
    """Nothing in the instruction itself waits for them, so the next product does."""
    p = compiled("one_column_block")
    rows, touched = rows_of(p), accesses(p)
    products = [i for i, row in enumerate(rows) if row["opcode"] == Opcode.MATMUL]
    fences = [b for a, b in pairwise(products) if rows[a]["normalize"] and rows[a]["columns"] <= 64]
    assert fences
    assert all(rows[i]["fence"] for i in fences)
    assert unordered([row | {"fence": row["fence"] * (i not in fences)} for i, row in enumerate(rows)], touched)


def test_a_wait_without_its_signal_does_not_come_to_the_end() -> None:
    rows = [dict(row) for row in rows_of(compiled("one_token"))]
    next(row for row in rows if row["signal"])["signal"] = 0
    with pytest.raises(IndexError):
        execute(rows, 0, 4)


class Recorder(Builder):
    """Keeps what every instruction declares."""

    def __init__(self) -> None:
        super().__init__()
        self.declared: list[tuple[list[object], list[object], int]] = []

    def emit(self, opcode, reads=(), writes=(), ignore=-1, **fields):  # type: ignore[no-untyped-def]
        reads, writes = list(reads), list(writes)
        self.declared.append((reads, writes, ignore))
        return super().emit(opcode, reads, writes, ignore, **fields)


def meet(a: object, b: object) -> bool:
    if isinstance(a, Tiles) and isinstance(b, Tiles):
        return max(a.first, b.first) < min(a.end, b.end)
    return a == b


@pytest.mark.parametrize("name", ["linear", "mlp_layer_input", "small_constants"])
def test_everything_declared_is_ordered(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorders: list[Recorder] = []
    monkeypatch.setattr(emitter, "Builder", lambda: recorders.append(Recorder()) or recorders[-1])
    changes, settings = CASES[name]
    p = program(trace(**(changes | {"decode": 1, "prompt": 6, "layers": 2})), *settings)
    order, (recorder,) = order_of(rows_of(p)), recorders
    checked = 0
    for b, (reads, writes, ignore) in enumerate(recorder.declared[:-1]):
        for a, (read, written, _) in enumerate(recorder.declared[:b]):
            clash = any(meet(x, y) for x in written for y in reads + writes)
            clash = clash or any(meet(x, y) for x in read for y in writes)
            if clash and a != ignore and order.engine[a] != order.engine[b]:
                checked += 1
                assert order.before(a, b), (a, b)
    assert checked > 100


@pytest.mark.parametrize("name", CASES)
def test_a_gate_names_the_mask_that_was_written_last(name: str) -> None:
    newest: dict[int, int] = {}
    for row in rows_of(compiled(name)):
        if row["opcode"] == Opcode.ROUTE and row["columns"]:
            gates = [Gate.ATTENTION, Gate.FFN] if row["gate"] == Gate.ALL else [row["gate"]]
            newest |= {int(gate): row["mask"] for gate in gates}
        elif row["gate"]:
            assert newest[row["gate"]] == row["mask"]


@pytest.mark.parametrize("name", CASES)
def test_gamma_stays_in_its_constants_half_until_it_is_used(name: str) -> None:
    newest, gamma, replaced = -1, -1, False
    for row in rows_of(compiled(name)):
        if row["opcode"] == Opcode.LOAD_CONSTANTS:
            newest = row["half"]
            replaced |= newest == gamma
        elif row["opcode"] == Opcode.ROUTE and row["normalize"]:
            gamma, replaced = newest, False
        elif row["opcode"] == Opcode.MATMUL and row["normalize"]:
            assert not replaced
        elif row["opcode"] == Opcode.NORMALIZE and not row["tokens"]:
            assert newest == row["half"]  # nothing is loaded between gamma and its use


@pytest.mark.parametrize("name", CASES)
def test_statistics_of_scores_stay_in_their_bank_until_they_are_read(name: str) -> None:
    """A context reads the bank that the scores of its own pairs and block were gathered in, last of all scores."""
    program, gathered = compiled(name), dict[int, tuple[int, ...]]()
    for row, tag in zip(rows_of(program), program.tags.tolist(), strict=False):
        about = (*tag, row["pair"], row["pairs"])
        if row["opcode"] == (Opcode.SCORES if row["normalize"] else Opcode.STATISTICS) and row["tokens"]:
            gathered[row["half"]] = about
        elif row["opcode"] == (Opcode.CONTEXT if row["normalize"] else Opcode.NORMALIZE) and row["tokens"]:
            assert gathered[row["half"]] == about


@pytest.mark.parametrize("name", CASES)
def test_no_access_leaves_the_global_buffer(name: str) -> None:
    tiles = [a for a in accesses(compiled(name)) if a.space == "tiles"]
    assert min(a.first for a in tiles) >= 0
    assert max(a.end for a in tiles) <= tiny(CASES[name][1]).global_buffer.tiles
