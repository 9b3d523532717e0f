"""Random stalls: in which cycles a source has something new and a sink takes something."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pattern = NDArray[np.uint8]  # [cycle]: 1 where the stream may move; repeats at its end
LENGTH = 1 << 16
STRETCH = 64  # cycles of one rate on average
RATES = (1.0, 1.0, 0.9, 0.5, 0.1, 0.02)


def stalls(rng: np.random.Generator) -> Pattern:
    """Return a pattern made of stretches, each with a rate of its own, from never to almost always stalled."""
    lengths = rng.geometric(1 / STRETCH, LENGTH // STRETCH * 2)
    rates = np.repeat(rng.choice(RATES, len(lengths)), lengths)[:LENGTH]
    return (rng.random(len(rates)) < rates).astype(np.uint8)


def patterns(rng: np.random.Generator, streams: tuple[str, ...]) -> dict[str, Pattern]:
    """Return a pattern for each stream, all of one length."""
    found = {name: stalls(rng) for name in streams}
    length = min(map(len, found.values()))
    return {name: pattern[:length] for name, pattern in found.items()}


class Source:
    """What a source offers: the next item from the first cycle its pattern allows until it is taken."""

    def __init__(self, items: list[Any], pattern: Pattern) -> None:
        self._items, self._pattern, self._next, self.valid = items, pattern, 0, False

    def offer(self, cycle: int) -> Any:
        """Return the item that stands at the port in ``cycle``, None if there is none."""
        if not self.valid and self._next < len(self._items) and self._pattern[cycle % len(self._pattern)]:
            self.valid = True
        return self._items[self._next] if self.valid else None

    def taken(self) -> None:
        """Go on to the next item: the other side took this one."""
        self._next += 1
        self.valid = False
