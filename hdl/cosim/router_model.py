"""What the RTL of the router path must answer: decisions from `numerics`, cycles and contents from the simulator."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.router_shell import LOGITS, found_layout, given_layout, names
from skipopu.numerics.jit import jit
from skipopu.numerics.router import executed
from skipopu.sim.bitmask import (
    RowMasks,
    begin_route,
    new_row_masks,
    route_row,
    row_at,
    row_bits,
    row_count,
    token_executed,
)
from skipopu.spec.overlay import Overlay

UNSAID = -1  # what stands there means nothing
EXECUTES = ("executes_first", "executes_second")  # of the first, of the second pair of logits


def expected_table(given: NDArray[np.int64], overlay: Overlay) -> NDArray[np.int64]:
    """Return [cycles, fields of `found_layout`] for ``given`` [cycles, fields of `given_layout`]; or UNSAID."""
    fields, answers = names(given_layout(overlay)), names(found_layout(overlay))
    inputs = _records(fields + EXECUTES, len(given))
    for column, name in enumerate(fields):
        inputs[name] = given[:, column]
    for pair, name in enumerate(EXECUTES):
        first = fields.index(LOGITS[2 * pair])
        inputs[name] = executed(given[:, first : first + 2].astype(np.uint32))
    found = _records(answers, len(given) + 1)
    for name in answers:
        found[name] = UNSAID
    found["mask_write"] = 0
    _run(new_row_masks(overlay), inputs, found, overlay.bitmask.rows)
    return np.stack([found[name] for name in answers], axis=1)[: len(given)]


def _records(fields: tuple[str, ...], count: int) -> Any:
    return np.zeros(count, np.dtype([(name, "i8") for name in fields])).view(np.recarray)


@jit
def _run(b: RowMasks, inputs: Any, found: Any, layers: int) -> None:
    """Every cycle: what begins and what comes, then what is asked."""
    for now in range(len(inputs)):
        given, answer = inputs[now], found[now]
        if given.start:
            begin_route(b, now, given.gates, given.mask, given.rows, given.layer, given.first_token)
        if given.logits_valid:
            _token(b, now, given, found)
        answer.operand_row = row_at(b, now, given.operand_gate, given.operand_mask, given.operand_position)
        answer.operand_count = row_count(b, now, given.operand_gate, given.operand_mask)
        answer.result_row = row_at(b, now, given.result_gate, given.result_mask, given.result_position)
        answer.result_count = row_count(b, now, given.result_gate, given.result_mask)
        answer.row_bits = row_bits(b, now, given.bit_mask, given.bit_row)
        _scan(b, now, given, answer, found[now + 1], layers)


@jit
def _token(b: RowMasks, now: int, given: Any, found: Any) -> None:
    """Bits of a token, and the write to the bitmask the cycle before its bit can be read."""
    r = b.routing
    second = given.executes_second if r.gates & 1 else given.executes_first
    route_row(b, now, given.row, given.executes_first | second << 1)
    if r.gates & 1:
        write = found[now + r.stages - 1]
        write.mask_write, write.mask_bit = 1, given.executes_first
        write.mask_row, write.mask_token = r.layer, r.first_token + given.row


@jit
def _scan(b: RowMasks, now: int, given: Any, answer: Any, following: Any, layers: int) -> None:
    """Bits of a layer and the one after stand there from the next cycle on, until the next scan."""
    if not given.scan_enable:
        following.scan_here, following.scan_next = answer.scan_here, answer.scan_next
        return
    following.scan_here = token_executed(b, now, given.scan_row, given.scan_token)
    if given.scan_row + 1 < layers:
        following.scan_next = token_executed(b, now, given.scan_row + 1, given.scan_token)
