"""What each instruction amounts to: loop bounds and latencies, from the trace's row masks.

In hardware the sequencer and the engines derive these numbers from the instruction and the router's row
count; here they are worked out for the whole program at once.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.program.builder import OPCODE_ENGINE
from skipopu.program.isa import COLUMN, ENGINES, Fields, Gate, Opcode, decode, writes_lists
from skipopu.program.program import Program
from skipopu.sim.loop_bounds import fill_loop_bounds
from skipopu.spec.ledger import Block, Part, Phase, Traffic
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.steps import DECODE_PHASES

HERTZ_PER_MHZ = 1_000_000
Ints = NDArray[np.int64]
Work = np.recarray[Any, Any]


WORK = np.dtype(
    [  # one record an instruction; sizes in the unit of the name
        ("opcode", "i8"),
        ("engine", "i8"),
        ("wait", "i8"),
        ("signal", "i8"),
        ("phase", "i8"),
        ("step", "i8"),
        ("layer", "i8"),
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
        ("shown", "i8"),  # the view that a read has of the K/V cache
        ("arrival", "i8"),  # core cycle before which the instruction is not there to be dispatched
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
        ("write_back", "i8"),  # 1: tiles that were normalised go back to the global buffer
        ("operand_distance", "i8"),  # cycles between two tiles of a row whose statistics are taken, 0 without
        ("statistics_rows", "i8"),  # rows that take turns in that, at least 1
        ("results", "i8"),  # PSUM entries of a block, ``slots`` a row
        ("slots", "i8"),
        ("words", "i8"),  # in which a row leaves the NPE
        ("head_words", "i8"),  # of them, of one head
        ("round_blocks", "i8"),  # column blocks of a K/V round
        ("distance", "i8"),  # cycles between two words of a row whose statistics are taken, 0 without
        ("post", "i8"),
        ("result_stages", "i8"),  # from the last word to the last thing written
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
    kv_pass = _blocks(program)
    step, layer = program.tags[:, 0], program.tags[:, 1]
    rows = _executed(program, f)
    rounds = np.where(layer >= 0, c.demand.rounds[kv_pass, np.maximum(layer, 0)], 0)
    generating = np.isin(c.trace.steps.phase, DECODE_PHASES)
    phases = np.where(generating, int(Phase.DECODE), int(Phase.PREFILL))
    values = {name: np.zeros(n, np.int64) for name in WORK.names or ()}
    values |= {
        "opcode": f[:, 0], "engine": _engine(f), "phase": phases[step].astype(np.int64), "step": step,
        "layer": layer, "block_rows": f[:, COLUMN["rows"]], "rows": rows,
        "rounds": rounds, "kv_pass": kv_pass, "decode": passes.decode[kv_pass].astype(np.int64),
        "arrival": arrival_cycles(c.trace, overlay)[step],
        "shown": passes.shown[kv_pass, np.maximum(layer, 0)],
    }  # fmt: skip
    for name in ("wait", "signal", "address", "stream", "value", "pair", "pairs", "tokens", "fence"):
        values[name] = f[:, COLUMN[name]]
    _transfers(values, f)
    fill_loop_bounds(values, f, overlay)
    values["following"] = following(values["engine"], program.parts)
    values |= {name: np.full(n, -1, np.int64) for name in ("issue", "first", "last")}
    found = np.zeros(n, WORK).view(np.recarray)
    for name, value in values.items():
        found[name] = value
    return found


def arrival_cycles(trace: Trace, overlay: Overlay) -> Ints:
    """Return the first core cycle in which the input of each step is there, [steps]."""
    return np.ceil(trace.steps.arrival_seconds * overlay.clock.core_mhz * HERTZ_PER_MHZ).astype(np.int64)


def _engine(f: Fields) -> Ints:
    table: Ints = np.array([OPCODE_ENGINE[Opcode(op)] for op in range(max(Opcode) + 1)], np.int64)
    return table[f[:, 0]]


def following(engine: Ints, parts: Ints) -> Ints:
    """Part of the next instruction in the PE array's queue; the last is followed by nothing of a layer."""
    found = np.full(len(parts), int(Part.OUTSIDE), np.int64)
    mine = np.flatnonzero(engine == ENGINES.index(Block.PE_ARRAY))
    found[mine[:-1]] = parts[mine[1:]]
    return found


def _blocks(program: Program) -> Ints:
    """Row block of each instruction, from the slot of its first row."""
    return np.maximum(np.searchsorted(program.context.passes.first, program.tags[:, 2], side="right") - 1, 0)


def _executed(program: Program, f: Fields) -> Ints:
    """Rows of each instruction's block that its gate lets through."""
    trace = program.context.trace
    rows = f[:, COLUMN["rows"]]
    found: Ints = np.maximum(rows, (rows == 0).astype(np.int64))  # weights and constants move once
    passes, layer, block = program.context.passes, program.tags[:, 1], _blocks(program)
    number = np.where(writes_lists(f), 0, f[:, COLUMN["list"]])
    for gate, rows_of in ((Gate.ATTENTION, trace.rows("q")), (Gate.FFN, trace.rows("ffn"))):
        gated = (f[:, COLUMN["gate"]] == gate) & (f[:, 0] != Opcode.ROUTE) & (number == 0)
        found[gated] = passes.counts(rows_of)[block[gated], layer[gated]]
    for listed in np.unique(number[number > 0]).tolist():
        at = number == listed
        found[at] = passes.counts(program.context.lists.bits[listed - 1])[block[at], layer[at]]
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
