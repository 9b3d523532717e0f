"""Memory contents, sparse: what was never written is zero."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.overlay import BOUNDARY, DDR_BEAT_BYTES, DDR_CHANNELS

Bytes = NDArray[np.uint8]


class SparseMemory:
    """Bytes of one channel or port, in pages of 4 KiB."""

    def __init__(self) -> None:
        self._pages: dict[int, Bytes] = {}

    def read(self, address: int, size: int) -> Bytes:
        """Return a copy of ``size`` bytes."""
        found = np.zeros(size, np.uint8)
        for page, inside, outside in _pieces(address, size):
            if page in self._pages:
                found[outside] = self._pages[page][inside]
        return found

    def write(self, address: int, data: Bytes) -> None:
        """Put ``data`` at ``address``."""
        for page, inside, outside in _pieces(address, len(data)):
            self._pages.setdefault(page, np.zeros(BOUNDARY, np.uint8))[inside] = data[outside]

    def pages(self) -> Iterator[tuple[int, Bytes]]:
        """Yield (address, 4 KiB) of all that was written, in rising order."""
        yield from ((page * BOUNDARY, self._pages[page]) for page in sorted(self._pages))

    def copy(self) -> "SparseMemory":
        """Return a memory of its own with the same contents."""
        found = SparseMemory()
        found._pages = {page: data.copy() for page, data in self._pages.items()}
        return found

    def __eq__(self, other: object) -> bool:
        """Whether the contents are equal, however they came about."""
        if not isinstance(other, SparseMemory):
            return NotImplemented
        nothing = np.zeros(BOUNDARY, np.uint8)
        pages = self._pages.keys() | other._pages.keys()
        return all(np.array_equal(self._pages.get(p, nothing), other._pages.get(p, nothing)) for p in pages)

    __hash__ = None  # type: ignore[assignment]  # contents change


def _pieces(address: int, size: int) -> Iterator[tuple[int, slice, slice]]:
    """Yield page, bytes of the page, bytes of the whole."""
    done = 0
    while done < size:
        page, at = divmod(address + done, BOUNDARY)
        count = min(size - done, BOUNDARY - at)
        yield page, slice(at, at + count), slice(done, done + count)
        done += count


class StripedMemory:
    """DDR4 as tensors see it: over two channels, 64 bytes in turn."""

    def __init__(self, channels: tuple[SparseMemory, ...] | None = None) -> None:
        self.channels = channels or tuple(SparseMemory() for _ in range(DDR_CHANNELS))

    def read(self, address: int, size: int) -> Bytes:
        """Return a copy of ``size`` bytes from ``address``, a multiple of a word of all channels, on."""
        words, own = -(-size // self._word), self._own(address)
        parts = [c.read(own, words * DDR_BEAT_BYTES).reshape(words, DDR_BEAT_BYTES) for c in self.channels]
        return np.stack(parts, axis=1).reshape(-1)[:size]

    def write(self, address: int, data: Bytes) -> None:
        """Put ``data``; the last word is filled up with zeros."""
        words = np.zeros((-(-len(data) // self._word), len(self.channels), DDR_BEAT_BYTES), np.uint8)
        words.reshape(-1)[: len(data)] = data
        for number, channel in enumerate(self.channels):
            channel.write(self._own(address), words[:, number].reshape(-1))

    def copy(self) -> "StripedMemory":
        """Return a memory of its own with the same contents."""
        return StripedMemory(tuple(channel.copy() for channel in self.channels))

    @property
    def _word(self) -> int:
        return DDR_BEAT_BYTES * len(self.channels)

    def _own(self, address: int) -> int:
        if address % self._word:
            raise ValueError(f"address {address}; a transfer begins at a multiple of {self._word}")
        return address // len(self.channels)
