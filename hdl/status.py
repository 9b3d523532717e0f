"""Status: what the status registers hold, in the words of `skipopu.program.status`."""

from typing import Any

from amaranth.hdl import Cat, Signal, Value
from amaranth.lib import data

from skipopu.hdl.instruction import INDEX_BITS
from skipopu.program.status import DETAIL, DETAIL_BITS, Condition

STATUS = data.StructLayout({"code": range(len(Condition)), "index": INDEX_BITS, "detail": DETAIL_BITS})


def report(to: Any, code: Condition, index: Any = 0, **fields: Any) -> list[Any]:
    """Return the assignments that make ``to``, a STATUS, say ``code``; ``fields`` are those of its detail."""
    parts = []
    for name, width in DETAIL[code]:
        field = Signal(width, name=f"{code.label}_{name}")
        parts.append((field, Value.cast(fields[name])))
    whole = [to.code.eq(code), to.index.eq(index), to.detail.eq(Cat(*(field for field, _ in parts)))]
    return [*(field.eq(value) for field, value in parts), *whole]
