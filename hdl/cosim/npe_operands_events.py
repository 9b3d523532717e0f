"""What can happen in a cycle at the NPE's operand side; light, for the bench inside the simulator."""

STREAMS = ("operation", "request", "read")  # those that can stall
EVENTS = ("request", "read", "row", "write-back", "maximum", "total", "squares", "inverse")  # bit n: it moved
REQUEST, READ, ROW, WRITE_BACK, MAXIMUM, TOTAL, SQUARES, INVERSE = (1 << bit for bit in range(len(EVENTS)))
