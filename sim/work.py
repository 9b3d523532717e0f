"""What each instruction amounts to: loop bounds and latencies, from the trace's row masks.

In hardware the sequencer and the engines derive these numbers from the instruction and the router's row
count; here they are worked out for the whole program at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.builder import OPCODE_ENGINE
from skipopu.program.isa import COLUMN, ENGINES, Fields, Gate, Opcode, decode
from skipopu.program.program import Program
from skipopu.spec.ledger import Block, Part, Phase, Traffic
from skipopu.spec.overlay import BITS, FP16_BYTES, Overlay
from skipopu.trace import StepPhase

Ints = NDArray[np.int64]
Work = np.recarray[Any, Any]

NO_TILE, WEIGHT_TILE, KV_TILE, CONSTANT_TILE = range(4)  # where KER takes a tile from
AS_IS, FIRST_BLOCK, EVERY_TILE = range(3)  # which row tiles pass the NPE on their way into IFM


WORK = np.dtype(
    [  # one record an instruction; sizes in the unit of the name
        ("opcode", "i8"),
        ("engine", "i8"),
        ("wait", "i8"),
        ("signal", "i8"),
        ("phase", "i8"),
        ("step", "i8"),
        ("layer", "i8"),
        ("first_row", "i8"),
        ("block_rows", "i8"),
        ("rows", "i8"),  # executed rows; 0: nothing to do
        ("amount", "i8"),  # dma: chunk sets · load, store: row tiles · constants: 64-byte words
        ("address", "i8"),  # in units of 64 bytes
        ("traffic", "i8"),  # kind of DDR4 traffic
        ("stream", "i8"),
        ("value", "i8"),
        ("pair", "i8"),
        ("pairs", "i8"),
        ("tokens", "i8"),
        ("decode", "i8"),
        ("kv_pass", "i8"),
        ("rounds", "i8"),
        ("fence", "i8"),
        ("source", "i8"),
        ("blocks", "i8"),
        ("depth", "i8"),  # tiles of a block
        ("tile_rows", "i8"),
        ("tile_bytes", "i8"),  # of a KER tile; of one source for K/V
        ("pop_bytes", "i8"),
        ("feed_tiles", "i8"),  # row tiles read together: 2 when two heads are packed
        ("operand", "i8"),
        ("operand_stages", "i8"),
        ("drain_slots", "i8"),  # NPE cycles of a block's results
        ("result_stages", "i8"),
        ("issue", "i8"),  # core cycles of the retire stream, −1 before they are known
        ("first", "i8"),
        ("last", "i8"),
        ("following", "i8"),  # Part of the PE array's instruction after this one
    ],
    align=True,
)


def resolve_work(program: Program, overlay: Overlay) -> Work:
    """Decode the program and bind it to its trace."""
    f = decode(program.words)
    n = len(f)
    c = program.context
    passes = c.passes
    first_row = program.tags[:, 2]
    kv_pass = np.maximum(np.searchsorted(passes.first, first_row, side="right") - 1, 0)
    step, layer = program.tags[:, 0], program.tags[:, 1]
    rows = _executed(program, f)
    rounds = np.where(layer >= 0, c.demand.rounds[kv_pass, np.maximum(layer, 0)], 0)
    phases = np.where(c.trace.steps.phase == StepPhase.DECODE, int(Phase.DECODE), int(Phase.PREFILL))
    values = {name: np.zeros(n, np.int64) for name in WORK.names or ()}
    values |= {
        "opcode": f[:, 0], "engine": _engine(f), "phase": phases[step].astype(np.int64), "step": step,
        "layer": layer, "first_row": first_row, "block_rows": f[:, COLUMN["rows"]], "rows": rows,
        "rounds": rounds, "kv_pass": kv_pass, "decode": passes.decode[kv_pass].astype(np.int64),
    }  # fmt: skip
    for name in ("wait", "signal", "address", "stream", "value", "pair", "pairs", "tokens", "fence"):
        values[name] = f[:, COLUMN[name]]
    _transfers(values, f)
    _products(values, f, program, overlay)
    values["following"] = following(values["engine"], program.parts)
    values |= {name: np.full(n, -1, np.int64) for name in ("issue", "first", "last")}
    found = np.zeros(n, WORK).view(np.recarray)
    for name, value in values.items():
        found[name] = value
    return found


def _engine(f: Fields) -> Ints:
    table: Ints = np.array([OPCODE_ENGINE[Opcode(op)] for op in range(max(Opcode) + 1)], np.int64)
    return table[f[:, 0]]


def following(engine: Ints, parts: Ints) -> Ints:
    """Part of the next instruction in the PE array's queue; the last is followed by nothing of a layer."""
    found = np.full(len(parts), int(Part.OUTSIDE), np.int64)
    mine = np.flatnonzero(engine == ENGINES.index(Block.PE_ARRAY))
    found[mine[:-1]] = parts[mine[1:]]
    return found


