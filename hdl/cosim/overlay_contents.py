"""Contents of both memories: the image for the bench, and the first byte in which the overlay left another one."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.program.image_memory import SparseMemory
from skipopu.spec.overlay import BOUNDARY

Beats = tuple[NDArray[np.int64], NDArray[np.uint64]]  # keys, and what stands there [beat, 64-bit word]
WORD_BYTES = 8


def beats_of(memories: tuple[SparseMemory, ...], beat_bytes: int, shift: int) -> Beats:
    """Return all pages as beats; a key is the port's number above ``shift`` bits of the beat's number in all memory."""
    keys, data = [np.zeros(0, np.int64)], [np.zeros((0, beat_bytes // WORD_BYTES), np.uint64)]
    for port, memory in enumerate(memories):
        first = (port << shift) + (port << PORT_ADDRESS_BITS) // beat_bytes
        for address, page in memory.pages():
            keys.append(first + address // beat_bytes + np.arange(BOUNDARY // beat_bytes))
            data.append(page.view("<u8").reshape(-1, beat_bytes // WORD_BYTES).astype(np.uint64))
    return np.concatenate(keys), np.concatenate(data)


def written_over(memories: tuple[SparseMemory, ...], beats: Beats, beat_bytes: int, shift: int) -> None:
    """Put the beats that the overlay wrote into ``memories``."""
    for key, data in zip(beats[0].tolist(), beats[1], strict=True):
        port, address = key >> shift, (key & ((1 << shift) - 1)) * beat_bytes
        memories[port].write(address - (port << PORT_ADDRESS_BITS), data.astype("<u8").view(np.uint8))


def dense(memories: tuple[SparseMemory, ...], beats: int, beat_bytes: int) -> NDArray[np.uint64]:
    """Return the first ``beats`` of every channel, [channel, beat, 64-bit word]."""
    parts = [memory.read(0, beats * beat_bytes).view("<u8").reshape(beats, -1) for memory in memories]
    return np.stack(parts).astype(np.uint64)


def written_dense(memories: tuple[SparseMemory, ...], contents: NDArray[np.uint64]) -> None:
    """Put contents [channel, beat, word] into ``memories``, page by page where they differ from what is there."""
    for memory, words in zip(memories, contents, strict=True):
        data = words.astype("<u8").reshape(-1).view(np.uint8)
        before = memory.read(0, len(data))
        for page in np.unique(np.flatnonzero(data != before) // BOUNDARY).tolist():
            memory.write(page * BOUNDARY, data[page * BOUNDARY : (page + 1) * BOUNDARY])


def different_byte(
    name: str, model: tuple[SparseMemory, ...], rtl: tuple[SparseMemory, ...], regions: Mapping[str, int]
) -> OverlayDifference | None:
    """Compare all ports of a memory; ``regions`` name → first byte in a port, to say where it is."""
    for port, (ours, theirs) in enumerate(zip(model, rtl, strict=True)):
        at = _first(ours, theirs)
        if at is not None:
            values = (f"{int(memory.read(at, 1)[0]):#04x}" for memory in (ours, theirs))
            where = f"port {port}, byte {at:#x} ({_region(at, regions)})"
            return OverlayDifference(f"{name} contents", None, where, *values)
    return None


def _first(ours: SparseMemory, theirs: SparseMemory) -> int | None:
    pages = sorted({address for memory in (ours, theirs) for address, _ in memory.pages()})
    for address in pages:
        differing = np.flatnonzero(ours.read(address, BOUNDARY) != theirs.read(address, BOUNDARY))
        if differing.size:
            return address + int(differing[0])
    return None


def _region(at: int, regions: Mapping[str, int]) -> str:
    name, first = max(((n, a) for n, a in regions.items() if a <= at), key=lambda each: each[1], default=("", 0))
    return f"{name or 'start'} + {at - first:#x}"
