"""A row block as the emitters see it."""

from typing import NamedTuple


class Block(NamedTuple):
    """Rows that lie in DDR4 as one: number of the pass, slot of the first row, rows, most K/V rounds of any layer."""

    number: int
    first: int
    rows: int
    rounds: int
