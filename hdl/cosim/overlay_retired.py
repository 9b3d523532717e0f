"""The retire stream as a table: what the overlay sends beside what the simulator keeps."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.retirement import RETIRED
from skipopu.sim.run import Retired

COLUMNS = ("engine", "index", "issue", "first", "last")
TIMES = ("issue", "first", "last")

Ints = NDArray[np.int64]


def table_of(retired: Retired) -> Ints:
    """Return [instruction, COLUMNS] of a simulation."""
    index = np.arange(len(retired.engine))
    return np.stack([retired.engine, index, retired.issue, retired.first, retired.last], axis=1).astype(np.int64)


def read_stream(payloads: NDArray[np.uint8]) -> Ints:
    """Return [entry, COLUMNS] of payloads, rows of bytes."""
    values = [int.from_bytes(row.tobytes(), "little") for row in payloads]
    fields = [(RETIRED[name].offset, (1 << RETIRED[name].width) - 1) for name in COLUMNS]
    rows = [[value >> offset & mask for offset, mask in fields] for value in values]
    return np.array(rows, np.int64).reshape(-1, len(COLUMNS))
