"""The side of MatrixControl that writes: words that ask to go, their side data, their way into the global buffer."""

from collections import deque
from typing import Any

import numpy as np

from skipopu.hdl.cosim.matrix_array import ArraySide, Later
from skipopu.hdl.cosim.matrix_places import Instruction, Word, words
from skipopu.hdl.cosim.matrix_said import Cycle, Said
from skipopu.hdl.global_buffer import write_granule
from skipopu.hdl.npe.result_operation import lanes_of, request_layout
from skipopu.hdl.router import route_layout
from skipopu.numerics.softmax import NEGATIVE_INFINITY
from skipopu.program.isa import Opcode, Post
from skipopu.sim.tile_source import NO_TILE
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

HALF = 16  # bits of a result


class WordSide:
    """Result side of the NPE, constants and global buffer, as MatrixControl sees them."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator, later: Later) -> None:
        self._overlay, self._rng, self._later, self._said = overlay, rng, later, Said(overlay)
        self._lanes, self._dot = lanes_of(overlay), overlay.pe_array.dot_length
        self._offered: deque[tuple[Instruction, Any, int]] = deque()  # operations that the NPE has not taken
        self._begun: deque[tuple[Instruction, Any, int]] = deque()  # whose words have not all gone
        self._words: deque[Word] = deque()
        self._untaken = 0
        self._cause = Cause.IDLE
        self._score_scale = int(rng.integers(1 << 32))

    def begin(self, i: Instruction, work: Any, now: int) -> None:
        """An operation that multiplies has results."""
        if work.source != NO_TILE:
            self._offered.append((i, work, now))
            self._begun.append((i, work, now))
            self._untaken += 1

    def step(self, cycle: Cycle, now: int, array: ArraySide) -> bool:
        """One cycle; True when the last word of an operation goes."""
        self._operation(cycle, now)
        if not self._words and self._begun and self._begun[0][2] < now:
            self._words = deque(words(self._begun[0][0], self._overlay))
        word = self._words[0] if self._words else None
        taken = self._untaken < len(self._begun)  # the oldest one's sums have come
        seen = word is not None and (self._begun[0][0].opcode != Opcode.SCORES or bool(array.rounds))
        asks = bool(taken and seen and self._rng.random() < 0.85)
        port, writable = (int(self._rng.random() < 0.75) for _ in range(2))
        cycle.give(
            result_request__valid=asks, buffer_residual__granted=port, result_free=writable,
            score_scale=self._score_scale,
        )  # fmt: skip
        goes = asks and self._asks(cycle, now, array, port, writable)
        cycle.expect("reserve_result", int(goes and self._begun[0][0].opcode != Opcode.ROUTE))
        self._stands(cycle, asks)
        if not goes:
            return False
        self._words.popleft()
        if self._words:
            return False
        self._begun.popleft()
        return True

    def _operation(self, cycle: Cycle, now: int) -> None:
        """The NPE takes the operations one after the other."""
        there = bool(self._offered) and self._offered[0][2] < now
        takes = bool(there and self._rng.random() < 0.2)
        cycle.give(result_operation__ready=takes)
        cycle.expect("result_operation__valid", int(there))
        if there:
            i, work, _ = self._offered[0]
            cycle.expect("result_operation__payload", *self._said.result(i, work))
        if takes:
            self._offered.popleft()
            self._untaken -= 1

    def _stands(self, cycle: Cycle, asks: bool) -> None:
        """Sums at the adders, those that ask among them."""
        full, final = asks or self._rng.random() < 0.4, asks or self._rng.random() < 0.5
        cycle.give(pair_full=full, pair_final=final)
        if not asks:
            self._cause = (Cause.DRAINING if final else Cause.BUSY) if full else Cause.IDLE

    def _asks(self, cycle: Cycle, now: int, array: ArraySide, port: int, writable: int) -> bool:
        """A word asks to go: what it reads, where it goes."""
        i, word = self._begun[0][0], self._words[0]
        row, residual = i.listed[word.position], i.opcode == Opcode.MATMUL and i.post == Post.RESIDUAL
        route = i.opcode == Opcode.ROUTE
        fields = {"index": row, "part": word.part, "head": word.head, "last": len(self._words) == 1}
        cycle.give(result_request__payload=self._said.word(request_layout(self._overlay), fields)[0])
        goes = (port or not residual) and (writable or route)
        self._cause = Cause.BUSY if goes else Cause.ROWS if residual and not port else Cause.BACKPRESSURE
        cycle.expect("result_request__ready", int(goes))
        cycle.expect("buffer_residual__valid", int(residual and bool(writable)))
        if residual and word.residual is not None:
            cycle.expect("buffer_residual__address", word.residual % self._overlay.global_buffer.tiles)
        self._constants(cycle, i, word)
        if route:
            gates = 3 if i.columns > 2 else i.gate
            fields = {"gates": gates, "mask": i.mask, "rows": i.rows, "layer": i.layer}
            cycle.expect("route", *self._said.word(route_layout(self._overlay), fields))
        if goes:
            self._goes(now, array, i, word, row)
        return bool(goes)

    def _constants(self, cycle: Cycle, i: Instruction, word: Word) -> None:
        """Scales from 64-byte word ``address`` on, biases behind those of all columns, at a 64-byte word again."""
        if i.opcode != Opcode.MATMUL:
            return
        each, first = 32, i.address * 32 + word.channel
        for name, use, at in (("scale", i.scaled, first), ("bias", i.bias, first + -(-i.columns // each) * each)):
            if use:
                cycle.expect(f"constants_{name}__half", i.half)
                cycle.expect(f"constants_{name}__address", at // self._lanes % self._words_of_half())

    def _words_of_half(self) -> int:
        return 1 << (self._overlay.constants.half_bytes // (self._lanes * 2) - 1).bit_length()

    def _goes(self, now: int, array: ArraySide, i: Instruction, word: Word, row: int) -> None:
        o, later = self._overlay, Cycle()
        self._side_data(later, i, word)
        if i.opcode == Opcode.SCORES:
            later.expect("visible", self._visible(array.rounds[0], i, word, row))
            array.round_done = word.round_done
        self._later[now + o.global_buffer.read_stages].append(later)
        if i.opcode != Opcode.ROUTE:
            self._later[now + o.result_latency].append(self._write(word))

    def _visible(self, columns: dict[int, int], i: Instruction, word: Word, row: int) -> int:
        """Lanes whose column has a token that is not after the query's."""
        query = i.tokens - i.rows + row
        first = word.part * self._lanes
        return sum(1 << k for k in range(self._lanes) if columns.get(first + k, query + 1) <= query)

    def _side_data(self, later: Cycle, i: Instruction, word: Word) -> None:
        lanes = self._lanes
        scales = self._rng.normal(size=lanes).astype(np.float16)
        biases, tile = (int.from_bytes(self._rng.bytes(2 * n), "little") for n in (lanes, self._dot))
        later.give(
            constants_scale__data=int.from_bytes(scales.tobytes(), "little"), constants_bias__data=biases,
            buffer_residual__data=tile,
        )  # fmt: skip
        constant = self._score_scale if i.opcode == Opcode.SCORES else int(np.float32(1).view(np.uint32))
        same = np.full(lanes, constant, np.uint32)
        found = scales.astype(np.float32).view(np.uint32) if i.opcode == Opcode.MATMUL and i.scaled else same
        later.expect("scale", int.from_bytes(found.tobytes(), "little"))
        later.expect("bias", biases)
        if word.residual is not None:
            first = min(word.columns) * HALF
            later.expect("residual", tile >> first & (1 << lanes * HALF) - 1)

    def _write(self, word: Word) -> Cycle:
        """Elements of a tile, each from its lane or −∞."""
        later, number = Cycle(), self._rng.integers(0, 1 << HALF, self._lanes)
        later.give(result_valid=1, result=sum(int(n) << HALF * k for k, n in enumerate(number)))
        later.expect("buffer_result__valid", int(word.tile is not None))
        if word.tile is None:
            return later
        size, data, said = write_granule(self._overlay), 0, 0
        for element, lane in word.columns.items():
            data |= (NEGATIVE_INFINITY if lane < 0 else int(number[lane])) << HALF * element
            said |= (1 << HALF) - 1 << HALF * element
        later.expect("buffer_result__address", word.tile % self._overlay.global_buffer.tiles)
        later.expect("buffer_result__data", data, said)
        later.expect("buffer_result__mask", sum(1 << g for g in {element // size for element in word.columns}))
        return later

    def cause(self, cycle: Cycle, array: ArraySide, passes: bool, drains: bool) -> None:
        """The NPE's, in the order of `sim.npe`: an entry may leave PSUM, which has some, or an operation drains."""
        taken, last = array.blocks > 0 and self._rng.random() < 0.4, self._rng.random() < 0.5
        cycle.give(sums_taken=taken, sums_last=last)
        found = self._cause
        if taken or passes:
            found = Cause.BUSY
        elif found == Cause.IDLE and (array.blocks > 0 or drains):
            found = Cause.DRAINING
        cycle.expect("npe_cause", int(found))
        array.left = int(taken and last)
