"""The first difference between what the DDR4 engines should have done and what the bench has seen of the RTL."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_events import CAUSE_SHIFT, ENGINES, EVENTS
from skipopu.hdl.cosim.ddr_expected import Moved
from skipopu.hdl.cosim.ddr_memory_rules import DDR_RULES
from skipopu.hdl.cosim.ddr_memory_state import EVENT
from skipopu.hdl.cosim.ddr_model_state import CAUSE_BITS
from skipopu.hdl.cosim.ddr_stimulus import Ints
from skipopu.hdl.cosim.difference import Difference, first_difference


def broken(found: Arrays) -> Difference | None:
    """A rule of AXI, or what never changes on its channels."""
    rule, channel, cycle = (int(value) for value in found["broken"])
    if rule:
        return Difference("cycle", cycle, f"channel {channel} breaks a rule: {DDR_RULES[rule]}", 0, 1)
    if not found["constants"] or found["error"]:
        return Difference("cycle", len(found["trace"]), "AxBURST, AxSIZE, WSTRB, RREADY, BREADY, error", 1, 0)
    return None


def different_cycles(trace: Ints, events: Ints, found: Arrays) -> Difference | None:
    """Events and causes of every cycle, then the bursts."""
    names = (*EVENTS, *(f"cause of {name}" for name in ENGINES))
    order = [np.lexsort((each[:, 2], each[:, 1], each[:, 0])) for each in (events, found["events"])]
    return (
        first_difference("cycle", _columns(trace), _columns(found["trace"]), names)
        or first_difference("AXI event", events[order[0]], found["events"][order[1]], EVENT)
    )  # fmt: skip


def _columns(trace: Ints) -> Ints:
    bits = trace[:, None] >> np.arange(len(EVENTS)) & 1
    causes = trace[:, None] >> (CAUSE_SHIFT + CAUSE_BITS * np.arange(len(ENGINES))) & (1 << CAUSE_BITS) - 1
    return np.concatenate([bits, causes], axis=1)


def different_data(expected: Moved, found: Arrays) -> Difference | None:
    """Every byte, and where it went."""
    if not found["done"]:
        return Difference("cycle", len(found["trace"]), "all instructions have left", 1, 0)
    numbers = {
        "tile_address": expected.tile_address, "read_address": expected.read_address,
        "halves": [half for half, _, _ in expected.constants],
        "constants__address": [word for _, word, _ in expected.constants],
        "rotary__address": [word for word, _ in expected.rotary],
    }  # fmt: skip
    data = {
        "constants__data": [word for _, _, word in expected.constants],
        "rotary__data": [word for _, word in expected.rotary], "fetch_words__payload": expected.fetched,
        **{f"read_{name}": values for name, values in expected.reads.items()},
    }  # fmt: skip
    for name, values in numbers.items():
        seen = found[name] if name == "halves" else _integers(found[name])
        difference = first_difference(name, np.array(values, np.int64)[:, None], seen[:, None], ("number",))
        if difference:
            return difference
    for name, rows in data.items():
        size = found[name].shape[1]
        table = np.array(rows, np.uint8).reshape(-1, size)[: len(found[name])]  # reads that came back before the end
        difference = first_difference(name, table, found[name], tuple(f"byte {n}" for n in range(size)))
        if difference:
            return difference
    size = expected.contents.shape[2]
    model, rtl = (each.reshape(-1, size) for each in (expected.contents, found["contents"]))
    return first_difference("beat of DDR4", model, rtl, tuple(f"64-bit word {n}" for n in range(size)))


def _integers(rows: NDArray[np.uint8]) -> Ints:
    scale = 256 ** np.arange(rows.shape[1], dtype=np.int64)
    return (rows.astype(np.int64) * scale).sum(axis=1)  # type: ignore[no-any-return]
