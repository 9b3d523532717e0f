"""Scoreboard: the sum of a row is a loop, so its next tile waits until the one before has been added."""

from typing import Any

from skipopu.numerics.jit import jit


@jit
def row_free(taken: Any, row: int, now: int, distance: int) -> bool:
    """No tile of ``row`` was taken in the ``distance`` − 1 cycles before ``now``; ``taken``: last cycle of each row."""
    return now - taken[row] >= distance  # type: ignore[no-any-return]
