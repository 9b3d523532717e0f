"""What the compiler has a program for; everything else is refused by name."""

from skipopu.program.executed_shape import check_pairs, layer_widths
from skipopu.program.factors import largest_rank
from skipopu.program.head_checks import check_heads
from skipopu.program.joints import check_joints
from skipopu.program.row_blocks import REGROUPING, active_rows
from skipopu.program.row_lists import CHANNELS, EXPERTS, HEADS, STAND_INS
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import StepPhase, Trace
from skipopu.trace.schema import RowKind

ARRAYS = frozenset({
    "rows_q", "rows_kv", "rows_ffn", "token_ids", "positions", "token_class", "kv_source", "mask_class",
    "kv_read", "head_groups", "ffn_groups", "experts", "approx_rows", "kv_read_offsets", "logit_rows",
    "expert_scores",  # numbers that weigh what runs
})  # fmt: skip


def check_carried(trace: Trace, shape: ModelShape, overlay: Overlay) -> None:
    """Raise SpecError naming what of a trace or a model the compiler has no program for."""
    _check_steps(trace)
    _check_layer_shapes(trace)
    _check_events(trace)
    _check_arrays(trace)
    check_pairs(trace.header, shape)
    check_heads(trace)
    check_joints(trace, overlay)
    _check_units(trace, shape, overlay)


def _check_steps(trace: Trace) -> None:
    for s, phase in enumerate(trace.steps.phase):
        if phase == StepPhase.ENCODE and trace.header.router.kind != "none":
            raise SpecError(f"trace step {s}: phase encode beside routers; the compiler takes one of them")
    if trace.header.kv_policy == "reuse_last" and len(trace.header.caches) > 1:
        raise SpecError("trace: kv_policy = reuse_last and several K/V caches; the compiler takes one of them")


def _check_arrays(trace: Trace) -> None:
    extra = sorted(set(trace.arrays) - ARRAYS)
    if extra:
        raise SpecError(f"trace: array {extra[0]!r} changes what is executed; the compiler takes row masks only")


def _check_layer_shapes(trace: Trace) -> None:
    """Rows say as well that a layer lacks a module; a product behind another one would find its gated rows moved up."""
    parts = [name for name in (HEADS, CHANNELS, EXPERTS, STAND_INS) if name in trace.arrays]
    if parts and trace.header.layer_shapes:
        raise SpecError(f"trace: layer shapes and array {parts[0]!r}; the compiler takes one of them")
    for layer, widths in enumerate(layer_widths(trace)):
        attention = min(widths.query, widths.kv)
        kinds: dict[RowKind, int] = {"q": attention, "kv": attention, "ffn": widths.ffn}
        for kind, size in kinds.items():
            if not size and trace.rows(kind)[layer].any():
                raise SpecError(f"trace: layer {layer} has a size of 0 and rows_{kind} that run; expected none")
        if largest_rank(widths) and trace.header.router.kind != "none":
            raise SpecError(f"trace: layer {layer} has low-rank weights beside routers; the compiler takes one of them")


def _check_events(trace: Trace) -> None:
    """What happens to tokens is known from their rows; a router decides about tokens that are there."""
    for event in trace.events:
        if event.kind in REGROUPING and trace.header.router.kind != "none":
            raise SpecError(f"trace: event {event.kind.name.lower()} beside routers; the compiler takes one of them")
    if trace.header.kv_policy == "reuse_last" and not active_rows(trace).all():
        raise SpecError("trace: kv_policy = reuse_last and tokens that leave; the compiler takes one of them")


def _check_units(trace: Trace, shape: ModelShape, overlay: Overlay) -> None:
    """The NPE has the units that the model's layers need, and the model has the positions."""
    d = shape.dimensions
    for key, there, needed, what in (
        ("npe.layer_norm", overlay.npe.layer_norm, d.norm == "layer", "norm = layer"),
        ("npe.gelu", overlay.npe.gelu, d.activation == "gelu", "activation = gelu"),
    ):
        if needed and not there:
            raise SpecError(f"overlay {overlay.name}: {key} = false; shape {shape.name} has {what}; --set {key}=true")
    own = trace.array("positions")
    positions = trace.tokens if own is None else 1 + int(own.max())
    if d.learned_positions and positions > d.learned_positions:
        raise SpecError(
            f"trace: {positions} positions; shape {shape.name} has learned_positions = {d.learned_positions};"
            " shorten the sequence"
        )
