"""Random work for the DMA: weight operations, K/V requests, write bursts."""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.axi import PORT_ADDRESS_BITS
from skipopu.spec.overlay import BOUNDARY, HBM_BEAT_BYTES, Overlay

Ints = NDArray[np.int64]
SHARES = (0.5, 0.25, 0.25)  # of the bursts: weights, K/V, writes
SETS = ((0.3, 1), (0.4, 20), (0.3, 300))  # share of the operations, chunks of a port at most
HOT_PAGES, HOT_SHARE = 6, 0.7  # pages to which reads and writes keep coming back, how often
WHOLE_SHARE = 0.4  # of the bursts are as long as they can be


@dataclass(frozen=True)
class DmaWork:
    """What the DMA is asked for. Addresses and lengths in chunks."""

    operations: Ints  # [operation, (address, sets)]
    kv: Ints  # [port, request, (address, chunks)]
    kv_count: Ints  # [port]
    writes: Ints  # [chunk, (port, last, address, chunks)]
    write_data: NDArray[np.uint64]  # [chunk, 64-bit word]
    bursts: int  # AXI bursts that come of it


class _Places:
    """Random addresses, many of them in the same few pages."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator) -> None:
        self._rng, self._chunks = rng, (1 << PORT_ADDRESS_BITS) // overlay.chunk_bytes
        self.page = BOUNDARY // overlay.chunk_bytes
        self._hot = rng.integers(self._chunks // self.page - 1, size=HOT_PAGES) * self.page

    def draw(self, most: int) -> int:
        """Return where ``most`` chunks fit into the port."""
        rng = self._rng
        if rng.random() < HOT_SHARE:
            return int(rng.choice(self._hot) + rng.integers(self.page))
        return int(rng.integers(self._chunks - most))

    def burst(self, most: int) -> tuple[int, int]:
        """Return address and length of a burst of ``most`` chunks, cut at a page's end."""
        address = self.draw(most)
        return address, min(most, self.page - address % self.page)


def dma_work(overlay: Overlay, bursts: int, rng: np.random.Generator) -> DmaWork:
    """Return random work of at least ``bursts`` AXI bursts."""
    places = _Places(overlay, rng)
    weights, kv, writes = (math.ceil(bursts * share) for share in SHARES)
    operations, asked = _operations(overlay, weights, places, rng)
    requests, count = _kv_requests(overlay, kv, places, rng)
    chunks = _writes(overlay, writes, places, rng)
    words = overlay.chunk_bytes // 8
    data = rng.integers(2**64, size=(len(chunks), words), dtype=np.uint64)
    total = asked + int(count.sum()) + int(chunks[:, 1].sum())
    return DmaWork(operations, requests, count, chunks, data, total)


def _operations(overlay: Overlay, bursts: int, places: _Places, rng: np.random.Generator) -> tuple[Ints, int]:
    """Weight operations, and bursts that they make on all ports."""
    found: list[tuple[int, int]] = []
    asked = 0
    while asked < bursts or not found:
        most = rng.choice([sets for _, sets in SETS], p=[share for share, _ in SETS])
        sets = int(rng.integers(1, 1 + most))
        found.append((places.draw(sets), sets))
        asked += overlay.dma.hbm_ports * _pieces(*found[-1], places.page, overlay.hbm_burst_chunks)
    return np.array(found, np.int64), asked


def _pieces(address: int, chunks: int, page: int, burst: int) -> int:
    """Bursts of consecutive chunks, none across a page's end."""
    ends = [address, *range((address // page + 1) * page, address + chunks, page), address + chunks]
    return sum(math.ceil((end - begin) / burst) for begin, end in itertools.pairwise(ends))


def _length(overlay: Overlay, rng: np.random.Generator) -> int:
    burst = overlay.hbm_burst_chunks
    return burst if rng.random() < WHOLE_SHARE else int(rng.integers(1, 1 + burst))


def _kv_requests(overlay: Overlay, bursts: int, places: _Places, rng: np.random.Generator) -> tuple[Ints, Ints]:
    ports = overlay.dma.hbm_ports
    count = rng.multinomial(bursts, np.full(ports, 1 / ports))
    requests = np.zeros((ports, int(count.max(initial=0)) + 1, 2), np.int64)
    for port in range(ports):
        for n in range(count[port]):
            requests[port, n] = places.burst(_length(overlay, rng))
    return requests, count.astype(np.int64)


def _writes(overlay: Overlay, bursts: int, places: _Places, rng: np.random.Generator) -> Ints:
    """Chunks of bursts, those of different ports mixed."""
    queues: list[list[tuple[int, ...]]] = [[] for _ in range(overlay.dma.hbm_ports)]
    for port in rng.integers(len(queues), size=max(bursts, 1)):
        address, chunks = places.burst(_length(overlay, rng))
        queues[port] += [(port, n == chunks - 1, address, chunks) for n in range(chunks)]
    return np.array(_mixed(queues, rng), np.int64)


def _mixed(queues: list[list[tuple[int, ...]]], rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Take from the queues in turn, now and then changing within a burst."""
    found: list[tuple[int, ...]] = []
    at = [0] * len(queues)
    left = sum(map(len, queues))
    port = 0
    while left:
        stays = at[port] < len(queues[port]) and rng.random() < 0.8
        if not stays:
            port = int(rng.choice([p for p, queue in enumerate(queues) if at[p] < len(queue)]))
        found.append(queues[port][at[port]])
        at[port] += 1
        left -= 1
    return found


def write_beats(work: DmaWork, ports: int) -> NDArray[np.uint64]:
    """Beats that each port writes, in order, [port, beat, 64-bit word]; short ports end in zeros."""
    words = HBM_BEAT_BYTES // 8
    beats = [work.write_data[work.writes[:, 0] == port].reshape(-1, words) for port in range(ports)]
    found = np.zeros((ports, max(map(len, beats)) + 1, words), np.uint64)
    for port, each in enumerate(beats):
        found[port, : len(each)] = each
    return found
