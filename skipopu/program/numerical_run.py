"""A model run in the overlay's numerics, and the trace of it: what a program for the overlay must do and compute."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.decoder import ATTENTION, FFN, Decoder, Output
from skipopu.numerics.decoder_parameters import Routing
from skipopu.program.context import resolve
from skipopu.program.parameters import Bits, ModelParameters
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay
from skipopu.trace import Header, Segment, StepPhase, Steps, Trace, make_trace


@dataclass(frozen=True)
class NumericalRun:
    """The trace with its decisions and tokens, and what each step gave: the prefill, then every decode step."""

    trace: Trace
    outputs: tuple[Output, ...]
    row_block: int  # rows of the prefill's blocks

    @property
    def logits(self) -> Bits:
        """FP16 bits [steps, vocabulary]; a prefill has those of its last row."""
        return np.concatenate([output.logits[-1:] for output in self.outputs])


def run_numerics(
    parameters: ModelParameters, header: Header, overlay: Overlay, board: Board, prompt: Sequence[int], decode: int
) -> NumericalRun:
    """Prefill ``prompt``, decode ``decode`` tokens greedily; ``header`` says routers, K/V policy, family, origin.

    The rows of a block change the K/V rounds and by them last bits, and the compiler chooses them by the decisions: the
    run is repeated with the compiler's choice until both agree. Raises SpecError for what the compiler refuses.
    """
    rows = min(overlay.dataflow.row_block, len(prompt))
    while True:
        ids, outputs = _run(parameters, routing_of(header), overlay, prompt, decode, rows)
        found = NumericalRun(_trace(header, ids, outputs, len(prompt)), tuple(outputs), rows)
        passes = resolve(found.trace, overlay, board).passes
        chosen = int(passes.rows[~passes.decode].max())
        if chosen == rows:
            return found
        if chosen > rows:
            raise SpecError(
                f"prefill of {len(prompt)} tokens: blocks of {rows} rows lead to {chosen} and back;"
                f" set dataflow.row_block={rows}"
            )
        rows = chosen


def routing_of(header: Header) -> Routing:
    """Return what the decoder's numerics need of a trace's header."""
    return Routing(header.kv_policy, header.router.ffn_input, header.router.kind)


def _run(
    parameters: ModelParameters, routing: Routing, overlay: Overlay, prompt: Sequence[int], decode: int, rows: int
) -> tuple[list[int], list[Output]]:
    """All tokens fed, and the output of every step."""
    decoder = Decoder(overlay, parameters, routing, len(prompt) + decode, rows)
    ids, outputs = list(prompt), [decoder.prefill(prompt)]
    for _ in range(decode):
        ids.append(int(outputs[-1].logits[-1].view(np.float16).argmax()))
        outputs.append(decoder.decode(ids[-1]))
    return ids, outputs


def _trace(header: Header, ids: Sequence[int], outputs: Sequence[Output], prompt: int) -> Trace:
    executed: NDArray[np.bool_] = np.concatenate([output.executed for output in outputs], axis=2)
    steps = len(outputs) - 1
    attention = executed[ATTENTION]
    return make_trace(
        replace(header, segments=(Segment("text", 0, len(ids)),)),
        Steps.of([StepPhase.PREFILL] + [StepPhase.DECODE] * steps, [prompt] + [1] * steps),
        q=attention, kv=np.ones_like(attention) if header.kv_policy == "dense" else attention, ffn=executed[FFN],
        token_ids=np.asarray(ids, np.int32),
    )  # fmt: skip
