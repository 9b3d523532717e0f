"""The instruction set: a 256-bit word an instruction, one for each matrix operation, load, store or K/V pass.

Six engines execute in order and run ahead of one another. For every ordered pair of engines there is one
counting semaphore; an instruction names the engines it waits for and the engines it signals, one bit each.
Loop bounds are dynamic through ``gate``: the rows of the block whose bit the router set.
"""

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Block

Words = NDArray[np.uint64]
Fields = NDArray[np.int64]

ENGINES = (Block.DMA, Block.LOAD, Block.STORE, Block.KV_BUFFER, Block.KV_APPEND, Block.PE_ARRAY)
INSTRUCTION_BYTES = 32
WORD_BITS = 64
ADDRESS_UNIT = 64  # bytes; addresses count these
SEMAPHORE_BITS = 8  # of a counting semaphore


class Opcode(IntEnum):
    """What an instruction does; the comment names its engine and the fields it reads."""

    HALT = 0  # sequencer: no more instructions
    LOAD_WEIGHTS = 1  # dma: columns = chunk sets, address = offset in every port
    LOAD_ROWS = 2  # load: DDR rows × k_tiles → global buffer at target
    LOAD_CONSTANTS = 3  # load: columns = 64-byte words → constants half
    STORE_ROWS = 4  # store: global buffer rows × k_tiles at source → DDR
    READ_KV = 5  # kv_buffer: K (value=0) or V of tokens: of each vector columns chunks from chunk source on
    APPEND_KV = 6  # kv_append: executed rows at source → K/V cache, k_tiles a row, columns of them a head; K also marks
    # the block, the last rows of tokens, in the bitmask
    MATMUL = 7  # pe_array: rows × k_tiles at source times a weight matrix of columns → target
    SCORES = 8  # pe_array: queries at source times K rounds → raw scores at target; normalize: running maximum and sum
    CONTEXT = 9  # pe_array: scores at source, through softmax on the way if normalize, times V rounds → target;
    # a head's V goes through in operand parts of columns columns
    ROUTE = 10  # pe_array: columns router logits and row statistics; writes the row masks, and to list the other rows
    STATISTICS = 11  # pe_array idle: statistics of rows × k_tiles, or of raw scores of tokens, at source; with list of
    # group vectors a row, whose lengths become bits of row lists and factors of rows
    NORMALIZE = 12  # pe_array idle: RMSNorm of rows × k_tiles, or softmax of raw scores of tokens, source → target;
    # with value a row is multiplied by the length of its vector number group alone


class Gate(IntEnum):
    """Which rows of the block an instruction works on."""

    ALL = 0
    ATTENTION = 1
    FFN = 2


class Post(IntEnum):
    """What the NPE does to a result on its way out."""

    NONE = 0
    ROPE = 1
    SWIGLU = 2  # pairs of gate and up columns become one
    RESIDUAL = 3  # adds the row at operand
    RELU = 4
    GELU = 5  # with npe.gelu
    LISTS = 6  # pairs of logits become bits of row lists, from ``list`` on; nothing is written, with bitmask.lists
    PRODUCT = 7  # multiplies with SiLU of the row at operand, with bitmask.lists


ENGINE_OF = {
    Opcode.HALT: Block.SEQUENCER,
    Opcode.LOAD_WEIGHTS: Block.DMA,
    Opcode.LOAD_ROWS: Block.LOAD,
    Opcode.LOAD_CONSTANTS: Block.LOAD,
    Opcode.STORE_ROWS: Block.STORE,
    Opcode.READ_KV: Block.KV_BUFFER,
    Opcode.APPEND_KV: Block.KV_APPEND,
    Opcode.MATMUL: Block.PE_ARRAY,
    Opcode.SCORES: Block.PE_ARRAY,
    Opcode.CONTEXT: Block.PE_ARRAY,
    Opcode.ROUTE: Block.PE_ARRAY,
    Opcode.STATISTICS: Block.PE_ARRAY,
    Opcode.NORMALIZE: Block.PE_ARRAY,
}

FIELDS: tuple[tuple[str, int], ...] = (
    ("opcode", 5),
    ("wait", 6),  # bit e: take one from semaphore (engine e → this engine)
    ("signal", 6),  # bit e: give one to semaphore (this engine → engine e)
    ("gate", 2),
    ("mask", 1),  # which of the two mask registers a route writes and a gate reads
    ("fence", 1),  # wait until the results of earlier matrix operations are written
    ("compact", 1),  # load/store the gated rows; without it the whole block, or nothing if no row is gated
    ("normalize", 1),  # matmul: RMSNorm of the first column block's input; others: softmax, statistics
    ("stream", 1),  # hand over tile by tile from load to route
    ("value", 1),  # K or V; constants: the rotary buffer instead of a half
    ("datatype", 1),  # weights INT4 or FP16
    ("half", 1),  # constants half; of scores, context and softmax: bank of the row statistics
    ("bias", 1),  # of every column, behind the scales
    ("scaled", 1),  # matmul: scales of every column at address in the constants half; without it 1
    ("decode", 1),  # read_kv: the query is one token, and the invariance buffer is used
    ("following", 1),  # read_kv: another layer follows, whose reused tokens are kept
    ("post", 3),
    ("rows", 12),
    ("k_tiles", 12),
    ("columns", 20),
    ("source", 20),  # global buffer tile
    ("target", 20),
    ("operand", 20),
    ("address", 34),  # in units of 64 bytes; of K/V: of the layer's first slot, in its port
    ("layer", 10),
    ("pair", 8),
    ("pairs", 8),
    ("tokens", 20),  # visible tokens; a load or store with tokens moves k_tiles tiles a row and K/V round
    ("group", 6),  # query heads a key/value head
    # from 1 on: the row list that stands in place of ``gate``, or the first one that an instruction writes; rows of a
    # list keep their places in the block, where those of a gate are packed
    ("list", 10),
    ("bidirectional", 1),  # scores, softmax, context: every row sees all visible tokens, later ones too
)
NAMES = tuple(name for name, _ in FIELDS)
COLUMN = {name: index for index, name in enumerate(NAMES)}
WIDTH = dict(FIELDS)


