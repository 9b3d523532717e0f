"""Instructions for DmaControl and KvControl, and what queue, streams and row lists show them, cycle by cycle."""

from collections.abc import Iterator

import numpy as np

from skipopu.hdl.cosim.hbm_control_shell import GIVEN
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.program.instruction_check import address_multiples
from skipopu.program.isa import FIELDS, Gate, Opcode
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

Cycle = dict[str, int]
NAMES = [name for name, _ in GIVEN]


def random_cycles(overlay: Overlay, count: int, rng: np.random.Generator) -> list[Cycle]:
    """Return ``count`` cycles in which nothing is shown that the blocks round the controls would not show."""
    dma, kv = _engine(overlay, Opcode.LOAD_WEIGHTS, rng), _engine(overlay, Opcode.READ_KV, rng)
    found, owed = [], 0
    for _ in range(count):
        cycle = {f"dma_{name}": value for name, value in next(dma).items()}
        cycle |= {f"kv_{name}": value for name, value in next(kv).items()}
        cycle |= {"dma_word_valid": int(owed > 0 and rng.random() < 0.7), "dma_word_ready": int(rng.random() < 0.7)}
        cycle["kv_kv_cause"] = int(rng.integers(len(Cause)))
        owed += sets(cycle) * cycle["dma_begins"] - (cycle["dma_word_valid"] & cycle["dma_word_ready"])
        found.append({name: cycle[name] for name in NAMES})
    return found


def sets(cycle: Cycle) -> int:
    """Chunk sets that the instruction of the DMA asks for; none if its gate lets no row through."""
    head = cycle["dma_head"]
    return field(head, "columns") if field(head, "gate") == Gate.ALL or cycle["dma_executed"] else 0


def field(word: int, name: str) -> int:
    """Return a field of an instruction."""
    place = INSTRUCTION[name]
    found: int = word >> place.offset & (1 << place.width) - 1
    return found


def _engine(overlay: Overlay, opcode: Opcode, rng: np.random.Generator) -> Iterator[Cycle]:
    """Instructions that wait, begin, work and leave."""
    while True:
        still = {"head": _instruction(overlay, opcode, rng), "begins": 0, "begun": 0, "blocked": 0, "done": 0}
        still["executed"] = int(rng.integers(0, 2)) * int(rng.integers(1, 100))
        for _ in range(rng.integers(4)):
            yield still
        for _ in range(rng.integers(4)):
            yield still | {"blocked": 1}
        yield still | {"begins": 1}
        for _ in range(rng.integers(8)):
            yield still | {"begun": 1}
        yield still | {"begun": 1, "done": 1}


def _instruction(overlay: Overlay, opcode: Opcode, rng: np.random.Generator) -> int:
    values = {name: int(rng.integers(1 << width)) for name, width in FIELDS}
    multiple = address_multiples(overlay)[opcode]
    values |= {
        "opcode": opcode, "gate": int(rng.integers(len(Gate))), "address": int(rng.integers(1 << 20)) * multiple,
        "layer": int(rng.integers(overlay.bitmask.rows)), "tokens": int(rng.integers(1, overlay.bitmask.tokens + 1)),
        "columns": int(rng.integers(6)) if opcode == Opcode.LOAD_WEIGHTS else int(rng.integers(1 << 16)),
        "source": int(rng.integers(1 << 16)),
    }  # fmt: skip
    return sum(values[name] << place.offset for name, place in INSTRUCTION)
