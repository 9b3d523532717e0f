"""Matrix instructions: every opcode, lists with gaps, groups and pairs of heads, parts of V, odd numbers of columns."""

import numpy as np

from skipopu.hdl.cosim.matrix_places import Instruction
from skipopu.hdl.npe.result_operation import lanes_of
from skipopu.program.isa import NAMES, Gate, Opcode, Post
from skipopu.spec.overlay import Overlay

KINDS = (
    "matmul", "normalized", "residual", "swiglu", "scores", "context", "route", "router statistics", "statistics",
    "score statistics", "normalize", "softmax",
)  # fmt: skip
OPCODES = {
    "scores": Opcode.SCORES, "context": Opcode.CONTEXT, "route": Opcode.ROUTE, "router statistics": Opcode.ROUTE,
    "statistics": Opcode.STATISTICS, "score statistics": Opcode.STATISTICS, "normalize": Opcode.NORMALIZE,
    "softmax": Opcode.NORMALIZE,
}  # fmt: skip
POSTS = {"residual": Post.RESIDUAL, "swiglu": Post.SWIGLU}
SKIPPED = 0.08  # instructions of which no row executes


class Stimulus:
    """Draws instructions of ``overlay``."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator) -> None:
        self._overlay, self._rng = overlay, rng

    def instructions(self, count: int) -> list[Instruction]:
        """Return ``count`` of them, each kind as often as the others, in random order."""
        kinds = [KINDS[k % len(KINDS)] for k in range(count)]
        return [self._instruction(kinds[k]) for k in self._rng.permutation(count)]

    def _integer(self, low: int, high: int) -> int:
        return int(self._rng.integers(low, high + 1))

    def _instruction(self, kind: str) -> Instruction:
        o, opcode = self._overlay, OPCODES.get(kind, Opcode.MATMUL)
        rows = self._integer(1, min(o.dataflow.row_block, 5))
        tiles = o.global_buffer.tiles
        fields: dict[str, int] = dict.fromkeys(NAMES, 0) | {
            "opcode": opcode, "rows": rows, "k_tiles": self._integer(1, 4), "mask": self._integer(0, 1),
            "fence": int(self._rng.random() < 0.2), "half": self._integer(0, 1), "wait": self._integer(0, 1),
            "signal": self._integer(0, 63), "normalize": self._integer(0, 1), "gate": self._integer(0, 2),
            **{name: self._integer(0, tiles - 1) for name in ("source", "target", "operand")},
        }  # fmt: skip
        fields |= self._of_opcode(kind, opcode, rows)
        return Instruction(fields, self._listed(fields), self._integer(1, 3))

    def _listed(self, fields: dict[str, int]) -> tuple[int, ...]:
        rows = np.arange(fields["rows"])
        if fields["gate"] == Gate.ALL or fields["opcode"] == Opcode.ROUTE:
            return tuple(rows.tolist())
        if self._rng.random() < SKIPPED:
            return ()
        return tuple(rows[self._rng.random(len(rows)) < 0.7].tolist())

    def _of_opcode(self, kind: str, opcode: Opcode, rows: int) -> dict[str, int]:
        if opcode == Opcode.MATMUL:
            return self._matmul(kind)
        if opcode == Opcode.ROUTE:
            return self._route(kind)
        if opcode in (Opcode.SCORES, Opcode.CONTEXT) or kind in ("score statistics", "softmax"):
            return self._attention(opcode, rows)
        return {}

    def _matmul(self, kind: str) -> dict[str, int]:
        width = self._overlay.pe_array.columns
        columns, lanes = self._integer(1, 5 * width), lanes_of(self._overlay)
        post = POSTS.get(kind, int(self._rng.choice([Post.NONE, Post.ROPE, Post.RELU])))
        return {
            "columns": columns + columns % 2, "post": post, "normalize": int(kind == "normalized"),
            "datatype": self._integer(0, 1), "bias": self._integer(0, 1), "scaled": self._integer(0, 1),
            "address": self._integer(0, 8) * max(lanes // 32, 1),
        }  # fmt: skip

    def _route(self, kind: str) -> dict[str, int]:
        columns = 0 if kind == "router statistics" else self._integer(1, 2) * 2
        gate = int(Gate.ALL) if columns != 2 else self._integer(1, 2)
        found = {"columns": columns, "gate": gate, "layer": self._integer(0, 7), "address": self._integer(0, 8)}
        # without logits it is there for the statistics
        return found | {"stream": int(self._rng.random() < 0.5)} | ({} if columns else {"normalize": 1})

    def _attention(self, opcode: Opcode, rows: int) -> dict[str, int]:
        found = {"group": self._integer(1, 4), "pairs": self._integer(1, 4), "tokens": rows + self._integer(0, 40)}
        found["k_tiles"] = self._integer(1, 2)
        found |= {"normalize": int(self._overlay.dataflow.fused)} if opcode == Opcode.SCORES else {}
        return found | (self._value_parts(found["k_tiles"]) if opcode == Opcode.CONTEXT else {})

    def _value_parts(self, head_tiles: int) -> dict[str, int]:
        pe, lanes = self._overlay.pe_array, lanes_of(self._overlay)
        head = head_tiles * pe.dot_length
        widths = [w for w in range(lanes, pe.columns + 1, lanes) if head % w == 0]
        width = int(self._rng.choice(widths))
        return {"operand": head // width, "columns": width}
