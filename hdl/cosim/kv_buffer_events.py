"""What can happen in a cycle at the memory system's core side; light, for the bench inside the simulator."""

EVENTS = ("operation", "done", "output")  # bit n of a cycle's trace: it moved, or pulsed
OPERATION, DONE, OUTPUT = (1 << bit for bit in range(len(EVENTS)))
STREAMS = ("operation", "output")  # those that can stall
