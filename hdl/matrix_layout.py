"""Words between the parts of MatrixControl: how operands are walked, where results go, what they are scaled by."""

from amaranth.hdl import Shape
from amaranth.lib import data

from skipopu.hdl.global_buffer import write_granule
from skipopu.hdl.kv_layout import index
from skipopu.hdl.npe.result_operation import lanes_of, most_words
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.program.isa import WIDTH
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import FP16_BYTES, Overlay


def tile_address(overlay: Overlay) -> Shape:
    """Shape of a place in the global buffer; strides are reduced to it, for addresses are added modulo its range."""
    return Shape.cast(index(overlay.global_buffer.tiles))


def granules(overlay: Overlay) -> int:
    """Return the parts of a row tile that are written singly."""
    return overlay.pe_array.dot_length // write_granule(overlay)


def word_address(overlay: Overlay) -> Shape:
    """Shape of the address, in a half of the constants, of the scales that belong to a word of results."""
    return Shape.cast(index(overlay.constants.half_bytes // (lanes_of(overlay) * FP16_BYTES)))


def operand_loops(overlay: Overlay) -> data.StructLayout:
    """Loops over row tiles: rows, members, tiles inside, tiles outside; every bound is at least 1."""
    place = tile_address(overlay)
    return data.StructLayout({
        "by_list": 1,  # rows of the block by the list of executed ones; else rows lie packed
        "rows": ROW_BITS, "members": WIDTH["group"],  # executed rows, query heads that share a key/value head
        "inside": TILE_BITS, "inside_stride": place,  # K-tiles of a row, or of a head; or reads of the same tile
        "outside": TILE_BITS,  # heads, or pairs of them; then all begins again; 0: never
        "member_stride": place, "pairs": 1,  # from head to head as many times as there are members; two heads a step
        "source": place, "again": place,  # where all begins, where it begins again
        "back": place,  # from where a tile is read to where it is written back
        "packed": 1, "stream": 1,  # two heads a request; tile by tile from the load engine
        "passes": 1, "first_block_only": 1,  # through the operand lanes, or only until all begins again
        "write_back": 1,  # tiles that pass
        "half": 1, "beta": TILE_BITS,  # of gamma and beta; tile where beta begins
    })  # fmt: skip


def result_loops(overlay: Overlay) -> data.StructLayout:
    """Loops over words of results, and what every word of them gets and becomes; every bound is at least 1."""
    place, word = tile_address(overlay), word_address(overlay)
    return data.StructLayout({
        "by_list": 1,  # rows of results, and residuals, by the list of executed ones; else they lie packed
        "rows": ROW_BITS, "members": WIDTH["group"], "words": range(most_words(overlay) + 1),  # of a row
        "parts": TILE_BITS,  # column blocks whose columns follow one another
        "tile_stride": place, "member_stride": place,
        "target": place, "residual_offset": place,  # from where a result is written to what is added to it
        "last_tile": TILE_BITS,  # of a row's columns; a word beyond it is written nowhere
        "half_words": 1,  # two columns make one result
        "scores": 1, "split": 1,  # the rest of the tile is −∞; a row leaves in words of two heads
        "round_blocks": TILE_BITS, "first_token": WIDTH["tokens"],  # of scores: blocks of a round; token of row 0
        "writes": 1, "residual": 1,
        "scaled": 1, "half": 1, "scale": word, "bias": word,  # places of the first column's
    })  # fmt: skip


def check_words(overlay: Overlay) -> None:
    """Raise SpecError where a word of results would have columns of two column blocks."""
    lanes, columns = lanes_of(overlay), overlay.pe_array.columns
    if columns % lanes:
        nearest = columns & -columns  # a word divides a row tile, too: a power of two
        raise SpecError(
            f"overlay {overlay.name}: npe.lanes = {overlay.npe.lanes}; pe_array.columns = {columns} must be whole words"
            f" of results, for the words of the next column block follow at once; nearest: npe.lanes={nearest}"
        )
