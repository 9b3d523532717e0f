"""Bytes and busy cycles of a run, worked out from trace, shape and overlay alone.

The audit compares two sides that both look into the simulator's work table; these do not.
"""

import numpy as np

from skipopu.program.context import Context
from skipopu.program.isa import COLUMN, Gate, Opcode, decode
from skipopu.program.program import Program
from skipopu.sim.run import Run
from skipopu.spec.ledger import Block, Cause, NpeWork, Traffic
from skipopu.spec.overlay import DDR_BEAT_BYTES, FP16_BYTES, HBM_BEAT_BYTES, Overlay

PRODUCTS = (Opcode.MATMUL, Opcode.ROUTE, Opcode.SCORES, Opcode.CONTEXT)
LANE_PASSES = (Opcode.STATISTICS, Opcode.NORMALIZE)


def differences(program: Program, overlay: Overlay, run: Run) -> list[str]:
    """What the run counted otherwise than it must, one line each; none for a true run."""
    pairs = expected(program, overlay, run)
    return [f"{name}: counted {got}, expected {want}" for name, (got, want) in pairs.items() if got != want]


def expected(program: Program, overlay: Overlay, run: Run) -> dict[str, tuple[int, int]]:
    """Return name → (counted, expected)."""
    trace, memory = program.context.trace, program.context.memory
    traffic, busy = run.traffic.sum(axis=0), run.ledger[:, :, Cause.BUSY].sum(axis=0)
    hbm, ddr = run.dram["hbm"], run.dram["ddr"]
    reads = traffic[Traffic.CONSTANTS] + traffic[Traffic.ACTIVATIONS_READ] + traffic[Traffic.INSTRUCTIONS]
    pairs = {
        "weights": (traffic[Traffic.WEIGHTS], weight_bytes(program, overlay)),
        "kv written": (traffic[Traffic.KV_WRITE], 2 * memory.vector_bytes * trace.rows("kv").sum()),
        "kv read": (traffic[Traffic.KV_READ], kv_read_bytes(program)),
        "array cycles": (busy[Block.PE_ARRAY], array_cycles(program, overlay)),
        **{
            f"npe {work.label}": (run.npe[work], npe_work(program, overlay)[work]) for work in NpeWork
        },
        "npe busy": (max(run.npe) <= busy[Block.NPE] <= sum(run.npe), True),
        "hbm read": (hbm["read_beats"] * HBM_BEAT_BYTES, traffic[Traffic.WEIGHTS] + traffic[Traffic.KV_READ]),
        "hbm written": (hbm["write_beats"] * HBM_BEAT_BYTES, traffic[Traffic.KV_WRITE]),
        "ddr read": (ddr["read_beats"] * DDR_BEAT_BYTES, reads),
        "ddr written": (ddr["write_beats"] * DDR_BEAT_BYTES, traffic[Traffic.ACTIVATIONS_WRITE]),
    }
    pairs |= {
        "rows loaded": (traffic[Traffic.ACTIVATIONS_READ], row_bytes(program, overlay, Opcode.LOAD_ROWS)),
        "rows stored": (traffic[Traffic.ACTIVATIONS_WRITE], row_bytes(program, overlay, Opcode.STORE_ROWS)),
    }
    return {name: (int(got), int(want)) for name, (got, want) in pairs.items()}


def kv_read_bytes(program: Program) -> int:
    """K and V of the entries that the schedule takes from HBM, where a query of the row block runs."""
    c = program.context
    rows = zip(c.passes.first, c.passes.rows, strict=True)
    runs = np.array([c.trace.rows("q")[:, first : first + count].any(axis=1) for first, count in rows])
    return int(2 * c.memory.vector_bytes * (c.demand.hbm_entries * runs).sum())


def executed(program: Program, index: int, fields: np.ndarray) -> int:
    """Rows of an instruction's block that run, counted in the trace's masks."""
    context = program.context
    _, layer, first = (int(v) for v in program.tags[index])
    gate, opcode = fields[COLUMN["gate"]], fields[0]
    if gate == Gate.ALL or opcode == Opcode.ROUTE:
        return int(fields[COLUMN["rows"]])
    count = int(context.passes.rows[context.passes.first == first][0])
    rows = context.trace.rows("q" if gate == Gate.ATTENTION else "ffn")
    return int(rows[layer, first : first + count].sum())


def kv_rounds(context: Context, layer: int, first: int) -> int:
    """K/V rounds of the row block that begins at token ``first``."""
    block = np.flatnonzero(context.passes.first == first)
    return int(context.demand.rounds[block[0], max(int(layer), 0)]) if block.size else 0


