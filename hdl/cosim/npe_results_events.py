"""What can happen in a cycle at the result path's ports; light, for the bench inside the simulator."""

from typing import Any

STREAMS = ("operation", "sums", "request")  # those that can stall
EVENTS = ("operation", "entry", "request", "logits", "result")  # bit n of a cycle's trace: it moved, it is valid
OPERATION, ENTRY, REQUEST, LOGITS, RESULT = (1 << bit for bit in range(len(EVENTS)))

# bits of the shell's flags
GIVEN = ("operation", "sums", "request", "side", "rotary")  # valid, valid, ready, valid, write
GIVE_OPERATION, GIVE_SUMS, TAKE_REQUEST, GIVE_SIDE, WRITE_ROTARY = (1 << bit for bit in range(len(GIVEN)))
SEEN = EVENTS  # ready, ready, valid, valid, valid


def list_index(row: Any) -> Any:
    """Return the row of the block that the shell's list has for an executed row: its Gray code."""
    return row ^ row >> 1