def _executed(program: Program, f: Fields) -> Ints:
    """Rows of each instruction's block that its gate lets through."""
    trace, layers = program.context.trace, program.context.trace.layers
    rows = f[:, COLUMN["rows"]]
    found: Ints = np.maximum(rows, (rows == 0).astype(np.int64))  # weights and constants move once
    first, layer = program.tags[:, 2], program.tags[:, 1]
    passes = program.context.passes
    block = np.maximum(np.searchsorted(passes.first, first, side="right") - 1, 0)
    end = first + passes.rows[block]
    for gate, kind in ((Gate.ATTENTION, "q"), (Gate.FFN, "ffn")):
        mask = trace.rows("q" if kind == "q" else "ffn")
        counts = np.concatenate([np.zeros((layers, 1), np.int64), np.cumsum(mask, axis=1)], axis=1)
        gated = (f[:, COLUMN["gate"]] == gate) & (f[:, 0] != Opcode.ROUTE)
        found[gated] = counts[layer[gated], end[gated]] - counts[layer[gated], first[gated]]
    return found


def _transfers(v: dict[str, Ints], f: Fields) -> None:
    """Amounts that the memory engines move."""
    op, rows, block_rows = f[:, 0], v["rows"], f[:, COLUMN["rows"]]
    some = rows > 0
    counted = np.isin(op, (Opcode.LOAD_WEIGHTS, Opcode.LOAD_CONSTANTS))
    v["amount"] = np.where(counted, f[:, COLUMN["columns"]] * some, 0)
    moved = np.where(f[:, COLUMN["compact"]] == 1, rows, block_rows * some)
    tiles = f[:, COLUMN["k_tiles"]] * np.where(v["tokens"] > 0, v["rounds"], 1)
    transfer = np.isin(op, (Opcode.LOAD_ROWS, Opcode.STORE_ROWS))
    v["amount"] = np.where(transfer, moved * tiles, v["amount"])
    constants = op == Opcode.LOAD_CONSTANTS
    v["traffic"] = np.where(constants, int(Traffic.CONSTANTS), int(Traffic.ACTIVATIONS_READ))


def _products(v: dict[str, Ints], f: Fields, program: Program, overlay: Overlay) -> None:
    """Loop bounds of the matrix operations."""
    op = f[:, 0]
    for opcode, fill in ((Opcode.MATMUL, _matmul), (Opcode.ROUTE, _route)):
        at = op == opcode
        for name, value in fill(f[at], v["rows"][at], overlay).items():
            v[name][at] = value
    head = overlay.head_storage(program.context.shape.dimensions.head_dim)
    group = f[:, COLUMN["group"]]
    for opcode, attend in ((Opcode.SCORES, _scores), (Opcode.CONTEXT, _context)):
        at = op == opcode
        found = attend(head, v["rounds"][at], v["pairs"][at], v["rows"][at] * group[at], overlay)
        for name, value in found.items():
            v[name][at] = value
    v["operand"] = np.where((op == Opcode.CONTEXT) & (f[:, COLUMN["normalize"]] == 0), AS_IS, v["operand"])
    v["operand_stages"] = np.where(v["operand"] == AS_IS, 0, v["operand_stages"])
    at = np.isin(op, (Opcode.STATISTICS, Opcode.NORMALIZE))
    for name, value in _lane_pass(f[at], v["rows"][at], v["rounds"][at], overlay).items():
        v[name][at] = value


