"""`Cause` as plain integers: kernels store them in records, where Numba takes no enumerations."""

from skipopu.spec.ledger import Cause

(BUSY, WEIGHTS, ROWS, KV, DDR, HBM, BACKPRESSURE, SEMAPHORE, DRAINING, IDLE) = (int(cause) for cause in Cause)
