"""Loop bounds and latencies of the PE array's operations and of the passes of the NPE."""

import numpy as np
from numpy.typing import NDArray

from skipopu.program.isa import COLUMN, Fields, Opcode, Post
from skipopu.sim.tile_source import AS_IS, CONSTANT_TILE, EVERY_TILE, FIRST_BLOCK, KV_TILE, NO_TILE, WEIGHT_TILE
from skipopu.spec.npe import result_words, word_columns
from skipopu.spec.overlay import BITS, FP16_BYTES, Overlay

Ints = NDArray[np.int64]


def fill_loop_bounds(v: dict[str, Ints], f: Fields, overlay: Overlay) -> None:
    """Loop bounds of the matrix operations."""
    op = f[:, 0]
    for opcode, fill in ((Opcode.MATMUL, _matmul), (Opcode.ROUTE, _route)):
        at = op == opcode
        for name, value in fill(f[at], v["rows"][at], overlay).items():
            v[name][at] = value
    group = f[:, COLUMN["group"]]
    for opcode, attend in ((Opcode.SCORES, _scores), (Opcode.CONTEXT, _context)):
        at = op == opcode
        found = attend(f[at], v["rounds"][at], v["rows"][at] * group[at], overlay)
        for name, value in found.items():
            v[name][at] = value
    v["operand"] = np.where((op == Opcode.CONTEXT) & (f[:, COLUMN["normalize"]] == 0), AS_IS, v["operand"])
    v["operand_stages"] = np.where(v["operand"] == AS_IS, 0, v["operand_stages"])
    at = np.isin(op, (Opcode.STATISTICS, Opcode.NORMALIZE))
    for name, value in _lane_pass(f[at], v["rows"][at], v["rounds"][at], overlay).items():
        v[name][at] = value
    v["write_back"] = np.where((op == Opcode.NORMALIZE) | ((op == Opcode.MATMUL) & (v["operand"] == FIRST_BLOCK)), 1, 0)
    v["post"] = np.where(op == Opcode.MATMUL, f[:, COLUMN["post"]], 0)
    for name in ("statistics_rows", "slots", "words", "head_words", "round_blocks"):
        v[name] = np.maximum(v[name], 1)
    # the reduction units take tiles of one side at a time
    v["fence"] = v["fence"] | (v["operand_distance"] > 0)


def _slots(overlay: Overlay, depth: Ints) -> Ints:
    """Interleaved sums of a result row."""
    return np.minimum(overlay.psum.interleave, depth)


