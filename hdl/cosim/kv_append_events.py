"""What is driven and what is seen of KV append in a cycle; light, for the bench inside the simulator."""

# bit n of a cycle's drives: one-bit inputs
DRIVES = ("restart", "begins", "running", "blocked", "read__granted", "write__ready", "writes_pending")
GRANTED, READY = (1 << DRIVES.index(name) for name in ("read__granted", "write__ready"))
WORKS = 1 << DRIVES.index("begins") | 1 << DRIVES.index("running")
STREAMS = ("operation", "blocked", "granted", "ready", "pending")  # what is random of them
# of a cycle's trace; what is not valid is 0
COLUMNS = (
    "read is valid", "write is valid", "port", "last", "burst address", "burst chunks", "mask is written", "row",
    "mask row", "mask token", "mask bit", "leave", "cause", "list of rows", "bits of rows",
)  # fmt: skip
(
    READ, WRITE, PORT, LAST, ADDRESS, CHUNKS, MASK, ROW, MASK_ROW, MASK_TOKEN, MASK_BIT, LEAVE, CAUSE, LIST, BITS,
) = range(len(COLUMNS))  # fmt: skip
