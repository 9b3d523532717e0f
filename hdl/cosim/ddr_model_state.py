"""The simulator's machine with nothing but load, store and DDR4, and what drives it."""

from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from skipopu.hdl.cosim.ddr_events import PATTERNS
from skipopu.hdl.cosim.ddr_memory_state import EVENT
from skipopu.hdl.cosim.ddr_stimulus import AT, DdrWork, Ints
from skipopu.program.isa import Opcode
from skipopu.sim import machine as state
from skipopu.sim.ddr import new_ddr
from skipopu.sim.machine import HISTORY, MOST_BURSTS, Machine, overlay_parameters, record
from skipopu.sim.work import WORK
from skipopu.spec.board import Board
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import DDR_CHANNELS, Overlay

CAUSE_BITS = 4
CYCLES, BURSTS = 4000, 1000  # of an instruction, at most


class DdrModel(NamedTuple):
    """The machine, what it works on, and what was seen."""

    machine: Machine
    stalls: Any  # [PATTERNS, cycle]
    given: Any  # [engine, instruction, FIELDS]
    fetch: Ints
    state: Any  # record
    trace: Ints  # [cycle]
    bursts: Ints  # [event, EVENT]


STATE = [
    ("next", "i8", (2,)),  # instruction of each engine
    ("free", "i8", (2,)),  # cycle from which on the next one may come
    ("pushed", "i8", (DDR_CHANNELS,)), "written",  # bursts; write bursts whose beats have left
    "fetch", "offered", ("fetched", "i8", (HISTORY,)), "bursts", "tiles", ("places", "i8", (MOST_BURSTS,)),
]  # fmt: skip


def new_model(overlay: Overlay, board: Board, work: DdrWork) -> DdrModel:
    """Return the machine at cycle 0; it has only what load, store and DDR4 need."""
    count = len(work.load)
    return DdrModel(
        machine=_machine(overlay, board, work), stalls=np.stack([work.stalls[name] for name in PATTERNS]),
        given=np.stack([work.load, work.store]), fetch=work.fetch, state=record(STATE),
        trace=np.zeros(CYCLES * count, np.int64), bursts=np.zeros((BURSTS * count, len(EVENT)), np.int64),
    )  # fmt: skip


def _machine(overlay: Overlay, board: Board, work: DdrWork) -> Machine:
    p, engines = overlay_parameters(overlay), record(state.ENGINES_STATE)
    ratio = Fraction(board.ddr.axi_mhz) / Fraction(overlay.clock.core_mhz).limit_denominator(1000)
    p.ddr_channels, p.ddr_ticks, p.ddr_cycles = DDR_CHANNELS, ratio.numerator, ratio.denominator
    records = {name: record(["unused"]) for name in Machine._fields} | {
        "p": p, "engines": engines, "work": _work(work), "load": record(state.LOAD), "store": record(state.STORE),
        "ddr_ports": state.new_ddr_ports(), "buffer": record(state.BUFFER), "total": record(state.TOTAL),
        "counts": record(state.COUNTS), "sequencer": record(state.SEQUENCER), "pe": record(state.PE),
        "ddr": new_ddr(board),
    }  # fmt: skip
    return Machine(**records)


def _work(work: DdrWork) -> Any:
    given = np.concatenate([work.load, work.store])
    found = np.zeros(len(given), WORK).view(np.recarray)
    for name in ("amount", "address", "stream"):
        found[name] = given[:, AT[name]]
    constants = given[:, AT["opcode"]] == Opcode.LOAD_CONSTANTS
    found["traffic"] = np.where(constants, int(Traffic.CONSTANTS), int(Traffic.ACTIVATIONS_READ))
    found["wait"] = given[:, AT["blocked"]]
    found["first"] = state.FAR  # until it has begun
    return found
