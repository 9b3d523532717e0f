"""What is said of MatrixControl's ports in a cycle: values, and which of their bits mean something."""

from dataclasses import dataclass, field
from typing import Any

from skipopu.hdl.cosim.matrix_places import Instruction
from skipopu.hdl.npe.operand_operation import OPERAND_OPERATION, Mode, Statistics
from skipopu.hdl.npe.result_operation import operation_layout
from skipopu.hdl.router_weights import router_start
from skipopu.hdl.tile_loop import OPERATION
from skipopu.program.isa import Opcode
from skipopu.sim.tile_source import EVERY_TILE, FIRST_BLOCK, KV_TILE, NO_TILE, WEIGHT_TILE
from skipopu.spec.overlay import FP16_BYTES, Overlay

EVERY_BIT = -1
PASSES = (Opcode.STATISTICS, Opcode.NORMALIZE)


@dataclass
class Cycle:
    """Inputs by port name, and outputs with a mask of the bits that are said."""

    given: dict[str, int] = field(default_factory=dict)
    expected: dict[str, tuple[int, int]] = field(default_factory=dict)

    def give(self, **values: int) -> None:
        """Set inputs."""
        self.given |= {name: int(value) for name, value in values.items()}

    def expect(self, name: str, value: int, mask: int = EVERY_BIT) -> None:
        """Say what an output is."""
        self.expected[name] = value, mask

    def join(self, other: "Cycle") -> None:
        """What was known before."""
        self.given |= other.given
        self.expected |= other.expected


class Said:
    """Payloads that follow from an instruction and the loop bounds that the simulator has of it."""

    def __init__(self, overlay: Overlay) -> None:
        self._overlay = overlay

    def word(self, layout: Any, fields: dict[str, int]) -> tuple[int, int]:
        """Return the payload with these fields, and a mask that has their bits."""
        value = mask = 0
        for name, number in fields.items():
            at = layout[name]
            value |= (int(number) & (1 << at.width) - 1) << at.offset
            mask |= (1 << at.width) - 1 << at.offset
        return value, mask

    def array(self, i: Instruction, work: Any) -> tuple[int, int]:
        """Return the PE array's operation; lane passes may divide their rows otherwise."""
        turns = 2 * i.pairs * i.operand if i.opcode == Opcode.CONTEXT else 1
        blocks = work.round_blocks if i.opcode == Opcode.SCORES else work.blocks
        fields = {"source": work.source, "blocks": blocks, "turns": turns}
        if work.source != NO_TILE:
            fields |= {"rows": work.tile_rows, "depth": work.depth, "slots": work.slots}
        if i.opcode in PASSES:
            fields |= self._pass(i, work)
        if work.source == WEIGHT_TILE:
            fields["int4"] = 1 - i.datatype
        if work.source == KV_TILE:
            fields["value"] = int(i.opcode == Opcode.CONTEXT)
        if (i.opcode, bool(i.columns)) in ((Opcode.CONTEXT, True), (Opcode.ROUTE, True)):
            fields["width"] = i.columns
        return self.word(OPERATION, fields)

    def _pass(self, i: Instruction, work: Any) -> dict[str, int]:
        rows = len(i.listed) * (i.group if i.tokens else 1)
        return {"rows": rows, "depth": work.tile_rows // rows}

    def operand(self, i: Instruction, work: Any) -> tuple[int, int]:
        """Return the operation of the NPE's operand side."""
        scores = i.opcode in PASSES and i.tokens > 0
        changes = i.opcode == Opcode.NORMALIZE or work.operand == FIRST_BLOCK
        probability = i.opcode == Opcode.CONTEXT and work.operand == EVERY_TILE
        mode = Mode.PROBABILITY if probability or (scores and changes) else Mode.NORMALIZE if changes else Mode.AS_IS
        taken = Statistics.SCORES if scores else Statistics.SUMS
        fields = {
            "mode": mode, "first_block_only": work.operand == FIRST_BLOCK, "write_back": work.write_back,
            "statistics": taken if work.operand_distance else Statistics.NONE,
            "rows": self._pass(i, work)["rows"] if i.opcode in PASSES else work.tile_rows, "bank": i.half,
        }  # fmt: skip
        if not scores and i.opcode not in (Opcode.SCORES, Opcode.CONTEXT):
            fields["depth"] = i.k_tiles
        if scores or i.opcode == Opcode.CONTEXT:
            fields |= {"heads": 2 * i.pairs, "parts": i.operand if i.opcode == Opcode.CONTEXT else 1}
        return self.word(OPERAND_OPERATION, fields)

    def result(self, i: Instruction, work: Any) -> tuple[int, int]:
        """Return the operation of the NPE's result side."""
        scores = i.opcode == Opcode.SCORES
        fields = {
            "rows": work.tile_rows, "list_rows": len(i.listed), "slots": work.slots, "words": work.words,
            "split": work.head_words < work.words if scores else 0, "function": work.post,
            "bias": i.opcode == Opcode.MATMUL and i.bias, "masked": scores, "statistics": work.distance > 0,
            "route": i.opcode == Opcode.ROUTE, "gate": 0 if i.opcode == Opcode.ROUTE else i.gate, "mask": i.mask,
            "bank": i.half, "round_blocks": work.round_blocks,
        }  # fmt: skip
        return self.word(operation_layout(self._overlay), fields)

    def router(self, i: Instruction) -> tuple[int, int]:
        """Return where the router weights begin, and how many words they are."""
        o = self._overlay
        size = i.k_tiles * i.columns * o.pe_array.dot_length * FP16_BYTES
        words = -(-size // o.ker.constant_bytes_per_cycle)
        fields = {"half": i.half, "address": i.address, "words": words}
        return self.word(router_start(o.constants.half_bytes), fields)
