"""What can happen in a cycle at the memory system's core side; light, for the bench inside the simulator."""

# bit n of a cycle's trace: it moved, or pulsed; an announcement stands there, moves, is an end
EVENTS = ("operation", "done", "output", "announced", "announcement", "announcement of the end")
OPERATION, DONE, OUTPUT, ANNOUNCED, ANNOUNCEMENT, ANNOUNCED_END = (1 << bit for bit in range(len(EVENTS)))
STREAMS = ("operation", "output", "announce")  # those that can stall
DRIVES = ("kv_operation__valid", "kv_output__ready", "kv_announce__ready")  # of the core in a cycle, a bit each
COLUMNS = (*EVENTS, "cause")
