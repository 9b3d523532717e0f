"""Contents of the AXI memory: its image, else a function of port and address, until a beat is written."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import WORDS, AxiMemory
from skipopu.numerics.jit import jit
from skipopu.spec.overlay import HBM_BEAT_BYTES

PORT_SHIFT = 40  # of a key: more than a beat's address has bits
UNKNOWN, IMAGE = -1, -2  # version of a beat without contents; of the image's first beat, the others below
MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # SplitMix64
SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


@jit
def word(key: int, place: int) -> Any:
    """The 64-bit word ``place`` of a beat that nobody has written."""
    z = np.uint64(key * WORDS + place + 1) * MIX[0]
    z = (z ^ (z >> SHIFTS[0])) * MIX[1]
    z = (z ^ (z >> SHIFTS[1])) * MIX[2]
    return z ^ (z >> SHIFTS[2])


@jit
def beat_key(port: int, address: int) -> int:
    """The key of the beat at a byte address of a port."""
    return port << PORT_SHIFT | address // HBM_BEAT_BYTES


@jit
def _slot(memory: AxiMemory, key: int) -> Any:
    """Where ``key`` stands in the hash table, or where it would."""
    mask = len(memory.keys) - 1
    slot = np.int64(word(key, 0) & np.uint64(mask))
    while memory.keys[slot] != key and memory.keys[slot] != -1:
        slot = (slot + 1) & mask
    return slot


@jit
def version(memory: AxiMemory, key: int) -> int:
    """Beat of its port's log that was last promised for ``key``; below 0 if none was: the image's, or UNKNOWN."""
    slot = _slot(memory, key)
    return memory.beats[slot] if memory.keys[slot] == key else UNKNOWN


@jit
def promise(memory: AxiMemory, key: int, beat: int) -> None:
    """From now on reads find the log's ``beat``, which W has brought or will bring."""
    slot = _slot(memory, key)
    memory.keys[slot] = key
    memory.beats[slot] = beat


@jit
def found_word(memory: AxiMemory, key: int, found: int, place: int) -> Any:
    """The 64-bit word ``place`` of the beat ``key`` in the version ``found``."""
    if found >= 0:
        return memory.log[key >> PORT_SHIFT, found, place]
    return word(key, place) if found == UNKNOWN else memory.image[IMAGE - found, place]


@jit
def _note_image(memory: AxiMemory, keys: NDArray[np.int64]) -> None:
    for n in range(len(keys)):
        promise(memory, keys[n], IMAGE - n)


def preload(memory: AxiMemory, keys: NDArray[np.int64], beats: NDArray[np.uint64]) -> None:
    """Let reads find ``beats`` [beat, word] at ``keys`` (`beat_key`) until they are written; once, before tick 0."""
    memory.image[:] = beats
    _note_image(memory, keys)


@jit
def _copy(memory: AxiMemory, found: Any, out: Any) -> None:
    for n in range(len(found)):
        key = memory.keys[found[n]]
        for place in range(WORDS):
            out[n, place] = memory.log[key >> PORT_SHIFT, memory.beats[found[n]], place]


def contents(memory: AxiMemory) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Keys of all beats written, in order, and what stands there, [beat, word]."""
    places = np.flatnonzero((memory.keys >= 0) & (memory.beats >= 0))
    places = places[np.argsort(memory.keys[places])]
    out = np.zeros((len(places), WORDS), np.uint64)
    _copy(memory, places, out)
    return memory.keys[places], out
