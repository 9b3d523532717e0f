"""Matrix kind: which matrix instruction it is, as bits."""

from typing import Any

from amaranth.hdl import Module, Value

from skipopu.hdl.pipeline import named
from skipopu.program.isa import Opcode


class MatrixKind:
    """Bits of an instruction of the PE array's engine; named signals of the module."""

    def __init__(self, m: Module, head: Any) -> None:
        def opcode(name: str, code: Opcode) -> Value:
            found: Value = named(m, head.opcode == code, name)
            return found

        self.matmul, self.scores = opcode("matmul", Opcode.MATMUL), opcode("scores", Opcode.SCORES)
        self.context, self.route = opcode("context", Opcode.CONTEXT), opcode("route", Opcode.ROUTE)
        self.statistics, self.normalize = opcode("statistics", Opcode.STATISTICS), opcode("normalize", Opcode.NORMALIZE)
        some_columns, some_tokens = head.columns.any(), head.tokens.any()
        self.logits: Value = named(m, self.route & some_columns, "logits")
        self.score_pass: Value = named(m, (self.statistics | self.normalize) & some_tokens, "score_pass")
        # rows are the query heads of a key/value head, and lie packed
        self.attention: Value = named(m, self.scores | self.context | self.score_pass, "attention")
        self.multiplies: Value = named(m, self.matmul | self.scores | self.context | self.logits, "multiplies")
        self.takes_statistics: Value = named(m, self.statistics | (self.route & head.normalize), "takes_statistics")