def _slots(overlay: Overlay, depth: Ints, columns: Ints) -> Ints:
    """NPE cycles of one result row: its interleaved sums are read one by one, its columns leave by lanes."""
    return np.maximum(np.minimum(overlay.psum.interleave, depth), -(-columns // overlay.npe.lanes))


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
        "operand_stages": o.npe.normalize_stages * (f[:, COLUMN["normalize"]] == 1),
        "drain_slots": rows * _slots(o, depth, np.minimum(columns, width)),
        "result_stages": o.npe.result_stages,
    }  # fmt: skip


def _route(f: Fields, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    depth, logits = f[:, COLUMN["k_tiles"]], f[:, COLUMN["columns"]]
    tile = o.pe_array.dot_length * logits * FP16_BYTES
    return {
        "source": np.where(logits > 0, CONSTANT_TILE, NO_TILE), "blocks": 1, "depth": depth,
        "tile_rows": rows, "tile_bytes": tile,
        "pop_bytes": o.ker.constant_bytes_per_cycle, "feed_tiles": 1,
        "operand": np.where(f[:, COLUMN["normalize"]] == 1, EVERY_TILE, AS_IS),
        "operand_stages": 0,  # the statistics branch off; the tile itself goes straight on
        "drain_slots": np.where(logits > 0, rows * _slots(o, depth, logits), 0),
        "result_stages": o.npe.statistics_stages + np.where(logits > 0, o.npe.route_stages, 0),
    }  # fmt: skip


def _scores(head: int, rounds: Ints, pairs: Ints, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    depth = np.full_like(rounds, head // o.pe_array.dot_length)
    packed = o.dataflow.packed_heads  # of a pair; alone, a head leaves half of the columns without keys
    tile = packed * o.pe_array.dot_length * FP16_BYTES
    columns = packed * o.pe_array.columns // 2
    return {
        "source": KV_TILE, "blocks": rounds * pairs * (2 // packed), "depth": depth, "tile_rows": rows,
        "tile_bytes": tile, "pop_bytes": o.chunk_bytes, "feed_tiles": packed,
        "operand": AS_IS, "operand_stages": 0,
        "drain_slots": rows * _slots(o, depth, np.full_like(rounds, columns)),
        "result_stages": o.npe.result_stages,
    }  # fmt: skip


def _context(head: int, rounds: Ints, pairs: Ints, rows: Ints, o: Overlay) -> dict[str, Ints | int]:
    fewest = -(-head // o.pe_array.columns)
    parts = next(n for n in range(fewest, head + 1) if head % n == 0)
    width = head // parts
    tiles = 2 * pairs * parts  # of one round
    slots = _slots(o, rounds, np.full_like(rounds, width))
    return {
        "source": KV_TILE, "blocks": 1, "depth": rounds * tiles, "tile_rows": rows,
        "tile_bytes": width * FP16_BYTES, "pop_bytes": o.chunk_bytes,
        "feed_tiles": 1, "operand": EVERY_TILE, "operand_stages": o.npe.exponential_stages,
        "drain_slots": rows * tiles * slots,
        "result_stages": o.npe.result_stages,
    }  # fmt: skip


def _lane_pass(f: Fields, rows: Ints, rounds: Ints, o: Overlay) -> dict[str, Ints | int]:
    """Every tile passes the lanes once and nothing is multiplied: X, or the raw scores of all heads."""
    scores, second = f[:, COLUMN["tokens"]] > 0, f[:, 0] == Opcode.NORMALIZE
    heads = 2 * f[:, COLUMN["pairs"]] * f[:, COLUMN["group"]]
    statistics = o.npe.statistics_stages + np.where(scores, o.npe.exponential_stages, 0)
    return {
        "source": NO_TILE, "blocks": 1, "depth": 1, "feed_tiles": 1, "drain_slots": 0,
        "tile_rows": rows * np.where(scores, rounds * heads, f[:, COLUMN["k_tiles"]]),
        "operand": EVERY_TILE, "operand_stages": 0,
        "result_stages": np.where(
            second, np.where(scores, o.npe.exponential_stages, o.npe.normalize_stages), statistics
        ),
    }  # fmt: skip
