"""Logits of every step: each step writes them to the same place, so that the writes are told apart by their order."""

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.program.context import Context
from skipopu.program.image_memory import StripedMemory
from skipopu.spec.overlay import DDR_BEAT_BYTES, DDR_CHANNELS, FP16_BYTES

Bits = NDArray[np.uint16]


def logits_by_step(places: NDArray[np.int64], beats: NDArray[np.uint64], c: Context) -> list[Bits]:
    """Return FP16 bits [vocabulary] of every step of which all logits were written.

    ``places`` [write, (channel, byte address)], ``beats`` [write, 64-bit word]; of a channel in order.
    """
    first, size = c.memory.ddr["logits"], c.shape.dimensions.vocabulary * FP16_BYTES
    word = DDR_BEAT_BYTES * DDR_CHANNELS
    words = -(-size // word)
    versions: dict[tuple[int, int], list[NDArray[np.uint8]]] = {}
    for (channel, address), data in zip(places.tolist(), beats.astype("<u8"), strict=True):
        beat = (address - first // DDR_CHANNELS) // DDR_BEAT_BYTES
        if 0 <= beat < words:
            versions.setdefault((channel, beat), []).append(data.view(np.uint8))
    all_beats = [(channel, beat) for beat in range(words) for channel in range(DDR_CHANNELS)]
    needed = [p for p in all_beats if p[1] * word + p[0] * DDR_BEAT_BYTES < size]
    steps = min(len(versions.get(place, ())) for place in needed)
    return [_step(versions, step, words, size) for step in range(steps)]


def _step(versions: dict[tuple[int, int], list[NDArray[np.uint8]]], step: int, words: int, size: int) -> Bits:
    memory = StripedMemory()
    for (channel, beat), data in versions.items():
        if step < len(data):
            memory.channels[channel].write(beat * DDR_BEAT_BYTES, data[step])
    return memory.read(0, words * DDR_BEAT_BYTES * DDR_CHANNELS)[:size].view("<u2").astype(np.uint16)


def different_logits(model: Bits, rtl: list[Bits]) -> OverlayDifference | None:
    """Compare [step, vocabulary] bit by bit."""
    for step, ours in enumerate(model):
        if step >= len(rtl):
            return OverlayDifference("logits", None, f"step {step}", "written", "not written")
        places = np.flatnonzero(ours != rtl[step])
        if places.size:
            at = int(places[0])
            where = f"step {step}, logit {at} ({places.size} of {len(ours)} differ)"
            return OverlayDifference("logits", None, where, f"{ours[at]:#06x}", f"{rtl[step][at]:#06x}")
    if len(rtl) > len(model):
        return OverlayDifference("logits", None, "steps", str(len(model)), str(len(rtl)))
    return None
