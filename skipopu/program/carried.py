"""What the compiler has a program for; everything else is refused by name."""

from skipopu.program.row_blocks import REGROUPING, active_rows
from skipopu.spec.error import SpecError
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import EventKind, LayerShape, StepPhase, Trace
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.steps import DECODE_PHASES

DROPPED = ("attention_heads", "kv_heads", "intermediate_size")  # where they are 0
CARRIED = (*REGROUPING, EventKind.EARLY_EXIT, EventKind.KV_POP, EventKind.PREFIX_REUSE, EventKind.SCORE_OP)
ARRAYS = frozenset({
    "rows_q", "rows_kv", "rows_ffn", "token_ids", "positions", "token_class", "kv_source", "mask_class",
    "kv_read", "kv_read_offsets", "logit_rows",
})  # fmt: skip


def check_carried(trace: Trace, shape: ModelShape, overlay: Overlay) -> None:
    """Raise SpecError naming what of a trace or a model the compiler has no program for."""
    _check_steps(trace)
    _check_layer_shapes(trace)
    _check_events(trace)
    _check_arrays(trace)
    if shape.dimensions.kv_heads % 2:
        raise SpecError(
            f"shape {shape.name}: kv_heads = {shape.dimensions.kv_heads}; two heads are packed: must be even"
        )
    _check_units(trace, shape, overlay)


def _check_steps(trace: Trace) -> None:
    for s, phase in enumerate(trace.steps.phase):
        if phase == StepPhase.ENCODE:
            raise SpecError(f"trace step {s}: phase encode; the compiler takes steps whose rows see older ones only")
        if phase in DECODE_PHASES and trace.steps.token_count[s] != 1:
            label, count = StepPhase(phase).name.lower(), trace.steps.token_count[s]
            raise SpecError(f"trace step {s}: {label} of {count} tokens; expected 1, the batch size")
    if logit_rows(trace).max() > 1:
        raise SpecError(f"trace: logits of {logit_rows(trace).max()} rows of a step; the compiler takes one or none")
    if trace.header.kv_policy == "reuse_last" and len(trace.header.caches) > 1:
        raise SpecError("trace: kv_policy = reuse_last and several K/V caches; the compiler takes one of them")


def _check_arrays(trace: Trace) -> None:
    extra = sorted(set(trace.arrays) - ARRAYS)
    if extra:
        raise SpecError(f"trace: array {extra[0]!r} changes what is executed; the compiler takes row masks only")


def _check_layer_shapes(trace: Trace) -> None:
    """A layer may lack a module, which its rows say as well; another width would be another matrix."""
    for cut in trace.header.layer_shapes:
        whole = LayerShape(cut.layer, attention_heads=cut.attention_heads, kv_heads=cut.kv_heads,
                           intermediate_size=cut.intermediate_size)
        if cut != whole or any(getattr(cut, key) not in (None, 0) for key in DROPPED):
            raise SpecError(
                f"trace: layer {cut.layer} has a shape of its own; the compiler takes layers without attention"
                " (attention_heads = kv_heads = 0) or FFN (intermediate_size = 0), and else one shape for all"
            )


def _check_events(trace: Trace) -> None:
    """What happens to tokens is known from their rows; a router decides about tokens that are there."""
    for event in trace.events:
        if event.kind not in CARRIED:
            raise SpecError(
                f"trace: event {event.kind.name.lower()}; the compiler takes"
                f" {', '.join(kind.name.lower() for kind in CARRIED)}"
            )
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
    if d.learned_positions and trace.tokens > d.learned_positions:
        raise SpecError(
            f"trace: {trace.tokens} tokens; shape {shape.name} has learned_positions = {d.learned_positions};"
            " shorten the sequence"
        )
