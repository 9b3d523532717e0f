"""Emits instructions and turns what they read and write into semaphores.

Every instruction declares the regions (parts of the global buffer, of DDR4, of the K/V cache, mask registers,
constants halves) it reads and writes. A hazard between two engines becomes one signal and one wait; a hazard
inside an engine needs nothing but order, except that a matrix operation must fence off results in flight.
"""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.program.isa import COLUMN, ENGINE_OF, ENGINES, FIELDS, Fields, Opcode
from skipopu.spec.ledger import Block, Part


class Tiles(NamedTuple):
    """A range of the global buffer as a region; ranges that overlap are hazards of one another."""

    first: int
    end: int


Region = Hashable
ENGINE_INDEX = {block: index for index, block in enumerate(ENGINES)}
OPCODE_ENGINE = {op: ENGINE_INDEX.get(block, -1) for op, block in ENGINE_OF.items()}
COMPUTE = ENGINE_INDEX[Block.PE_ARRAY]


@dataclass
class _Access:
    writer: int = -1
    readers: dict[int, int] = field(default_factory=dict)  # engine → its last reader


class Builder:
    """Collects a program; ``step``, ``layer``, ``first_row``, ``part`` of the current position tag each instruction."""

    def __init__(self) -> None:
        self.rows: list[list[int]] = []
        self.tags: list[tuple[int, int, int]] = []
        self.step = self.layer = 0
        self.first_row = 0
        self.part = Part.OUTSIDE
        self.parts: list[Part] = []
        self._engine: list[int] = []
        self._access: dict[Region, _Access] = {}
        self._tiles: dict[Tiles, _Access] = {}  # those of the global buffer, which may overlap
        # [producer engine][consumer engine] → newest producer already waited for
        self._waited = [[-1] * len(ENGINES) for _ in ENGINES]
        self._fence = -1  # newest fenced matrix operation: everything before it is written

    def emit(
        self,
        opcode: Opcode,
        reads: Iterable[Region] = (),
        writes: Iterable[Region] = (),
        ignore: int = -1,
        **fields: int,
    ) -> int:
        """Append an instruction and return its index; the stream flag handles hazards against ``ignore``."""
        row = [0] * len(FIELDS)
        row[0] = opcode
        for name, value in fields.items():
            row[COLUMN[name]] = value
        index, engine = len(self.rows), OPCODE_ENGINE[opcode]
        self.rows.append(row)
        self.tags.append((self.step, self.layer, self.first_row))
        self.parts.append(self.part)
        self._engine.append(engine)
        # an engine is in order: waiting for its newest producer covers the older ones
        newest: dict[int, int] = {}
        for producer in self._hazards(reads, writes, index, engine) - {ignore}:
            source = self._engine[producer]
            newest[source] = max(newest.get(source, -1), producer)
        for producer in newest.values():
            self._order(producer, index, engine)
        return index

    def _hazards(
        self, reads: Iterable[Region], writes: Iterable[Region], index: int, engine: int
    ) -> set[int]:
        found: set[int] = set()
        for region in reads:
            found.update(access.writer for access in self._touching(region))
            self._of(region).readers[engine] = index
        for region in writes:
            for access in self._touching(region):
                found.add(access.writer)
                found.update(r for e, r in access.readers.items() if r != index and e != engine)
            self._replace(region, index)
        return found - {-1, index}

    def _touching(self, region: Region) -> list[_Access]:
        """Accesses of the region and, for a range of the global buffer, of every range that overlaps it."""
        if not isinstance(region, Tiles):
            return [self._access[region]] if region in self._access else []
        return [a for r, a in self._tiles.items() if r.first < region.end and region.first < r.end]

    def _of(self, region: Region) -> _Access:
        if isinstance(region, Tiles):
            return self._tiles.setdefault(region, _Access())
        return self._access.setdefault(region, _Access())

    def _replace(self, region: Region, index: int) -> None:
        """Make ``index`` the writer; ranges inside a rewritten range of the global buffer are history."""
        if not isinstance(region, Tiles):
            self._access[region] = _Access(writer=index)
            return
        for r in [r for r in self._tiles if region.first <= r.first and r.end <= region.end]:
            del self._tiles[r]
        self._tiles[region] = _Access(writer=index)

    def _order(self, producer: int, consumer: int, engine: int) -> None:
        source = self._engine[producer]
        if source == engine:
            if engine == COMPUTE and producer >= self._fence:
                self.rows[consumer][COLUMN["fence"]] = 1
                self._fence = consumer
            return
        if self._waited[source][engine] >= producer:
            return
        self._waited[source][engine] = producer
        self.rows[producer][COLUMN["signal"]] |= 1 << engine
        self.rows[consumer][COLUMN["wait"]] |= 1 << source

    def finish(self) -> tuple[Fields, NDArray[np.int64]]:
        """Append HALT; return the field table [n, fields] and the tags [n, (step, layer, first row)]."""
        self.emit(Opcode.HALT)
        return np.array(self.rows, np.int64), np.array(self.tags, np.int64)
