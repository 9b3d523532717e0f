"""Words at the ports of the NPE's result side: operations, requests, results; all widths come from the overlay."""

from amaranth.lib import data

from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.program.isa import Gate
from skipopu.spec.npe import result_words, word_columns
from skipopu.spec.number_format import FORMATS, FP16
from skipopu.spec.overlay import FP16_BYTES, Overlay

FUNCTION_BITS = 3
LOGITS = 4  # of a token: execute and skip of attention, of the feed-forward module
FP32_BITS = FORMATS["fp32"].bits


def lanes_of(overlay: Overlay) -> int:
    """Return the lanes of the result side: the columns of a word of results."""
    return word_columns(overlay.pe_array.columns, overlay.npe.lanes)


def head_words(overlay: Overlay) -> int:
    """Return the words in which a row's part of one of two packed heads leaves."""
    return result_words(overlay.pe_array.columns // 2, overlay.npe.lanes)


def most_words(overlay: Overlay) -> int:
    """Return the most words in which a row leaves."""
    return max(result_words(overlay.pe_array.columns, overlay.npe.lanes), 2 * head_words(overlay))


def columns_of(overlay: Overlay, split: bool, word: int) -> range:
    """Return the columns that stand in the lanes of a word, from lane 0 on; none of a word that a row has not."""
    columns, lanes = overlay.pe_array.columns, lanes_of(overlay)
    if not split:
        return range(word * lanes, min((word + 1) * lanes, columns))
    head, part = divmod(word, head_words(overlay))
    end = min((head + 1) * columns // 2, columns)
    return range(min(head * columns // 2 + part * lanes, end), min(head * columns // 2 + (part + 1) * lanes, end))


def rotary_depth(overlay: Overlay) -> int:
    """Return the words of the ROT buffer: cosines and sines of a word's pairs."""
    return max(overlay.npe.rotary_bytes // (lanes_of(overlay) * FP16_BYTES), 2)


def statistics_bits(overlay: Overlay) -> int:
    """Return the width of a statistics row's number."""
    return max((overlay.npe.statistics_rows - 1).bit_length(), 1)


def operation_layout(overlay: Overlay) -> data.StructLayout:
    """What happens to the sums of a matrix operation; every bound is at least 1."""
    return data.StructLayout({
        "rows": ROW_BITS,  # executed rows; of a tile, where sums take turns
        "slots": range(overlay.psum.interleave + 1),  # entries of a row
        "words": range(most_words(overlay) + 1),  # words in which a row leaves
        "split": 1,  # two packed heads: no word has columns of both
        "function": FUNCTION_BITS,  # `Post`; GELU with npe.gelu
        "bias": 1, "masked": 1,  # add the bias; raw scores: −∞ in lanes that are not visible
        "statistics": 1,  # raw scores whose rows' statistics are kept
        "route": 1,  # router logits instead of results
        "gate": range(len(Gate)), "mask": 1,  # the list of executed rows that it follows
        "bank": 1,  # of the statistics
        "list_rows": ROW_BITS,  # of the list; rows is a multiple: the list begins again, for each query head of a group
        # words of a head in the ROT buffer, and from a row of the block to the next there
        "rotary_words": range(rotary_depth(overlay) + 1), "rotary_stride": range(rotary_depth(overlay) + 1),
        "round_blocks": TILE_BITS,  # column blocks of a K/V round
    })  # fmt: skip


def _place(overlay: Overlay) -> dict[str, int]:
    words = (most_words(overlay) - 1).bit_length()
    return {
        "row": ROW_BITS, "index": ROW_BITS,  # of the executed rows, and which row of the block that is
        "block": TILE_BITS, "word": max(words, 1), "head": 1, "part": max(words, 1),  # part: word of the head
    }  # fmt: skip


def request_layout(overlay: Overlay) -> data.StructLayout:
    """A word that asks to go, and which side data it needs besides scales; the operation's last one."""
    return data.StructLayout({**_place(overlay), "last": 1, "bias": 1, "residual": 1, "masked": 1})


def word_layout(overlay: Overlay) -> data.StructLayout:
    """What travels beside a word: where it belongs, and what it is."""
    return data.StructLayout({
        **_place(overlay), "last": 1,  # of the operation
        "masked": 1, "statistics": 1, "statistics_row": statistics_bits(overlay), "first_round": 1,
    })  # fmt: skip


def travelling_layout(overlay: Overlay) -> data.StructLayout:
    """What travels beside a word from its request to the lanes."""
    return data.StructLayout({
        "word": word_layout(overlay), "function": FUNCTION_BITS, "bias": 1, "residual": 1, "split": 1, "route": 1,
    })  # fmt: skip


def pair_layout(overlay: Overlay) -> data.StructLayout:
    """What stands beside a pair of entries."""
    return data.StructLayout({
        "operation": operation_layout(overlay), "row": ROW_BITS, "block": TILE_BITS,
        "pair": range(max((overlay.psum.interleave + 1) // 2, 2)),  # number of the pair in its row
        "both": 1, "final": 1,  # there is a second entry; the last pair of its row
        "last_row": 1, "last": 1,  # of the block, of the operation
        "statistics_row": statistics_bits(overlay), "first_round": 1,  # of the first head
    })  # fmt: skip


def half_words(lanes: int) -> data.ArrayLayout:
    """Return ``lanes`` FP16 numbers."""
    return data.ArrayLayout(FP16.bits, lanes)


def single_words(lanes: int) -> data.ArrayLayout:
    """Return ``lanes`` FP32 numbers."""
    return data.ArrayLayout(FP32_BITS, lanes)
