"""What the simulator's DMA says of a cycle, and what `program.isa` says of an instruction's fields."""

from typing import Any

from skipopu.hdl.cosim.hbm_control_stimulus import Cycle, field, sets
from skipopu.program.isa import ADDRESS_UNIT, Gate
from skipopu.sim.dma import ENGINE, _account
from skipopu.sim.machine import (
    DMA,
    ENGINES_STATE,
    HISTORY,
    PORTS,
    TOTAL,
    Machine,
    overlay_parameters,
    record,
)
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

UNSAID = -1


def expected(given: list[Cycle], overlay: Overlay) -> list[dict[str, int]]:
    """Return what both controls say in every cycle; UNSAID where it does not matter."""
    machine, chunk = _machine(overlay), overlay.chunk_bytes
    return [_common("dma", c) | _dma(c, machine, chunk) | _common("kv", c) | _kv(c, chunk) for c in given]


def _machine(overlay: Overlay) -> Machine:
    parts: dict[str, Any] = {name: record(["unused"]) for name in Machine._fields}
    parts |= {
        "p": overlay_parameters(overlay), "engines": record(ENGINES_STATE), "ports": record(PORTS),
        "dma": record(DMA), "total": record(TOTAL),
    }  # fmt: skip
    return Machine(**parts)


def _common(control: str, c: Cycle) -> dict[str, int]:
    head, begins = c[f"{control}_head"], c[f"{control}_begins"]
    found = {"leave": c[f"{control}_begun"] & c[f"{control}_done"], "valid": begins}
    found |= {"list_gate": field(head, "gate"), "list_mask": field(head, "mask")}
    return {f"{control}_{name}": value for name, value in found.items()}


def _dma(c: Cycle, m: Machine, chunk: int) -> dict[str, int]:
    """The record as `sim.dma.dma` and `sim.ker.ker` leave it when the cycle is accounted for."""
    d, moves = m.dma, c["dma_word_valid"] & c["dma_word_ready"]
    d.credit = d.popped
    crossed, there = (m.total.now - m.p.crossing_stages) % HISTORY, d.popped + c["dma_word_valid"]
    m.ports.weight_history[crossed] = there * m.p.hbm_ratio
    d.popped += moves
    d.goal += sets(c) * c["dma_begins"]
    m.engines.blocked[ENGINE] = c["dma_blocked"]
    _account(m, 0 if c["dma_begins"] | c["dma_begun"] else -1)
    m.total.now += 1
    operation = {"dma_address": field(c["dma_head"], "address") * ADDRESS_UNIT // chunk, "dma_sets": sets(c)}
    return {"dma_cause": int(d.cause)} | {n: v if c["dma_begins"] else UNSAID for n, v in operation.items()}


def _kv(c: Cycle, chunk: int) -> dict[str, int]:
    head = c["kv_head"]
    operation = {
        "executed": int(field(head, "gate") == Gate.ALL or c["kv_executed"] > 0), "decode": field(head, "decode"),
        "value": field(head, "value"), "first_layer": int(field(head, "layer") == 0),
        "has_next": field(head, "following"), "row": field(head, "layer"), "tokens": field(head, "tokens"),
        "layer_base": field(head, "address") * ADDRESS_UNIT // chunk, "offset": field(head, "source"),
        "chunks": field(head, "columns"),
    }  # fmt: skip
    cause = int(Cause.SEMAPHORE) if c["kv_blocked"] else c["kv_kv_cause"]
    return {"kv_cause": cause} | {f"kv_{n}": v if c["kv_begins"] else UNSAID for n, v in operation.items()}
