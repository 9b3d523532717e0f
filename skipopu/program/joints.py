"""Joints: states of vision layers that join the visual tokens at the entry of a decoder layer (layer fusion).

What joins before the decoder is the vision side's: the embeddings are what it hands over. Within it the host puts the
projected states into DDR4, and they are added to X, or go with X through a module of the joint's own, 2D → GELU → D,
with biases, whose result is added. A module's weights lie in HBM behind all others.

There is no addition without a product, so a state is added as the residual of one: the state's tiles times an identity
as wide as the array. That takes a tile a cycle, as a pass of the NPE would, and the identity once for as many columns;
its multiply-accumulates are none of the model's and are not counted as such.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import FP16_BYTES, Overlay
from skipopu.trace import Event, EventKind, Trace
from skipopu.trace.steps import DECODE_PHASES
from skipopu.trace.visual import visual_segments

IDENTITY = "identity"
Sizes = tuple[int, int, str]  # rows of a weight matrix, columns, datatype


class Joint(NamedTuple):
    """The states after a vision layer, where they join, and in which steps."""

    number: int
    layer: int
    modular: bool
    steps: tuple[int, ...]

    @property
    def matrices(self) -> tuple[str, str]:
        """Names of the module's matrices: from X and state side by side, and to X."""
        return f"fuse_in{self.number}", f"fuse_out{self.number}"


def joints_of(trace: Trace) -> tuple[Joint, ...]:
    """Return the joints within the decoder, in the order of their events."""
    steps: dict[tuple[int, int, int], list[int]] = {}
    for event in joint_events(trace):
        steps.setdefault((event.layer, event.k, event.outcome), []).append(event.step)
    return tuple(Joint(n, at[0], at[2] == 1, tuple(of)) for n, (at, of) in enumerate(steps.items()))


def joint_events(trace: Trace) -> list[Event]:
    """Return the events that states join within the decoder."""
    return [event for event in trace.events if event.kind is EventKind.FUSE and event.layer >= 0]


def joined_rows(trace: Trace) -> NDArray[np.bool_]:
    """Return which tokens a state joins at the entry of each layer, [layers, tokens]."""
    found = np.zeros((trace.layers, trace.tokens), np.bool_)
    for event in joint_events(trace):
        found[event.layer] |= visual_segments(trace) & (trace.steps.of_token() == event.step)
    return found


def check_joints(trace: Trace, overlay: Overlay) -> None:
    """Raise SpecError for states that join other tokens than all visual ones of a prefill, or without GELU.

    A constants half has to hold scales and biases of a module's matrix.
    """
    visual, size = visual_segments(trace), 2 * FP16_BYTES * trace.header.shape.dimensions.hidden_size
    for event in joint_events(trace):
        first = int(trace.steps.first_token[event.step])
        own = slice(first, first + int(trace.steps.token_count[event.step]))
        there = int((visual & trace.rows("q")[event.layer])[own].sum())
        if trace.steps.phase[event.step] in DECODE_PHASES or not event.rows == there == int(visual[own].sum()):
            raise SpecError(
                f"trace: {event}: rows = {event.rows} in layer {event.layer}, which {there} visual tokens of the step"
                f" run; the compiler takes all {int(visual[own].sum())} visual tokens of a prefill"
            )
        if event.outcome == 1 and not overlay.npe.gelu:
            raise SpecError(f"overlay {overlay.name}: npe.gelu = false; {event} by way of GELU; --set npe.gelu=true")
        if event.outcome == 1 and size > overlay.constants.half_bytes:
            raise SpecError(
                f"overlay {overlay.name}: constants.half_bytes = {overlay.constants.half_bytes}; {event}: scales and"
                f" biases of a module need {size}; nearest: {size}"
            )


def joint_matrices(joints: tuple[Joint, ...], shape: ModelShape, overlay: Overlay) -> dict[tuple[int, str], Sizes]:
    """Return (layer, name) → size of the weight matrices that joints need; X and state fill row tiles of their own."""
    d, dot, w = shape.dimensions.hidden_size, overlay.pe_array.dot_length, overlay.datatypes.weights
    hidden, found = math.ceil(d / dot) * dot, dict[tuple[int, str], Sizes]()
    for joint in joints:
        if joint.modular:
            into, out = joint.matrices
            found |= {(joint.layer, into): (2 * hidden, hidden, w), (joint.layer, out): (d, hidden, w)}
        else:
            width = identity_tiles(shape, overlay) * dot
            found[-1, IDENTITY] = (width, width, w)
    return found


def identity_tiles(shape: ModelShape, overlay: Overlay) -> int:
    """Row tiles that are added in a product: as many as the array has columns for, and X a multiple of."""
    dot = overlay.pe_array.dot_length
    return math.gcd(max(overlay.pe_array.columns // dot, 1), math.ceil(shape.dimensions.hidden_size / dot))
