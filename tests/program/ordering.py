"""What an order of instructions guarantees, from the encoded words alone: semaphores, engine order, fences.

Accesses come from the fields of the instructions, not from what the compiler declared.
"""

import random
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.program.isa import ENGINE_OF, ENGINES, NAMES, Gate, Opcode, Post, decode
from skipopu.program.program import Program
from skipopu.spec.ledger import Block

Row = dict[str, int]


def rows_of(program: Program) -> list[Row]:
    """Instructions as name → value, HALT left out."""
    table = decode(program.words)[:-1]
    return [dict(zip(NAMES, map(int, row), strict=True)) for row in table]


def engine(row: Row) -> int:
    """Index of the instruction's engine."""
    return ENGINES.index(ENGINE_OF[Opcode(row["opcode"])])


def bits(value: int) -> Iterator[int]:
    """Yield the engines of a wait or signal field."""
    return (e for e in range(len(ENGINES)) if value >> e & 1)


class Order(NamedTuple):
    """``known[i, e]``: how many instructions of engine e are complete whenever instruction i starts."""

    engine: NDArray[np.int64]
    place: NDArray[np.int64]  # index within its engine
    known: NDArray[np.int64]

    def before(self, a: Any, b: Any) -> Any:
        """Whether ``a`` is always complete when ``b`` starts."""
        return self.known[b, self.engine[a]] > self.place[a]


def order_of(rows: list[Row]) -> Order:
    """Vector clocks: the k-th wait on a semaphore takes what the k-th signal gave."""
    owner = np.array([engine(row) for row in rows])
    place, known = np.zeros(len(rows), np.int64), np.zeros((len(rows), len(ENGINES)), np.int64)
    current, given = np.zeros((len(ENGINES), len(ENGINES)), np.int64), defaultdict(deque[int])
    counts, stream = [0] * len(ENGINES), -1
    for i, row in enumerate(rows):
        mine = owner[i]
        place[i] = counts[mine]
        counts[mine] += 1
        if row["fence"] or ENGINES[mine] != Block.PE_ARRAY:
            current[mine, mine] = place[i]  # a matrix operation may start while results are in flight
        producers = [given[source, mine].popleft() for source in bits(row["wait"])]
        if row["stream"] and row["opcode"] == Opcode.ROUTE:
            producers.append(stream)  # takes every tile of that load
        for p in producers:
            current[mine] = np.maximum(current[mine], known[p])
            current[mine, owner[p]] = max(current[mine, owner[p]], place[p] + 1)
        known[i] = current[mine]
        stream = i if row["stream"] and row["opcode"] == Opcode.LOAD_ROWS else stream
        for target in bits(row["signal"]):
            given[mine, target].append(i)
    return Order(owner, place, known)


Pairs = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


class Access(NamedTuple):
    """Instruction ``index`` touches [first, end) of a space."""

    index: int
    space: str
    first: int
    end: int
    write: bool


def accesses(program: Program) -> list[Access]:
    """What each instruction touches, or a part of it that is certain."""
    found: list[Access] = []
    tile = program.context.overlay.tile_bytes // 64
    for i, row in enumerate(rows_of(program)):
        found += [Access(i, *a) for a in _of(row, tile, program.context.overlay.pe_array.dot_length)]
        found += [Access(i, *a) for a in _written_back(row, program.context.overlay.pe_array.columns)]
        found += [Access(i, *a) for a in _cache(row, int(program.tags[i, 2]))]
        gates = [Gate.ATTENTION, Gate.FFN] if row["gate"] == Gate.ALL else [row["gate"]]
        if row["opcode"] == Opcode.ROUTE and row["columns"]:
            found += [Access(i, f"mask {int(g)}", row["mask"], row["mask"] + 1, True) for g in gates]
        elif row["opcode"] != Opcode.ROUTE and row["gate"]:
            found.append(Access(i, f"mask {row['gate']}", row["mask"], row["mask"] + 1, False))
        found += [Access(i, *a) for a in _lists(row, program.context.lists.pairs)]
    return found


def _lists(row: Row, pairs: tuple[int, ...]) -> Iterator[tuple[str, int, int, bool]]:
    """Row lists: two logits each, a vector each, or the rows that a mask leaves out; pairs follow from heads."""
    first, op = row["list"], row["opcode"]
    if op == Opcode.MATMUL and row["post"] == Post.LISTS:
        yield "lists", first, first + row["columns"] // 2, True
        if first == 1:
            yield from (("lists", number, number + 1, True) for number in pairs)
    elif op == Opcode.STATISTICS and row["group"] and not row["tokens"]:
        yield "lists", first, first + row["group"], True
    elif op == Opcode.ROUTE and first:
        yield "lists", first, first + row["columns"] // 2, True
    elif first:
        yield "lists", first, first + 1, False


