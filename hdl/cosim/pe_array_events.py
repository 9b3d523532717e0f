"""What can happen in a cycle at the PE array's ports; light, for the bench inside the simulator."""

STREAMS = ("operation", "weights", "request", "results")  # those that can stall
EVENTS = ("operation", "weights", "request", "issue", "results")  # bit n of a cycle's trace: it moved
OPERATION, WEIGHTS, REQUEST, ISSUE, RESULTS = (1 << bit for bit in range(len(EVENTS)))
