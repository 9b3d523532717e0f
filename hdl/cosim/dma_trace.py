"""What can happen in a core cycle at the ports of the DMA; light, for the bench inside the simulator."""

STREAMS = ("operation", "write", "weights")  # those that can stall
PORT_STREAMS = ("kv_request", "kv_chunk")  # of every port
EVENTS = (
    "operation moves", "done", "weights are valid", "weights move", "write moves", "writes_pending", "error",
)  # fmt: skip
PORT_EVENTS = ("kv_request moves", "kv_chunk is valid", "kv_chunk moves")
OPERATION, DONE, WEIGHTS_VALID, WEIGHTS, WRITE, PENDING, ERROR = range(len(EVENTS))
KV_REQUEST, KV_VALID, KV_CHUNK = range(len(PORT_EVENTS))


def stream_names(ports: int) -> tuple[str, ...]:
    """Names of the stall patterns: those of all streams, then of each kind port by port."""
    return (*STREAMS, *(f"{name} {port}" for name in PORT_STREAMS for port in range(ports)))


def event_names(ports: int) -> tuple[str, ...]:
    """Bit n of a cycle's trace, lowest first."""
    return (*EVENTS, *(f"{name} {port}" for port in range(ports) for name in PORT_EVENTS))
