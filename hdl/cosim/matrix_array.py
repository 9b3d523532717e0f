"""The side of MatrixControl that reads: IFM's requests, grants of NPE and global buffer, rows, chunks of K."""

from collections import deque
from typing import Any

import numpy as np

from skipopu.hdl.cosim.matrix_places import Instruction, Operand, operands
from skipopu.hdl.cosim.matrix_said import Cycle, Said
from skipopu.hdl.global_buffer import write_back_latency
from skipopu.hdl.kv_layout import kv_shape
from skipopu.hdl.matrix_visibility import ROUNDS
from skipopu.hdl.psum import HALVES
from skipopu.hdl.tile_loop import ROW_REQUEST
from skipopu.program.isa import Opcode
from skipopu.sim.tile_source import CONSTANT_TILE, KV_TILE, NO_TILE, WEIGHT_TILE
from skipopu.spec.ker_shape import ker_shape
from skipopu.spec.ledger import Cause
from skipopu.spec.overlay import Overlay

Later = dict[int, list[Cycle]]
CHUNKS = 2  # of a round at most, here
FEW = 4  # tokens after the last query


class ArraySide:
    """PE array, operand side of the NPE, global buffer and KV buffer, as MatrixControl sees them."""

    def __init__(self, overlay: Overlay, rng: np.random.Generator, later: Later) -> None:
        self._overlay, self._rng, self._later, self._said = overlay, rng, later, Said(overlay)
        self._back = write_back_latency(overlay)
        self._tiles = overlay.global_buffer.tiles
        self.instruction: Instruction | None = None
        self._todo: deque[Operand] = deque()
        self._credit = self._arrivals = self._unclosed = self.blocks = self._rest = 0
        self._missing = {"weights": 0, "row": 0, "psum": 0}
        self._busy, self._operand_cause = False, Cause.ROWS
        self.rounds: deque[dict[int, int]] = deque()  # that were shown and are needed: column → token
        self._chunks: deque[tuple[int, bool, bool]] = deque()  # of this operation: round, its last, the last of all
        self._lanes: dict[str, int] = {}
        self.round_done, self._round, self._closed, self._ended, self.left = False, -1, 0, False, 0

    def begin(self, i: Instruction, work: Any, now: int) -> None:
        """An operation is taken; it is there from the next cycle on."""
        self.instruction, self._work = i, work
        self._todo = deque(operands(i, self._overlay))
        self._arrivals = len(self._todo) if i.stream else 0
        scores = i.opcode == Opcode.SCORES
        turns = i.rounds if scores else 1
        self._unclosed = 0 if work.source == NO_TILE else turns * (work.round_blocks if scores else work.blocks)
        self._chunks = deque(
            (turn, chunk == last, chunk == last and turn == i.rounds - 1)
            for turn in range(turns if scores else 0)
            for last in [int(self._rng.integers(0, CHUNKS))]
            for chunk in range(last + 1)
        )
        self._rest, self._round = int(self._rng.integers(0, 6)), -1
        cycle = Cycle()
        cycle.expect("npe_operation", *self._said.operand(i, work))
        self._later[now + 1].append(cycle)

    def operands(self, cycle: Cycle, now: int) -> bool:
        """IFM asks for a tile or not, and gets it or not; True when it goes through the operand lanes."""
        rng, i = self._rng, self.instruction
        asks = i is not None and bool(self._todo) and rng.random() < 0.8
        free, ports, writable = (int(rng.random() < 0.75) for _ in range(3))
        tile = self._todo[0] if self._todo else Operand(0, 0, 0, 0)
        arrived = not (i is not None and i.stream) or self._credit > 0
        back = tile.back is not None
        reads = asks and arrived and free
        granted = bool(reads and ports and (writable or not back))
        cycle.give(
            request__valid=asks, npe_request__ready=free and ports and (writable or not back), operand__granted=ports,
            read__valid=bool(reads), write_back_free=writable,
        )  # fmt: skip
        cycle.expect("npe_request__valid", int(asks and arrived))
        cycle.expect("reserve_write_back", int(granted and back))
        if asks:
            assert i is not None
            cycle.expect("request__ready", int(free and ports and arrived and (writable or not back)))
            self._address(cycle, i, tile)
        self._operand_cause = self._why(asks, arrived, bool(free), ports, back and not writable)
        self._stream(cycle, granted)
        if not granted:
            return False
        self._todo.popleft()
        if back:
            self._write_back(now + self._back, tile)
        return tile.passes

    def _why(self, asks: bool, arrived: bool, free: bool, ports: int, reserved: bool) -> Cause:
        """In the order of `sim.ifm`."""
        if not asks:
            return Cause.ROWS
        if not arrived:
            return Cause.DDR
        if not free:
            return Cause.DRAINING
        return Cause.BACKPRESSURE if ports and reserved else Cause.ROWS

    def _address(self, cycle: Cycle, i: Instruction, tile: Operand) -> None:
        cycle.give(listed=i.listed[tile.position])
        fields = {"row": tile.row, "tile": tile.tile}
        cycle.expect("npe_request__payload", *self._said.word(ROW_REQUEST, fields))
        cycle.expect("operand__packed", int(tile.second is not None))
        cycle.expect("operand__address_a", tile.address % self._tiles)
        if tile.second is not None:
            cycle.expect("operand__address_b", tile.second % self._tiles)
        if tile.passes and not i.tokens and i.opcode in (Opcode.MATMUL, Opcode.NORMALIZE):
            cycle.expect("gamma__half", i.half ^ (i.opcode == Opcode.MATMUL))
            cycle.expect("gamma__address", tile.tile)
            if self._overlay.npe.layer_norm:
                cycle.expect("beta__address", i.k_tiles + tile.tile)

    def _stream(self, cycle: Cycle, granted: bool) -> None:
        """Tiles of a streaming load arrive."""
        i = self.instruction
        arrives = self._arrivals > 0 and self._rng.random() < 0.6
        cycle.give(stream_tile=arrives)
        self._arrivals -= arrives
        self._credit += arrives - (granted and i is not None and bool(i.stream))

    def _write_back(self, when: int, tile: Operand) -> None:
        assert tile.back is not None
        number, later = int.from_bytes(self._rng.bytes(self._overlay.tile_bytes), "little"), Cycle()
        later.give(write_back_valid=1, row=number)
        later.expect("write_back__valid", 1)
        later.expect("write_back__address", tile.back % self._tiles)
        later.expect("write_back__data", number)
        self._later[when].append(later)

    def rows(self, cycle: Cycle) -> bool:
        """Rows are issued, column blocks closed, chunks of K come and go; True with the operation's last row."""
        active = self.instruction is not None
        self._show_chunks(cycle)
        self._missing = {name: int(self._rng.random() < 0.3) for name in self._missing}
        idle = active and self._work.source == NO_TILE
        self._missing |= {"weights": 0, "psum": 0} if idle else {}
        self._busy = active and not any(self._missing.values())
        ends = self._busy and not self._todo and not self._chunks and self._unclosed <= 1 and self._rest == 0
        self._rest -= self._busy and self._rest > 0
        room = self.blocks < HALVES
        ends = bool(ends and (room or self._unclosed == 0))
        closes = self._unclosed > 0 if ends else self._unclosed > 1 and self._rng.random() < 0.4
        closes = closes and self._busy and room
        cycle.give(
            busy=self._busy, ended=ends, closes=closes,
            missing=sum(bit << k for k, bit in enumerate(self._missing.values())),
        )  # fmt: skip
        self._closed = int(closes)
        self._unclosed -= self._closed
        self._ended = ends
        return ends

    def after(self) -> None:
        """The next cycle."""
        self.blocks += self._closed - self.left
        if self.round_done:
            self.rounds.popleft()
        self.round_done = False
        if self._ended:
            self.instruction = None

    def _show_chunks(self, cycle: Cycle) -> None:
        """Chunks of K of a running operation; else those of whoever comes next, which mean nothing."""
        rng, keys = self._rng, self.instruction is not None and self.instruction.opcode == Opcode.SCORES
        valid, moves, last, end = (bool(rng.random() < 0.6) for _ in range(4))
        if keys and self._chunks and self.instruction is not None:
            turn, last, end = self._chunks[0]
            valid = valid and (turn == self._round or len(self.rounds) < ROUNDS)
            if valid and turn != self._round:
                self._round = turn
                self._draw_round(self.instruction.tokens)
        else:
            self._draw_lanes(kv_shape(self._overlay).tokens)
        moves = moves and valid and bool(self._chunks or not keys)
        if keys and moves:
            self._chunks.popleft()
        cycle.give(chunk_valid=valid, chunk_moves=moves, chunk_last=last, chunk_end=end, **self._lanes)

    def _draw_lanes(self, tokens_end: int) -> dict[int, int]:
        """Give some lanes a token below ``tokens_end``."""
        shape, rng = kv_shape(self._overlay), self._rng
        most = min(ker_shape(self._overlay).slots, shape.lanes)
        chosen = sorted(rng.choice(shape.lanes, int(rng.integers(1, most + 1)), replace=False).tolist())
        tokens = {lane: int(rng.integers(0, tokens_end)) for lane in chosen}
        width = max(shape.tokens - 1, 1).bit_length()
        self._lanes = {
            "chunk_mask": sum(1 << lane for lane in tokens),
            "chunk_tokens": sum(token << lane * width for lane, token in tokens.items()),
        }
        return tokens

    def _draw_round(self, last: int) -> None:
        """Of tokens before and about the query's; a token's column is its lane's number, or its rank."""
        tokens, by_rank = self._draw_lanes(last + FEW), ker_shape(self._overlay).by_rank
        self.rounds.append({rank if by_rank else lane: tokens[lane] for rank, lane in enumerate(tokens)})

    def cause(self) -> int:
        """Of a cycle of the PE array with an operation, in the order of `sim.pe_array`."""
        source = self._work.source
        if self._busy:
            return int(Cause.IDLE if source == NO_TILE else Cause.BUSY)
        row = int(self._operand_cause if self._missing["row"] else Cause.ROWS)
        if self._missing["weights"]:
            return {KV_TILE: int(Cause.KV), WEIGHT_TILE: int(Cause.WEIGHTS), CONSTANT_TILE: row}.get(source, row)
        return int(self._operand_cause if self._missing["row"] else Cause.BACKPRESSURE)

    def first_cause(self) -> int:
        """Of its first cycle: nothing is there yet."""
        found = {KV_TILE: Cause.KV, WEIGHT_TILE: Cause.WEIGHTS}.get(int(self._work.source), Cause.ROWS)
        return int(found)
