"""What functional machine and RTL carry of a trace, and which numbers go with it; all else is refused by name."""

from collections.abc import Iterator
from dataclasses import replace

from skipopu.numerics.floating_point import FP16
from skipopu.program.context import Context
from skipopu.program.executed_shape import layer_widths
from skipopu.program.factors import largest_rank
from skipopu.program.head_matrices import Heads, heads_of
from skipopu.program.image_vectors import positions_of
from skipopu.program.parameters import ModelParameters
from skipopu.spec.error import SpecError
from skipopu.trace import StepPhase


def check_image(c: Context, parameters: ModelParameters) -> None:
    """Raise SpecError for a trace that only the simulator carries, and for numbers that do not go with it."""
    for what in _simulated_only(c):
        raise SpecError(f"trace: {what}: in the simulator only")
    _check_numbers(c, parameters)
    _check_norms(c)


def _simulated_only(c: Context) -> Iterator[str]:
    """Yield what a trace has that neither functional machine nor RTL carries."""
    widths = layer_widths(c.trace)
    if (c.trace.steps.phase == StepPhase.ENCODE).any() or c.joints:
        yield "encode steps, or vision states that join within the decoder"
    if c.passes.shown.any() or c.trace.steps.arrival_seconds.any():
        yield "several K/V caches, popped entries or arrival times"
    if heads_of(c.trace) != Heads():
        yield "logits of several rows, scores, decisions or a search"
    if c.lists.count:
        yield "groups, experts or stand-ins, which row lists choose"
    if any(map(largest_rank, widths)) or len({w.ffn for w in widths if w.ffn}) > 1:
        yield "low-rank weights, or FFNs of several widths"


def _check_numbers(c: Context, parameters: ModelParameters) -> None:
    d, needed = c.shape.dimensions, int(positions_of(c).max()) + 1
    # the LM head has weights of its own, tied or not: they are quantised
    if replace(parameters.shape.dimensions, tied_embeddings=d.tied_embeddings) != d:
        raise SpecError(f"numbers of shape {parameters.shape.name}; the program was compiled for {c.shape.name}")
    table = parameters.cosines if c.shape.rotary else parameters.positions
    if table is not None and len(table) < needed:
        raise SpecError(f"numbers of {len(table)} positions; the trace has {needed}")
    routers = [r for layer in parameters.layers for r in (layer.attention_router, layer.ffn_router) if r is not None]
    biases = [b for r in routers for b in (r.last_bias, r.hidden_bias) if b is not None]
    if any((bias & (FP16.sign - 1)).any() for bias in biases):
        raise SpecError("a router has a bias; ROUTE adds none to its logits; train routers without or set them to zero")


def _check_norms(c: Context) -> None:
    d = c.shape.dimensions
    if d.qk_norm:
        raise SpecError(f"shape {c.shape.name}: qk_norm = true; programs have no norms of queries and keys")
    if c.overlay.npe.layer_norm != (d.norm == "layer"):
        raise SpecError(
            f"overlay {c.overlay.name}: npe.layer_norm = {str(c.overlay.npe.layer_norm).lower()}; shape {c.shape.name}"
            f" has norm = {d.norm}; --set npe.layer_norm={str(d.norm == 'layer').lower()}"
        )
