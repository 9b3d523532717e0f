"""K/V rounds: the schedule is the one that the rules give, and no round asks the impossible."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray
from rounds_oracle import Layer, decode_of_newest, in_order, limits, masks, queued, reuse_last, run

from skipopu.numerics.kv_rounds import Passes, demand, limits_of, place
from skipopu.numerics.kv_schedule import BUFFER, NONE, Limits, Placement
from skipopu.spec.overlay import Overlay

Mask = NDArray[np.bool_]
ANY = settings(max_examples=150)


@ANY
@given(limits(), masks())
def test_rounds_are_those_of_the_rules(limits: Limits, executed: Mask) -> None:
    where, layers = decode_of_newest(limits, executed)
    held: set[int] = set()
    for found in layers:
        held &= set(held) if found.valid else set()
        rule = in_order if found.valid or limits.lock_step else queued
        assert found.rounds == rule(limits, where, found.layer, executed.shape[1], held)
        assert found.after == held


def broken(limits: Limits, where: Placement, layers: list[Layer]) -> set[str]:
    """Names of the promises that a pass of schedules does not keep."""
    found: set[str] = set()
    ring: dict[int, tuple[int, int]] = {}  # place in the ring → token and the layer whose K/V it is
    for entry in layers:
        found |= _broken_rounds(limits, where, entry)
        for members in entry.ring:
            for token, read, _ in members:
                if read != NONE and ring.get(read % limits.capacity) != (token, where.source[entry.layer, token]):
                    found.add("stale")
            for token, _, kept in members:  # a round's chunks are read before they are written over
                if kept != NONE:
                    ring[kept % limits.capacity] = token, int(where.source[entry.layer, token])
        if len(entry.after) > limits.capacity:
            found.add("capacity")
    return found


def _broken_rounds(limits: Limits, where: Placement, entry: Layer) -> set[str]:
    found: set[str] = set()
    visible = np.flatnonzero(where.source[entry.layer] >= 0).tolist()
    if sorted(t for r in entry.rounds for t, _ in r) != visible:
        found.add("once")
    for members in entry.rounds:
        used = Counter(port for _, port in members)
        reads = used.pop(BUFFER, 0)
        found |= {"ports"} if any(n > 1 for n in used.values()) else set()
        found |= {"reads"} if reads > limits.buffer_ports or (reads and not entry.valid) else set()
        found |= {"tokens"} if not 0 < len(members) <= limits.tokens else set()
        elsewhere = [t for t, p in members if p not in (BUFFER, where.port[entry.layer, t])]
        found |= {"place"} if elsewhere else set()
    for rows in entry.ring:
        for fault, numbers in (("reads", [r for _, r, _ in rows]), ("writes", [k for _, _, k in rows])):
            banks = [n % limits.buffer_ports for n in numbers if n != NONE]
            found |= {fault} if len(set(banks)) < len(banks) else set()
    return found


@ANY
@given(limits(), masks())
def test_every_round_keeps_its_limits_and_reads_only_what_was_kept(limits: Limits, executed: Mask) -> None:
    where, layers = decode_of_newest(limits, executed)
    assert broken(limits, where, layers) == set()


@ANY
@given(limits(), masks())
def test_the_newest_token_is_never_kept(limits: Limits, executed: Mask) -> None:
    _, layers = decode_of_newest(limits, executed)
    assert all(executed.shape[1] - 1 not in entry.after for entry in layers)


PLAIN = Limits(4, 6, 2, 8, 4, False, False)


def planted(change: Any) -> set[str]:
    executed = np.random.default_rng(3).random((4, 24)) >= 0.5
    executed[0], executed[:, -1] = True, True
    where, layers = decode_of_newest(PLAIN, executed)
    assert any(p == BUFFER for entry in layers for r in entry.rounds for _, p in r)
    change(layers)
    return broken(PLAIN, where, layers)


def _from_buffer(entry: Layer, token: int) -> None:
    entry.rounds = [[(t, BUFFER if t == token else p) for t, p in r] for r in entry.rounds]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s[0].rounds[0].pop(), "once"),
        (lambda s: s[0].rounds[0].append(s[0].rounds[0][0]), "once"),
        (lambda s: s[0].rounds.__setitem__(slice(0, 2), [s[0].rounds[0] + s[0].rounds[1]]), "ports"),
        (lambda s: _from_buffer(s[0], 0), "reads"),
        (lambda s: s[0].ring.pop(0), "stale"),
        (lambda s: s[1].after.update(range(24)), "capacity"),
        (lambda s: s[0].ring[0].extend([(0, NONE, 4), (1, NONE, 6)]), "writes"),
        (lambda s: s[0].rounds.append([]), "tokens"),
    ],
)
def test_a_planted_fault_is_found(change: Any, fault: str) -> None:
    assert fault in planted(change)


def test_sixteen_tokens_four_ports_two_buffer_ports_by_hand() -> None:
    """Layer 0 runs every token: token t on port t mod 4. Layer 1 runs the even ones: port (t / 2) mod 4.

    While layer 0 is read (buffer invalid) the odd tokens are kept until 4 are held, one a write port a round.
    """
    executed = np.ones((2, 16), bool)
    executed[1, 1::2] = False
    executed[1, 15] = True  # the newest token
    bounds = Limits(4, 6, 2, 4, 4, lock_step=False, spread=False)
    _, (first, second) = decode_of_newest(bounds, executed)
    assert not first.valid
    assert first.rounds == [
        [(0, 0), (1, 1), (2, 2), (3, 3)],
        [(5, 1), (6, 2), (7, 3), (4, 0)],
        [(10, 2), (11, 3), (8, 0), (9, 1)],
        [(15, 3), (12, 0), (13, 1), (14, 2)],
    ]
    assert first.after == {1, 3, 5, 7}
    # layer 1: even t and 15 on port (order mod 4); 1, 3, 5, 7 in the buffer; 9, 11, 13 on their layer 0 ports
    assert second.valid
    assert second.rounds == [
        [(0, 0), (1, BUFFER), (2, 1), (3, BUFFER), (4, 2)],
        [(5, BUFFER), (6, 3), (7, BUFFER), (8, 0), (9, 1)],
        [(10, 1), (11, 3), (12, 2)],
        [(13, 1), (14, 3), (15, 0)],
    ]
    assert second.after == set()  # no layer follows


def test_the_same_sixteen_tokens_by_hand_when_the_buffer_is_invalid() -> None:
    """Layer 1 as above, all from HBM: port 0 has 0 8 15, port 1 has 1 2 5 9 10 13, port 2 has 4 12, port 3 the rest.

    Queued: the scan stops at 10, the fifth token of port 1. Strict lock-step: a round ends where two tokens meet.
    """
    executed = np.ones((2, 16), bool)
    executed[1, 1::2] = False
    executed[1, 15] = True
    where = place(reuse_last(executed), 4)
    queues, lock_step = (Limits(4, 6, 2, 4, 4, lock_step=step, spread=False) for step in (False, True))
    (found,) = run(queues, where, 16, [1])
    assert found.rounds == [
        [(0, 0), (1, 1), (4, 2), (3, 3)],
        [(2, 1), (12, 2), (6, 3), (8, 0)],
        [(7, 3), (15, 0), (5, 1)],
        [(11, 3), (9, 1)],
        [(10, 1), (14, 3)],
        [(13, 1)],
    ]
    (found,) = run(lock_step, where, 16, [1])
    assert found.rounds == [
        [(0, 0), (1, 1)],
        [(2, 1), (3, 3), (4, 2)],
        [(5, 1), (6, 3)],
        [(7, 3), (8, 0), (9, 1)],
        [(10, 1), (11, 3), (12, 2)],
        [(13, 1), (14, 3), (15, 0)],
    ]


def test_a_skipped_layer_empties_the_buffer() -> None:
    executed = np.zeros((4, 8), bool)
    executed[0] = True
    executed[[0, 1, 3], -1] = True
    where = place(reuse_last(executed), 4)
    found = run(PLAIN, where, 8, [0, 1, 3])
    assert [entry.valid for entry in found] == [False, True, False]
    assert not any(port == BUFFER for r in found[2].rounds for _, port in r)


@given(masks())
def test_a_layers_own_tokens_go_round_the_ports_without_a_gap(executed: Mask) -> None:
    where = place(reuse_last(executed), 5)
    for layer, row in enumerate(executed):
        own = np.flatnonzero(row)
        assert where.port[layer, own].tolist() == [i % 5 for i in range(len(own))]
        assert where.slot[layer, own].tolist() == [i // 5 for i in range(len(own))]
    for layer, token in np.argwhere(where.source >= 0):
        source = where.source[layer, token]
        assert where.port[layer, token] == where.port[source, token]
        assert where.slot[layer, token] == where.slot[source, token]


def one_pass(tokens: np.ndarray, layers: int, *, decode: bool) -> Passes:
    """A row block of neighbouring tokens that goes through all layers and sees all that is older."""
    every = (1, layers)
    return Passes(
        np.array([0]), np.array([0]), np.array([len(tokens)]), np.array([decode]), tokens,
        np.full(every, tokens[0]), np.ones(every, np.bool_), np.zeros(every, np.int64), np.zeros(every, np.int64),
    )  # fmt: skip


@ANY
@given(limits(), masks())
def test_demand_counts_what_the_rounds_hold(limits: Limits, executed: Mask) -> None:
    where, layers = decode_of_newest(limits, executed)
    newest = executed.shape[1] - 1
    passes = one_pass(np.array([newest]), len(executed), decode=True)
    found = demand(limits, where, passes, executed)
    expected = np.zeros((3, executed.shape[0]), np.int64)
    for entry in layers:
        ports = [port for r in entry.rounds for _, port in r]
        buffered = ports.count(BUFFER)
        expected[:, entry.layer] = len(entry.rounds), len(ports) - buffered, buffered
    assert [row[0].tolist() for row in found] == expected.tolist()


@given(masks())
def test_prefill_reads_past_the_buffer(executed: Mask) -> None:
    where = place(reuse_last(executed), PLAIN.ports)
    passes = one_pass(np.arange(executed.shape[1]), len(executed), decode=False)
    found = demand(PLAIN, where, passes, executed)
    ran = executed.any(axis=1)
    assert found.buffer_entries.sum() == 0
    assert found.hbm_entries[0].tolist() == ((where.source >= 0).sum(axis=1) * ran).tolist()


@pytest.mark.parametrize(
    ("setting", "capacity"),
    [("kv_buffer.ports=2", 32), ("kv_buffer.ports=3", 30), ("kv_buffer.ports=0", 0),
     ("kv_buffer.enabled=false", 0), ("kv_buffer.capacity_bytes=127", 0), ("kv_buffer.capacity_bytes=0", 0)],
)  # fmt: skip
def test_a_buffer_without_ports_holds_nothing(setting: str, capacity: int) -> None:
    assert limits_of(Overlay.load("tiny", (setting,)), 128).capacity == capacity
