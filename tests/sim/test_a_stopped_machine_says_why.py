"""A program that cannot go on ends in one error: the blocked instructions, and what each waits for."""

import pytest
from hand_made import LOAD, PE, STORE, carrier, hand_made, matmul, simulate
from small_machine import BOARD, TINY

from skipopu.program.isa import Opcode
from skipopu.sim import reference
from skipopu.sim.error import DeadlockError, LimitError

KV = {"tokens": 4, "rows": 4, "pairs": 1}


@pytest.fixture(autouse=True)
def _short_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "WATCHDOG_CYCLES", 2000)


def blocked(instructions: list) -> list[str]:
    with pytest.raises(DeadlockError, match="nothing moved for 2000 cycles") as caught:
        simulate(hand_made(instructions, TINY, carrier(4)), TINY)
    assert all(line in str(caught.value) for line in caught.value.blocked)
    return caught.value.blocked


def test_a_product_without_weights() -> None:
    _, product = matmul(TINY, 4, 2, 16)
    assert blocked([product]) == ["pe_array: instruction 0 (matmul) waits for weights"]


def test_scores_without_a_kv_stream_and_the_store_behind_them() -> None:
    scores = (Opcode.SCORES, KV | {"group": 2, "k_tiles": 2, "signal": STORE})
    store = (Opcode.STORE_ROWS, {"rows": 1, "k_tiles": 1, "wait": PE})
    assert blocked([scores, store]) == [
        "store: instruction 1 (store_rows) waits for semaphore pe_array→store",
        "pe_array: instruction 0 (scores) waits for kv",
    ]


def test_a_stream_that_nobody_loads() -> None:
    route = (Opcode.ROUTE, {"rows": 2, "k_tiles": 2, "columns": 2, "stream": 1})
    assert blocked([route]) == ["pe_array: instruction 0 (route) waits for ddr"]


def test_a_full_queue_stops_the_sequencer() -> None:
    _, product = matmul(TINY, 4, 2, 16)
    depth = TINY.sequencer.queue_depth
    lines = blocked([product] * (depth + 1))
    assert lines == [
        "pe_array: instruction 0 (matmul) waits for weights",
        f"sequencer at instruction {depth} waits for backpressure",
    ]


def test_weights_that_nobody_takes_do_not_stop_the_machine_before_its_end() -> None:
    """They fill the FIFO; the program ends as soon as its last instruction has."""
    load, _ = matmul(TINY, 4, 1, 16)
    assert simulate(hand_made([load], TINY), TINY).core_cycles < 2000


def test_a_bound_on_cycles_is_kept() -> None:
    load = (Opcode.LOAD_ROWS, {"rows": 8, "k_tiles": 100, "signal": STORE})
    program = hand_made([load, (Opcode.STORE_ROWS, {"wait": LOAD})], TINY)
    whole = reference.simulate(program, TINY, BOARD)
    bound = whole.core_cycles
    assert reference.simulate(program, TINY, BOARD, max_cycles=bound).core_cycles == bound
    with pytest.raises(LimitError, match=rf"max_cycles = {bound - 1} reached with 2 of 3"):
        reference.simulate(program, TINY, BOARD, max_cycles=bound - 1)