def _words(overlay: Overlay, columns: Ints) -> Ints:
    return -(-columns // word_columns(overlay.pe_array.columns, overlay.npe.lanes))


def _matmul(f: Fields, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    width, depth = o.pe_array.columns, f[:, COLUMN["k_tiles"]]
    columns = f[:, COLUMN["columns"]]
    blocks = -(-columns // width)
    bits = np.where(f[:, COLUMN["datatype"]] == 1, BITS["fp16"], BITS["int4"])

    def tile(c: Ints | int) -> Ints:
        return -(-o.pe_array.dot_length * c * bits // 8)

    return {
        "source": WEIGHT_TILE, "blocks": blocks, "depth": depth, "tile_rows": rows,
        "tile_bytes": tile(width),
        "pop_bytes": o.hbm_bytes_per_cycle, "feed_tiles": 1,
        "operand": np.where(f[:, COLUMN["normalize"]] == 1, FIRST_BLOCK, AS_IS),
        "operand_stages": o.npe.operand_latency * (f[:, COLUMN["normalize"]] == 1),
        "results": rows * _slots(o, depth), "slots": _slots(o, depth),
        "words": _words(o, np.minimum(columns, width)),
        "result_stages": np.where(f[:, COLUMN["post"]] == Post.LISTS, o.route_latency, o.result_latency),
    }  # fmt: skip


def _route(f: Fields, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    depth, logits = f[:, COLUMN["k_tiles"]], f[:, COLUMN["columns"]]
    tile = o.pe_array.dot_length * logits * FP16_BYTES
    statistics = f[:, COLUMN["normalize"]] == 1
    return {
        "source": np.where(logits > 0, CONSTANT_TILE, NO_TILE), "blocks": 1, "depth": depth,
        "tile_rows": rows, "tile_bytes": tile,
        "pop_bytes": o.ker.constant_bytes_per_cycle, "feed_tiles": 1,
        "operand": np.where(statistics, EVERY_TILE, AS_IS),
        "operand_stages": 0,  # the statistics branch off; the tile itself goes straight on
        "operand_distance": o.npe.sum_distance * statistics, "statistics_rows": rows,
        "results": np.where(logits > 0, rows * _slots(o, depth), 0), "slots": _slots(o, depth),
        "words": _words(o, logits),
        "result_stages": np.maximum(
            np.where(logits > 0, o.route_latency, 0), np.where(statistics, o.npe.inverse_latency, 0)
        ),
    }  # fmt: skip


def _scores(f: Fields, rounds: Ints, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    depth, pairs = f[:, COLUMN["k_tiles"]], f[:, COLUMN["pairs"]]
    packed = o.dataflow.packed_heads  # of a pair; alone, a head leaves half of the columns without keys
    tile = packed * o.pe_array.dot_length * FP16_BYTES
    words = result_words(packed * o.pe_array.columns // 2, o.npe.lanes, packed)
    statistics = f[:, COLUMN["normalize"]] == 1
    return {
        "source": KV_TILE, "blocks": rounds * pairs * (2 // packed), "depth": depth, "tile_rows": rows,
        "tile_bytes": tile, "pop_bytes": o.chunk_bytes, "feed_tiles": packed,
        "operand": AS_IS, "operand_stages": 0,
        "results": rows * _slots(o, depth), "slots": _slots(o, depth),
        "words": words, "head_words": words // packed, "round_blocks": pairs * (2 // packed),
        "distance": o.npe.softmax_distance * statistics,
        "result_stages": o.result_latency + o.npe.statistics_latency * statistics,
    }  # fmt: skip


def _context(f: Fields, rounds: Ints, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    width = f[:, COLUMN["columns"]]
    tiles = 2 * f[:, COLUMN["pairs"]] * f[:, COLUMN["operand"]]  # of one round: a head's V in parts
    return {
        "source": KV_TILE, "blocks": 1, "depth": rounds * tiles, "tile_rows": rows,
        "tile_bytes": width * FP16_BYTES, "pop_bytes": o.chunk_bytes,
        "feed_tiles": 1, "operand": EVERY_TILE, "operand_stages": o.npe.operand_latency,
        "results": rows * tiles * _slots(o, rounds), "slots": _slots(o, rounds),
        "words": _words(o, width),
        "result_stages": o.result_latency,
    }  # fmt: skip


def _lane_pass(f: Fields, rows: Ints, rounds: Ints, o: Overlay) -> dict[str, Ints | int]:
    """Every tile passes the lanes once and nothing is multiplied: X, or the raw scores of all heads."""
    scores, second, n = f[:, COLUMN["tokens"]] > 0, f[:, 0] == Opcode.NORMALIZE, o.npe
    heads = 2 * f[:, COLUMN["pairs"]] * f[:, COLUMN["group"]]
    vectors = np.maximum(f[:, COLUMN["group"]] * (1 - second), 1)  # of a row, each with a statistic of its own
    return {
        "source": NO_TILE, "blocks": 1, "depth": 1, "feed_tiles": 1, "results": 0,
        "tile_rows": rows * np.where(scores, rounds * heads, f[:, COLUMN["k_tiles"]]),
        "operand": EVERY_TILE, "operand_stages": np.where(second, n.operand_latency, 0),
        "operand_distance": np.where(second, 0, np.where(scores, n.softmax_distance, n.sum_distance)),
        "statistics_rows": rows * np.where(scores, heads, vectors),
        # what was normalised is written before it reaches the array: only retirement is left
        "result_stages": np.where(second, 1, np.where(scores, n.statistics_latency, n.inverse_latency)),
    }  # fmt: skip
