"""Bytes and busy cycles follow from the trace, the shape and the overlay; here they are worked out from those alone.

The audit compares two sides that both look into the simulator's work table; these tests do not.
"""

import numpy as np
from hypothesis import given, settings
from small_machine import BOARD, overlays, traces

from skipopu.program.compiler import compile_trace
from skipopu.program.isa import COLUMN, Gate, Opcode, decode
from skipopu.program.program import Program
from skipopu.sim.reference import simulate
from skipopu.spec.ledger import Block, Cause, Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace


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


def products(program: Program, overlay: Overlay) -> list[tuple[Opcode, np.ndarray, int, int]]:
    """(opcode, fields, executed rows, K/V rounds) of every matrix operation."""
    found, context = [], program.context
    for index, fields in enumerate(decode(program.words)):
        opcode, (_, layer, first) = Opcode(int(fields[0])), program.tags[index]
        if opcode in (Opcode.MATMUL, Opcode.ROUTE, Opcode.SCORES, Opcode.CONTEXT):
            here = int(np.flatnonzero(context.passes.first == first)[0]) if first in context.passes.first else 0
            rounds = int(context.demand.rounds[here, max(int(layer), 0)])
            found.append((opcode, fields, executed(program, index, fields), rounds))
    return found


def array_cycles(program: Program, overlay: Overlay) -> int:
    """Rows times weight tiles of all products: the array issues one row a cycle."""
    total, width = 0, overlay.pe_array.columns
    head = overlay.head_storage(program.context.shape.dimensions.head_dim)
    for opcode, f, rows, rounds in products(program, overlay):
        depth, columns, pairs = (int(f[COLUMN[name]]) for name in ("k_tiles", "columns", "pairs"))
        heads = rows * int(f[COLUMN["group"]])
        if opcode == Opcode.MATMUL:
            total += rows * depth * -(-columns // width)
        elif opcode == Opcode.ROUTE:
            total += rows * depth * (columns > 0)
        elif opcode == Opcode.SCORES:
            total += heads * rounds * pairs * (head // overlay.pe_array.dot_length)
        else:
            total += heads * rounds * 2 * pairs * parts(head, width)
    return total


def parts(head: int, width: int) -> int:
    """Equal column parts of a head, none wider than the array."""
    return min(n for n in range(1, head + 1) if head % n == 0 and head // n <= width)


def lane_cycles(program: Program, overlay: Overlay) -> int:
    """NPE cycles: results by interleaved sums or by lanes, whichever takes longer, and operands row by row."""
    o, total = overlay, 0
    head = o.head_storage(program.context.shape.dimensions.head_dim)
    for opcode, f, rows, rounds in products(program, o):
        depth, columns, pairs = (int(f[COLUMN[name]]) for name in ("k_tiles", "columns", "pairs"))
        heads, normalized = rows * int(f[COLUMN["group"]]), bool(f[COLUMN["normalize"]])
        if opcode == Opcode.MATMUL:
            total += rows * -(-columns // o.pe_array.columns) * slots(o, depth, min(columns, o.pe_array.columns))
            total += rows * depth * normalized
        elif opcode == Opcode.ROUTE:
            total += rows * slots(o, depth, columns) * (columns > 0) + rows * depth * normalized
        elif opcode == Opcode.SCORES:
            depth = head // o.pe_array.dot_length
            total += heads * rounds * pairs * slots(o, depth, o.pe_array.columns)
        else:
            tiles = 2 * pairs * parts(head, o.pe_array.columns)
            total += heads * tiles * (rounds + slots(o, rounds, head // parts(head, o.pe_array.columns)))
    return total


def slots(o: Overlay, depth: int, columns: int) -> int:
    return max(min(o.psum.interleave, depth), -(-columns // o.npe.lanes))


def weight_bytes(program: Program, overlay: Overlay) -> int:
    """Every matrix once in each row block in which its module runs; the LM head once a step."""
    c, trace = program.context, program.context.trace
    sets = len(trace.steps) * c.memory.matrices[-1, "lm_head"].chunk_sets
    for first, count in zip(c.passes.first, c.passes.rows, strict=True):
        for layer in range(trace.layers):
            q, kv, ffn = (trace.rows(k)[layer, first : first + count].any() for k in ("q", "kv", "ffn"))
            runs = {"k": kv, "v": kv, "q": q, "o": q, "gate_up": ffn, "down": ffn}
            runs |= {f"router_{m}": c.routed(m, layer) and c.router_hidden > 0 for m in ("attention", "ffn")}
            for name, is_on in runs.items():
                matrix = c.memory.matrices.get((layer, name))
                sets += matrix.chunk_sets if matrix is not None and is_on else 0
    return sets * overlay.hbm_bytes_per_cycle


@settings(max_examples=80)
@given(trace=traces(), overlay=overlays())
def test_bytes_and_busy_cycles(trace: Trace, overlay: Overlay) -> None:
    program = compile_trace(trace, overlay, BOARD)
    found = simulate(program, overlay, BOARD)
    traffic, busy = found.traffic.sum(axis=0), found.ledger[:, :, Cause.BUSY].sum(axis=0)
    d = trace.header.shape.dimensions
    entry = d.kv_heads * overlay.head_storage(d.head_dim) * 2
    assert traffic[Traffic.WEIGHTS] == weight_bytes(program, overlay)
    assert traffic[Traffic.KV_WRITE] == 2 * entry * trace.rows("kv").sum()
    assert busy[Block.PE_ARRAY] == array_cycles(program, overlay)
    assert busy[Block.NPE] == lane_cycles(program, overlay)
    demand = program.context.demand
    queries = program.context.passes
    read = sum(
        2 * entry * demand.hbm_entries[p, layer]
        for p, (first, rows) in enumerate(zip(queries.first, queries.rows, strict=True))
        for layer in range(trace.layers)
        if trace.rows("q")[layer, first : first + rows].any()
    )
    assert traffic[Traffic.KV_READ] == read
