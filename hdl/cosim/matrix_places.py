"""Where operands and results of a matrix instruction lie: the layouts as they are stated, tile by tile."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from skipopu.hdl.npe.result_operation import head_words, lanes_of
from skipopu.program.isa import Opcode, Post
from skipopu.spec.overlay import Overlay


@dataclass(frozen=True)
class Instruction:
    """A matrix instruction, and what it finds when it begins."""

    fields: dict[str, int]
    listed: tuple[int, ...]  # rows of the block that execute
    rounds: int  # of K/V

    def __getattr__(self, name: str) -> int:
        return self.fields[name]


class Operand(NamedTuple):
    """A row tile that is read."""

    position: int  # in the list of executed rows
    row: int  # of all members', as the NPE counts them
    tile: int  # since all began, or began again
    address: int
    second: int | None = None  # of the next head
    back: int | None = None
    passes: bool = False


class Word(NamedTuple):
    """A word of results; ``tile`` None: written nowhere."""

    position: int
    part: int
    head: int
    tile: int | None = None
    columns: dict[int, int] = field(default_factory=dict)  # element of the tile → lane of the word
    residual: int | None = None
    channel: int = 0  # column of the matrix in lane 0
    round_done: bool = False
    round: int = 0


def operands(i: Instruction, overlay: Overlay) -> Iterator[Operand]:
    """All row tiles in the order in which IFM asks for them."""
    op = Opcode(i.opcode)
    if op == Opcode.SCORES:
        return _queries(i, overlay.dataflow.packed_heads == 2)
    if op == Opcode.CONTEXT or (op in (Opcode.STATISTICS, Opcode.NORMALIZE) and i.tokens):
        return _scores(i)
    return _rows(i, -(-i.columns // overlay.pe_array.columns) if op == Opcode.MATMUL else 1)


def _rows(i: Instruction, blocks: int) -> Iterator[Operand]:
    """X, or what came of it: tile k of row r at place + k · rows + r."""
    op, packed = Opcode(i.opcode), i.opcode == Opcode.MATMUL and i.post == Post.RESIDUAL
    writes = (op == Opcode.MATMUL and i.normalize) or op == Opcode.NORMALIZE
    for block, k, (position, row) in product(range(blocks), range(i.k_tiles), enumerate(i.listed)):
        at = k * i.rows + (position if packed else row)
        first = not (op == Opcode.MATMUL and i.normalize and block)
        passes = first and (writes or op == Opcode.STATISTICS or (op == Opcode.ROUTE and i.normalize == 1))
        back = (i.operand if op == Opcode.MATMUL else i.target) + at if writes and first else None
        yield Operand(position, position, k, (i.source if first else i.operand) + at, None, back, bool(passes))


def _queries(i: Instruction, packed: bool) -> Iterator[Operand]:
    """Q: tile k of query head h at h · head tiles + k; heads of a pair together or one after the other."""
    count = len(i.listed)

    def place(head: int, k: int, member: int, r: int) -> int:
        return i.source + ((head * i.group + member) * i.k_tiles + k) * i.rows + r

    for _ in range(i.rounds):
        heads = range(0, 2 * i.pairs, 1 + packed)
        for (block, head), k in product(enumerate(heads), range(i.k_tiles)):
            for member, r in product(range(i.group), range(count)):
                second = place(head + 1, k, member, r) if packed else None
                tile = block * i.k_tiles + k
                yield Operand(r, member * count + r, tile, place(head, k, member, r), second)


def _scores(i: Instruction) -> Iterator[Operand]:
    """A tile for every round, pair, head, member; of a product it is read again for each part of V."""
    op, count = Opcode(i.opcode), len(i.listed)
    parts = i.operand if op == Opcode.CONTEXT else 1
    writes = op == Opcode.NORMALIZE
    for turn, part in product(range(i.rounds * i.pairs * 2), range(parts)):
        for member, r in product(range(i.group), range(count)):
            at = (turn * i.group + member) * i.rows + r
            passes = bool(op != Opcode.CONTEXT or i.normalize)
            back = i.target + at if writes else None
            yield Operand(r, member * count + r, turn * parts + part, i.source + at, None, back, passes)


def words(i: Instruction, overlay: Overlay) -> Iterator[Word]:
    """All words of results in the order in which they leave."""
    if i.opcode == Opcode.ROUTE:
        return (Word(r, 0, 0) for r in range(i.rows))
    found = {Opcode.MATMUL: _products, Opcode.SCORES: _score_words, Opcode.CONTEXT: _context}
    return found[Opcode(i.opcode)](i, overlay)


def _products(i: Instruction, overlay: Overlay) -> Iterator[Word]:
    """Column c in tile c // dot, at c % dot; of SwiGLU two columns make one."""
    width, dot, lanes = overlay.pe_array.columns, overlay.pe_array.dot_length, lanes_of(overlay)
    share = 2 if i.post == Post.SWIGLU else 1
    tiles = -(-(i.columns // share) // dot)
    for block, (position, row) in product(range(-(-i.columns // width)), enumerate(i.listed)):
        for number in range(-(-min(i.columns, width) // lanes)):
            channel = block * width + number * lanes
            first, at = channel // share, row if i.post == Post.RESIDUAL else position
            inside = first // dot < tiles
            tile = i.target + first // dot * i.rows + at if inside else None
            residual = i.operand + first // dot * i.rows + at if i.post == Post.RESIDUAL else None
            columns = {(first + k) % dot: k for k in range(lanes // share)}
            yield Word(position, number, 0, tile, columns, residual, channel)


def _score_words(i: Instruction, overlay: Overlay) -> Iterator[Word]:
    """Keys of a round in the first elements of a tile, −∞ (lane −1) in the rest of it."""
    packed, dot, lanes = overlay.dataflow.packed_heads == 2, overlay.pe_array.dot_length, lanes_of(overlay)
    each = head_words(overlay)
    blocks = i.pairs * (1 if packed else 2)
    rows = [*product(range(i.group), range(len(i.listed)))]
    for turn, block, (member, r) in product(range(i.rounds), range(blocks), rows):
        for head, part in product(range(1 + packed), range(each)):
            number = ((turn * blocks + block) * (1 + packed) + head) * i.group + member
            rest = dict.fromkeys(range(dot), -1) if part == 0 else {}
            columns = rest | {part * lanes + k: k for k in range(lanes)}
            tile = i.target + number * i.rows + r if part * lanes < dot else None
            last = block == blocks - 1 and (member, r) == rows[-1] and head == packed and part == each - 1
            yield Word(r, part, head, tile, columns, None, 0, last, turn)


def _context(i: Instruction, overlay: Overlay) -> Iterator[Word]:
    """O as Q: column c of a head in its tile c // dot."""
    dot, lanes, rows = overlay.pe_array.dot_length, lanes_of(overlay), range(len(i.listed))
    for head, part, member, r in product(range(2 * i.pairs), range(i.operand), range(i.group), rows):
        for number in range(-(-i.columns // lanes)):
            column = part * i.columns + number * lanes
            tile = i.target + ((head * i.group + member) * i.k_tiles + column // dot) * i.rows + r
            yield Word(r, number, 0, tile, {(column + k) % dot: k for k in range(lanes)})