def row_bytes(program: Program, overlay: Overlay, opcode: Opcode) -> int:
    """Bytes of the row tiles that loads or stores move, each in whole words of the DDR4 interface."""
    total = 0
    for index, f in enumerate(decode(program.words)):
        if f[0] != opcode:
            continue
        rows, (_, layer, first) = executed(program, index, f), program.tags[index]
        if rows and not f[COLUMN["compact"]]:
            rows = int(f[COLUMN["rows"]])
        tiles = int(f[COLUMN["k_tiles"]])
        if f[COLUMN["tokens"]]:
            tiles *= kv_rounds(program.context, layer, first)
        total += -(-rows * tiles * overlay.tile_bytes // overlay.ddr_bytes_per_cycle)
    return total * overlay.ddr_bytes_per_cycle


def products(program: Program) -> list[tuple[Opcode, np.ndarray, int, int]]:
    """(opcode, fields, executed rows, K/V rounds) of every matrix operation and pass of the lanes."""
    found, context = [], program.context
    for index, fields in enumerate(decode(program.words)):
        opcode, (_, layer, first) = Opcode(int(fields[0])), program.tags[index]
        if opcode in PRODUCTS + LANE_PASSES:
            found.append((opcode, fields, executed(program, index, fields), kv_rounds(context, layer, first)))
    return found


def array_cycles(program: Program, overlay: Overlay) -> int:
    """Rows times weight tiles of all products: the array issues one row a cycle."""
    total, width = 0, overlay.pe_array.columns
    head = overlay.head_storage(program.context.shape.dimensions.head_dim)
    for opcode, f, rows, rounds in products(program):
        depth, columns, pairs = (int(f[COLUMN[name]]) for name in ("k_tiles", "columns", "pairs"))
        heads = rows * int(f[COLUMN["group"]])
        if opcode == Opcode.MATMUL:
            total += rows * depth * -(-columns // width)
        elif opcode == Opcode.ROUTE:
            total += rows * depth * (columns > 0)
        elif opcode == Opcode.SCORES:
            apart = 2 // overlay.dataflow.packed_heads
            total += heads * rounds * pairs * apart * (head // overlay.pe_array.dot_length)
        elif opcode == Opcode.CONTEXT:
            total += heads * rounds * 2 * pairs * parts(overlay, head)
    return total


def parts(o: Overlay, head: int) -> int:
    """Equal column parts of a head: none wider than the array, none across an HBM chunk that it does not fill."""
    chunk = o.chunk_bytes // FP16_BYTES

    def whole(width: int) -> bool:
        return width <= o.pe_array.columns and (width % chunk == 0 or chunk % width == 0)

    return min(n for n in range(1, head + 1) if head % n == 0 and whole(head // n))


def npe_work(program: Program, overlay: Overlay) -> np.ndarray:
    """[NpeWork]: sums of PSUM, words of their pairs, tiles on their way in."""
    o, total = overlay, np.zeros(len(NpeWork), np.int64)
    head = o.head_storage(program.context.shape.dimensions.head_dim)
    for opcode, f, rows, rounds in products(program):
        depth, columns, pairs = (int(f[COLUMN[name]]) for name in ("k_tiles", "columns", "pairs"))
        heads, normalized = rows * int(f[COLUMN["group"]]), bool(f[COLUMN["normalize"]])
        if opcode == Opcode.MATMUL:
            blocks = -(-columns // o.pe_array.columns)
            total += leaving(o, rows * blocks, depth, [min(columns, o.pe_array.columns)])
            total += passing(rows * depth * normalized)
        elif opcode == Opcode.ROUTE:
            total += leaving(o, rows * (columns > 0), depth, [columns]) + passing(rows * depth * normalized)
        elif opcode == Opcode.SCORES:
            packed, half = o.dataflow.packed_heads, o.pe_array.columns // 2
            total += leaving(o, heads * rounds * pairs * 2 // packed, head // o.pe_array.dot_length, [half] * packed)
        elif opcode == Opcode.CONTEXT:
            tiles = 2 * pairs * parts(o, head)
            total += leaving(o, heads * tiles, rounds, [head // parts(o, head)])
            total += passing(heads * tiles * rounds * o.dataflow.fused)
        else:
            total += passing(heads * 2 * pairs * rounds if f[COLUMN["tokens"]] else rows * depth)
    return total


def leaving(o: Overlay, rows: int, depth: int, groups: list[int]) -> np.ndarray:
    """Rows of results: an entry an interleaved sum, and each pair of them in words of the columns of one group."""
    slots, width = min(o.psum.interleave, depth), min(o.npe.lanes, o.pe_array.columns)
    words = sum(-(-columns // width) for columns in groups)
    return rows * np.array([slots, -(-slots // 2) * words, 0])


def passing(tiles: int) -> np.ndarray:
    return np.array([0, 0, tiles])


def weight_bytes(program: Program, overlay: Overlay) -> int:
    """Every matrix once in each row block in which its module runs; the LM head once a step."""
    c, trace = program.context, program.context.trace
    sets = len(trace.steps) * c.memory.matrices[-1, "lm_head"].chunk_sets
    for first, count in zip(c.passes.first, c.passes.rows, strict=True):
        for layer in range(trace.layers):
            q, kv, ffn = (trace.rows(k)[layer, first : first + count].any() for k in ("q", "kv", "ffn"))
            runs = {"k": kv, "v": kv, "q": q, "o": q, "gate_up": ffn, "up": ffn, "down": ffn}
            runs |= {f"router_{m}": c.routed(m, layer) and c.router_hidden > 0 for m in ("attention", "ffn")}
            for name, is_on in runs.items():
                matrix = c.memory.matrices.get((layer, name))
                sets += matrix.chunk_sets if matrix is not None and is_on else 0
    return sets * overlay.hbm_bytes_per_cycle
