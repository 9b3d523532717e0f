"""Resource model of what stands round the columns: KER, IFM, PSUM and the control of the array."""

import math

from skipopu.spec.ker_shape import LOGITS, ker_shape
from skipopu.spec.number_format import COLUMNS_PER_DSP as PAIR
from skipopu.spec.number_format import FORMATS
from skipopu.spec.overlay import BITS, BLOCK_RAM_READ, Overlay
from skipopu.spec.resource_terms import Logic, Module, Registers, add, bits_for, compare, multiplex, select, shift
from skipopu.spec.resources_of_columns import EXPONENT, OPERAND, fp16_flags
from skipopu.spec.resources_of_memories import memory_cells

HALVES = 2
ROW, TILE = 13, 16  # bits of the loop counters: rows of a tile; tiles and column blocks
SLOT, COLUMN = 5, 11  # bits of the operation: entries of a row, columns of a tile
# source, K or V, format of the weights; rows, K-tiles, column blocks, turns; slots, width
OPERATION = 2 + 1 + 1 + ROW + 3 * TILE + SLOT + COLUMN
FP16, INT4 = BITS["fp16"], BITS["int4"]


def modules_of_buffers(overlay: Overlay) -> tuple[Module, ...]:
    """KER, IFM, PSUM and the top, once each."""
    makers = (_ker, _ker_words, _ker_pieces, _ker_slots, _ker_bank, _ifm, _psum_half, _psum, _pe_array)
    return tuple(make(overlay) for make in makers)


def entry_bits(overlay: Overlay) -> int:
    """Bits of a PSUM entry: a number a column."""
    return overlay.pe_array.columns * (FORMATS[overlay.psum.format].bits)


def _counter(what: str, bits: int, **settings: int) -> Registers:
    return Registers(what, bits, shifts=False, **settings)


def _loop(*counters: int) -> int:
    """LUTs of nested counters with bounds: step, bound − 1, compare."""
    return sum(2 * add(bits) + compare(bits) for bits in counters)


def _ker(overlay: Overlay) -> Module:
    """Control of the halves: which one is written, which one is read."""
    stages = overlay.pe_array.broadcast_stages
    registers = (
        _counter("tiles and blocks still to load", 2 * TILE + 1),
        _counter("halves: loaded, occupied, filled, in use", 2 * HALVES + 2),
        Registers("last use of a half", 2, stages),
        Registers("half and format of the row at the columns", 2, stages),
    )
    return Module("ker", 1, registers, (Logic("control", _loop(TILE, TILE)),))


def _ker_words(overlay: Overlay) -> Module:
    """Tiles of weights out of the stream's words: what is written from where."""
    pe, word = overlay.pe_array, overlay.hbm_bytes_per_cycle
    weights = pe.columns * pe.dot_length
    tile, int4_tile = weights * FP16 // 8, weights * INT4 // 8
    granule = math.gcd(word, tile, int4_tile)
    granules, places = tile // granule, word // granule
    turning = places > 1  # a tile may begin within a word
    registers = (
        _counter("word before", 8 * word * turning),
        _counter("place of the tile in the word", (bits_for(places) + 1) * turning),
        _counter("granules taken", bits_for(granules + places)),
    )
    gear = compare(bits_for(granules + places))
    logic = (
        Logic("words turned to the tile's place", 2 * shift(8 * word, bits_for(places))),
        Logic("write enables", granules * 2 * gear),
        Logic("gear", 3 * add(bits_for(granules + 2 * places))),
    )
    return Module("ker_words", 1, registers, logic)


def _ker_pieces(overlay: Overlay) -> Module:
    """Tiles of K, V and router weights out of chunks and words."""
    shape = ker_shape(overlay)
    piece, segment = (bits_for(max(count, 2)) for count in (shape.pieces, shape.segments))
    registers = (_counter("piece of the tile, tile of the chunk", piece + segment),)
    logic = (
        Logic("control", _loop(piece, segment) + multiplex(piece + segment)),
        Logic("write enables", shape.pieces),
    )
    return Module("ker_pieces", 1, registers, logic)


def _ker_slots(overlay: Overlay) -> Module:
    """Lanes to slots, and the tile's part of the chunk."""
    shape = ker_shape(overlay)
    key, value = FP16 * min(shape.key, shape.chunk), FP16 * shape.value_part
    turned = shape.slots * (select(key, shape.key_segments) + select(value, shape.value_segments))
    logic: tuple[Logic, ...] = (Logic("part of the chunk", turned),)
    if shape.by_rank:
        ranks = shape.lanes * add(bits_for(shape.lanes))
        lanes = sum(select(FP16 * shape.chunk, shape.lanes - slot) for slot in range(shape.slots))
        logic += (Logic("rank of a lane", ranks), Logic("lane of a slot", lanes))
    return Module("ker_slots", 1, logic=logic)


