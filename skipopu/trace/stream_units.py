"""The schedule of models that think unit by unit: read a unit of the source, write about it, and at the end conclude.

Reads wait for reads only, so the next unit can be read while the model still writes about the last one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from skipopu.trace.stream import Stream


@dataclass(frozen=True)
class Unit:
    """A sentence or a group of frames: segment type, tokens, and when it is there, seconds."""

    type: str
    tokens: int
    arrival: float


def schedule(
    before: Sequence[tuple[str, int]],
    units: Sequence[Unit],
    written: Sequence[int],
    connector: int = 0,
    conclusion: int = 0,
    target_position: int = 0,
) -> Stream:
    """Return the steps that read ``before`` with the first unit, and write ``written[i]`` tokens after unit i.

    ``conclusion`` tokens follow the last of these; their first pass feeds ``connector`` tokens at once, too. A unit
    with nothing to write about is only read.
    """
    stream = Stream(target_position)
    for index, (unit, tokens) in enumerate(zip(units, written, strict=True)):
        first = [chunk for chunk in before if chunk[1]] if not index else []
        stream.read([*first, (unit.type, unit.tokens)], unit.arrival)
        if tokens:
            stream.write(tokens)
    if conclusion:
        stream.write(conclusion, first=1 + connector)
    return stream
