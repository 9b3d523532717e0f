"""What can happen in a cycle at the PE array's ports; light, for the bench inside the simulator."""

STREAMS = ("operation", "weights", "chunks", "words", "announce", "request", "results")  # those that can stall
EVENTS = (  # bit n of a cycle's trace: it moved; the next row waits for it
    "operation", "weights", "chunks", "words", "announce", "request", "issue", "end", "results",
    "no weights", "no row", "no psum",
)  # fmt: skip
(
    OPERATION, WEIGHTS, CHUNKS, WORDS, ANNOUNCE, REQUEST, ISSUE, END, RESULTS, NO_WEIGHTS, NO_ROW, NO_PSUM,
) = (1 << bit for bit in range(len(EVENTS)))  # fmt: skip
