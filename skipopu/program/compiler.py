"""Trace and overlay to program."""

import numpy as np

from skipopu.program.block import Block
from skipopu.program.context import Context, resolve
from skipopu.program.decode import emit_decode
from skipopu.program.emitter import Emitter
from skipopu.program.isa import encode
from skipopu.program.prefill import emit_prefill
from skipopu.program.program import Program
from skipopu.spec.board import Board
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace


def compile_trace(trace: Trace, overlay: Overlay, board: Board) -> Program:
    """Compile a trace of prefill and decode steps.

    Raises SpecError for what the compiler cannot carry (several caches, events, ragged groups) and for a
    model or a sequence that does not fit.
    """
    context = resolve(trace, overlay, board)
    emitter = Emitter(context)
    for step in range(len(trace.steps)):
        _emit_step(emitter, context, step)
    fields, tags = emitter.b.finish()
    return Program(encode(fields), tags, context, np.array(emitter.b.parts, np.int64))


def _emit_step(emitter: Emitter, context: Context, step: int) -> None:
    passes, rounds = context.passes, context.demand.rounds.max(axis=1)
    own = np.flatnonzero(passes.step == step)
    blocks = [Block(int(p), int(passes.first[p]), int(passes.rows[p]), int(rounds[p])) for p in own]
    if passes.decode[own[0]]:
        emit_decode(emitter, step, blocks[0])
    else:
        emit_prefill(emitter, step, blocks)