def _places() -> list[tuple[int, int, int]]:
    """Return (word, shift, width) of each field; no field crosses a 64-bit word."""
    places, word, shift = [], 0, 0
    for _, width in FIELDS:
        if shift + width > WORD_BITS:
            word, shift = word + 1, 0
        places.append((word, shift, width))
        shift += width
    return places


PLACES = _places()
assert (PLACES[-1][0] + 1) * WORD_BITS // 8 <= INSTRUCTION_BYTES


def writes_lists(fields: Fields) -> NDArray[np.bool_]:
    """Return of which instructions [n] the field ``list`` is where they write; of all others it is their gate."""
    opcode = fields[:, 0]
    vectors = (fields[:, COLUMN["group"]] > 0) & (fields[:, COLUMN["tokens"]] == 0)
    logits = (opcode == Opcode.MATMUL) & (fields[:, COLUMN["post"]] == Post.LISTS)
    found: NDArray[np.bool_] = (opcode == Opcode.ROUTE) | ((opcode == Opcode.STATISTICS) & vectors) | logits
    return found


def encode(fields: Fields) -> Words:
    """Encode a field table [n, len(FIELDS)] into words [n, 4]; raises SpecError if a value does not fit."""
    words = np.zeros((len(fields), INSTRUCTION_BYTES * 8 // WORD_BITS), np.uint64)
    for column, (word, shift, width) in enumerate(PLACES):
        values = fields[:, column]
        bad = np.flatnonzero((values < 0) | (values >= 1 << width))
        if bad.size:
            raise SpecError(
                f"instruction {bad[0]}: {NAMES[column]} = {values[bad[0]]} does not fit {width} bits"
                f" (0..{(1 << width) - 1}); lower the sequence length or the model size"
            )
        words[:, word] |= values.astype(np.uint64) << np.uint64(shift)
    return words


def unpack(words: Words) -> tuple[Fields, Words]:
    """Cut words [n, 4] into fields [n, len(FIELDS)] and what is left of the words: bits that no field has."""
    fields = np.zeros((len(words), len(FIELDS)), np.int64)
    rest = words.copy()
    for column, (word, shift, width) in enumerate(PLACES):
        mask = np.uint64((1 << width) - 1)
        fields[:, column] = (words[:, word] >> np.uint64(shift)) & mask
        rest[:, word] &= ~(mask << np.uint64(shift))
    return fields, rest


def decode(words: Words) -> Fields:
    """Decode words [n, 4] into fields [n, len(FIELDS)]; raises SpecError for illegal opcodes, stray bits."""
    fields, rest = unpack(words)
    illegal = np.flatnonzero(fields[:, 0] > max(Opcode))
    if illegal.size:
        raise SpecError(illegal_opcode(int(illegal[0]), int(fields[illegal[0], 0])))
    stray = np.flatnonzero(rest.any(axis=1))
    if stray.size:
        raise SpecError(reserved_bits(int(stray[0])))
    return fields


def illegal_opcode(index: int, opcode: int) -> str:
    """Say that there is no such opcode."""
    return f"instruction {index}: illegal opcode {opcode}; valid: 0..{max(Opcode)}"


def reserved_bits(index: int) -> str:
    """Say that bits are set that no field has."""
    return f"instruction {index}: reserved bits are set; encode with this version of skipopu"


def disassemble(words: Words) -> list[str]:
    """Return one line of text an instruction: mnemonic, semaphores, then the fields that are not zero."""
    return [_line(index, row) for index, row in enumerate(decode(words))]


def _line(index: int, row: NDArray[np.int64]) -> str:
    opcode = Opcode(int(row[0]))
    symbols = {"gate": Gate, "post": Post}
    parts = [f"{index:6d}  {opcode.name.lower():14s}"]
    for name in ("wait", "signal"):
        engines = [ENGINES[e].label for e in range(len(ENGINES)) if row[COLUMN[name]] >> e & 1]
        if engines:
            parts.append(f"{name}={'+'.join(engines)}")
    for name in NAMES[3:]:
        value = int(row[COLUMN[name]])
        if value:
            known = name in symbols and value in list(symbols[name])
            text = symbols[name](value).name.lower() if known else value
            parts.append(f"{name}={text}")
    return " ".join(parts)