def _of(row: Row, tile: int, dot: int) -> Iterator[tuple[str, int, int, bool]]:
    r, op = row, row["opcode"]
    moved = r["rows"] * r["k_tiles"]
    heads = r["rows"] * 2 * r["pairs"] * r["group"]
    queries = heads * r["k_tiles"]
    width = r["columns"] // 2 if r["post"] == Post.SWIGLU else r["columns"]
    result = r["rows"] * -(-width // dot)
    source, target, address = r["source"], r["target"], r["address"]
    by_opcode: dict[int, list[tuple[str, int, int, bool]]] = {
        Opcode.LOAD_ROWS: [("ddr", address, moved * tile, False), ("tiles", target, moved, True)],
        Opcode.STORE_ROWS: [("tiles", source, moved, False), ("ddr", address, moved * tile, True)],
        Opcode.APPEND_KV: [("tiles", source, moved, False)],
        Opcode.MATMUL: [("tiles", source, moved, False), ("tiles", target, result * (r["post"] != Post.LISTS), True)],
        Opcode.SCORES: [("tiles", source, queries, False), ("tiles", target, heads, True)],
        Opcode.CONTEXT: [("tiles", source, heads, False), ("tiles", target, queries, True)],
        Opcode.ROUTE: [("tiles", source, moved, False)],
        Opcode.STATISTICS: [("tiles", source, moved or heads, False)],
        Opcode.NORMALIZE: [("tiles", source, moved or heads, False), ("tiles", target, moved or heads, True)],
    }
    for space, first, size, write in by_opcode.get(op, []):
        yield space, first, first + size, write
    if op == Opcode.MATMUL and r["post"] in (Post.RESIDUAL, Post.PRODUCT):
        yield "tiles", r["operand"], r["operand"] + result, False
    if op in (Opcode.MATMUL, Opcode.ROUTE) and r["normalize"]:
        yield "statistics", 0, 1, op == Opcode.ROUTE
    if op in (Opcode.STATISTICS, Opcode.NORMALIZE):
        vectors = r["value"] or (op == Opcode.STATISTICS and r["group"])
        of = source if r["tokens"] else "vectors" if vectors else "rows"
        yield f"statistics of {of}", 0, 1, op == Opcode.STATISTICS
        if of == "rows" and op == Opcode.NORMALIZE:  # or those that the router's pass took
            yield "statistics", 0, 1, False


def _written_back(row: Row, columns: int) -> Iterator[tuple[str, int, int, bool]]:
    """Normalised rows of a product: its second column block waits for them; a product of one leaves a hazard."""
    if row["opcode"] == Opcode.MATMUL and row["normalize"] and row["columns"] <= columns:
        yield "tiles", row["operand"], row["operand"] + row["rows"] * row["k_tiles"], True


def _cache(row: Row, first_token: int) -> Iterator[tuple[str, int, int, bool]]:
    """Tokens of the K/V cache; a reader may need the entry of any layer up to its own."""
    if row["opcode"] == Opcode.READ_KV:
        for layer in range(row["layer"] + 1):
            yield f"kv {layer} {row['value']}", 0, row["tokens"], False
    elif row["opcode"] == Opcode.APPEND_KV:
        yield f"kv {row['layer']} {row['value']}", first_token, first_token + row["rows"], True


def conflicts(found: list[Access]) -> Iterator[Pairs]:
    """Yield for each space: earlier and later of the pairs that clash, and where only the later reads."""
    for space in {a.space for a in found}:
        part = [a for a in found if a.space == space]
        index, first, end = (np.array([a[k] for a in part]) for k in (0, 2, 3))
        write = np.array([a.write for a in part])
        meet = (first[:, None] < end) & (first < end[:, None]) & (write[:, None] | write)
        i, j = np.nonzero(meet & (index[:, None] < index))
        yield index[i], index[j], write[i] & ~write[j]


def unordered(rows: list[Row], found: list[Access]) -> set[tuple[int, int]]:
    """Pairs of conflicting instructions of which the later may meet what the earlier has not done yet.

    An engine is in order, so between two of its own only a result in flight matters.
    """
    order = order_of(rows)
    pairs: set[tuple[int, int]] = set()
    for a, b, reads_later in conflicts(found):
        loose = ~order.before(a, b) & (reads_later | (order.engine[a] != order.engine[b]))
        pairs |= set(zip(a[loose].tolist(), b[loose].tolist(), strict=True))
    return pairs


class Execution(NamedTuple):
    """Times at which instructions started and finished, and what is left in the semaphores."""

    start: list[int]
    finish: list[int]
    left: dict[tuple[int, int], int]


def execute(rows: list[Row], seed: int, queue_depth: int) -> Execution:
    """Run with random durations and in-order queues; raises IndexError where nothing can go on."""
    chance = random.Random(seed)
    start, finish = [-1] * len(rows), [-1] * len(rows)
    queues: list[deque[int]] = [deque() for _ in ENGINES]
    counts: dict[tuple[int, int], int] = defaultdict(int)
    fetched, now, streams = 0, 0, [-1]

    def dispatch() -> None:
        nonlocal fetched
        queues[engine(rows[fetched])].append(fetched)
        fetched += 1

    def begin(i: int) -> None:
        for source in bits(rows[i]["wait"]):
            counts[source, engine(rows[i])] -= 1
        start[i] = now

    def end(i: int) -> None:
        queues[engine(rows[i])].popleft()
        for target in bits(rows[i]["signal"]):
            counts[engine(rows[i]), target] += 1
        finish[i] = now
        streams.append(i) if rows[i]["stream"] and rows[i]["opcode"] == Opcode.LOAD_ROWS else None

    def possible() -> list[tuple[Callable[..., None], tuple[int, ...]]]:
        steps: list[tuple[Callable[..., None], tuple[int, ...]]] = []
        if fetched < len(rows) and len(queues[engine(rows[fetched])]) < queue_depth:
            steps.append((dispatch, ()))
        for head in (q[0] for q in queues if q):
            row, mine = rows[head], engine(rows[head])
            if start[head] >= 0:
                taker = row["stream"] and row["opcode"] == Opcode.ROUTE
                if not taker or _last_stream(rows, head) in streams:
                    steps.append((end, (head,)))
            elif all(counts[source, mine] > 0 for source in bits(row["wait"])):
                steps.append((begin, (head,)))
        return steps

    while min(finish) < 0:
        action, arguments = chance.choice(possible())
        action(*arguments)
        now += 1
    return Execution(start, finish, dict(counts))


def _last_stream(rows: list[Row], route: int) -> int:
    return next(
        i for i in range(route, -1, -1) if rows[i]["stream"] and rows[i]["opcode"] == Opcode.LOAD_ROWS
    )
