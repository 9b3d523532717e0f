"""What can happen in a cycle round the DDR4 engines; light, for the bench inside the simulator."""

EVENTS = (
    "load leaves", "store leaves", "tile written", "tile streamed", "constants written", "rotary written", "tile read",
    "append reads", "residual reads", "operand reads", "result reserved", "write-back reserved", "fetch asks",
    "instructions come",
)  # fmt: skip
(
    LOAD_LEAVES, STORE_LEAVES, WRITTEN, STREAMED, CONSTANTS, ROTARY, READ, APPEND, RESIDUAL, OPERAND, RESULT,
    WRITE_BACK, FETCH, WORD,
) = range(len(EVENTS))  # fmt: skip
CAUSE_SHIFT = len(EVENTS)  # of the causes of load and store, in a cycle's trace
PATTERNS = ("append", "residual", "operand", "packed", "result", "write_back", "fetch")  # in which cycles they want
INSTRUCTION_FIELDS = (
    "opcode", "gate", "mask", "compact", "rows", "k_tiles", "columns", "tokens", "source", "target", "address",
    "stream", "value", "half",
)  # fmt: skip
GIVEN_FIELDS = ("executed", "rounds", "gap", "blocked", "moved", "amount")  # beside an instruction
ENGINES = ("load", "store")