def _weights_that_turn(overlay: Overlay) -> int:
    """Bits on their way to the banks, of either format, where a tile may begin within a word."""
    weights, word = overlay.pe_array.columns * overlay.pe_array.dot_length, overlay.hbm_bytes_per_cycle
    granule = math.gcd(word, weights * FP16 // 8, weights * INT4 // 8)
    return weights * (FP16 + INT4) if word > granule else 0


def _ker_bank(overlay: Overlay) -> Module:
    """Registers, not block RAM: every column needs all of its weights in every cycle."""
    pe, word = overlay.pe_array, overlay.hbm_bytes_per_cycle
    weights = PAIR * pe.dot_length
    part = 8 * math.gcd(word, weights * INT4 // 8)
    registers = (_counter("weights", HALVES * weights * FP16),)
    logic = (
        Logic("weight read: half, INT4 or FP16", multiplex(FP16) * weights),
        Logic("weight written: of a word in either format, of a piece", multiplex(weights * FP16)),
        Logic("write enables", HALVES * (weights * FP16 // part + 2 * weights)),
    )
    return Module("ker_bank", pe.columns // PAIR, registers, logic)


def _ifm(overlay: Overlay) -> Module:
    rows, bits = overlay.ifm.rows, 8 * overlay.tile_bytes * overlay.dataflow.packed_heads
    tiles = memory_cells(rows, bits, late=1, immediate=0)
    registers = (
        _counter("rounds: taken, announced, all of them", TILE + 2),
        _counter("loop over rows, tiles and blocks", ROW + 2 * TILE + 1),
        _counter("rows outstanding, rows stored", 2 * bits_for(rows + 1)),
        _counter("write and read place, row ahead", 2 * bits_for(rows) + 1),
    )
    logic = (
        Logic("loop", _loop(ROW, TILE, TILE)),
        Logic("counts", 2 * add(bits_for(rows + 1)) + compare(bits_for(rows + 1))),
        Logic("places", 2 * (add(bits_for(rows)) + compare(bits_for(rows)))),
    )
    return Module("ifm", 1, registers, (*logic, Logic("row tiles", tiles.lut, tiles.ff)), bram36=tiles.bram36)


def _psum_half(overlay: Overlay) -> Module:
    """Block RAM with separate ports does not show the word it is writing: a bypass does."""
    entries, bits = overlay.psum.entries, entry_bits(overlay)
    cells = memory_cells(entries, bits, late=1, immediate=0)
    logic = (
        Logic("same entry written and read", compare(bits_for(entries))),
        Logic("entry being written", multiplex(bits), ff=bits + 1),
        Logic("entries", cells.lut, cells.ff),
    )
    return Module("psum_half", HALVES, logic=logic, bram36=cells.bram36)


def _psum(overlay: Overlay) -> Module:
    entries, bits = overlay.psum.entries, entry_bits(overlay)
    place = bits_for(entries)
    registers = (
        _counter("halves: taken, closed, open, leaving", 2 * HALVES + 2),
        _counter("entries of each half, end of the operation", HALVES * (bits_for(entries + 1) + 1)),
        _counter("place, half and state of the drain", place + 5),
        _counter("half and first of the sum being read", 2),
    )
    logic = (
        Logic("partial sums of the half in use, 0 for the first", multiplex(bits)),
        Logic("results of the half that leaves", multiplex(bits)),
        Logic("places", 2 * multiplex(place) + add(place) + compare(bits_for(entries + 1))),
    )
    return Module("psum", 1, registers, logic)


def _pe_array(overlay: Overlay) -> Module:
    """Operation, loop, row on its way to the columns, entry on its way to PSUM."""
    pe, psum = overlay.pe_array, overlay.psum
    until_read = pe.broadcast_stages + overlay.dot_latency - BLOCK_RAM_READ
    until_write = BLOCK_RAM_READ + pe.accumulate_stages - 1
    address, slot, heads = bits_for(psum.entries), bits_for(max(psum.interleave, 2)), overlay.dataflow.packed_heads
    shape = ker_shape(overlay)
    constants = LOGITS[-1] * pe.dot_length * FP16
    registers = (
        _counter("operation", OPERATION + 1),
        _counter("loop over rows and tiles, turns, rounds", ROW + 3 * TILE),
        _counter("slot, later ones, first entry of the row, half", slot + 1 + address + 1),
        Registers("row taken apart", heads * OPERAND * pe.dot_length, pe.broadcast_stages),
        Registers("format of the weights", 1, pe.broadcast_stages),
        Registers("row in flight", 1, until_read + until_write, shifts=False),
        Registers("end of a block", 1, until_read + until_write),
        Registers("entry, to PSUM's read", address + 2, until_read),
        Registers("entry, to PSUM's write", address + 2, until_write),
    )
    logic = (
        Logic("row taken apart", heads * pe.dot_length * (fp16_flags() + EXPONENT)),
        Logic("row of the second head", (heads - 1) * multiplex(8 * overlay.tile_bytes)),
        Logic("loop, turns", _loop(ROW, TILE, TILE)),
        Logic("entry", 2 * add(address) + add(slot) + compare(slot)),
        Logic("weights of K or V", multiplex(pe.columns * pe.dot_length * FP16)),
        Logic("router weights", multiplex(constants) + select(constants, max(map(shape.constant_segments, LOGITS)))),
        Logic("which of them are written", 2 * pe.columns * pe.dot_length),
        Logic("weights of KER's word or the one before", _weights_that_turn(overlay)),
    )
    return Module("pe_array", 1, registers, logic)
