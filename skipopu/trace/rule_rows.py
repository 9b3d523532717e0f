"""Rules about rows: what runs agrees with router, K/V policy, groups and events."""

from collections.abc import Callable

import numpy as np

from skipopu.spec.error import SpecError
from skipopu.trace.arrays import Bools
from skipopu.trace.event import ABSENCES
from skipopu.trace.schema import Trace
from skipopu.trace.vocabulary import EventKind


def router(trace: Trace) -> None:
    """A dense model has no routers; a shared decision is taken at the layer's input."""
    routes = trace.header.router
    if trace.header.family == "dense" and routes.kind != "none":
        raise SpecError(f"family dense has a {routes.kind} router; expected router kind none")
    if routes.shared and routes.ffn_input != "layer_input":
        raise SpecError("router.shared decides at the layer's input; expected router.ffn_input = layer_input")


def kv_policy(trace: Trace) -> None:
    """An executed query has its own key; nothing is reused before it exists nor skipped under ``dense``."""
    q, kv, policy = trace.rows("q"), trace.rows("kv"), trace.header.kv_policy
    nowhere(q & ~kv, "its query runs but its K/V row does not; an executed query needs its own key")
    if policy == "reuse_last":
        nowhere(~kv[:1], "kv_policy reuse_last has nothing to reuse; execute layer 0 for every token")
    if policy == "dense" and trace.header.router.kind != "none" and not absences(trace):
        nowhere(~kv, "its K/V row is skipped under kv_policy dense; use reuse_last or evict")


def always_on(trace: Trace) -> None:
    """What is said to be always on runs; so does everything in a dense model."""
    if absences(trace):
        return
    routes = trace.header.router
    layers = {"q": routes.always_on_attention, "ffn": routes.always_on_ffn}
    for kind, rows in (("q", trace.rows("q")), ("ffn", trace.rows("ffn"))):
        held = np.full_like(rows, trace.header.family == "dense")
        held[list(layers[kind])] = True
        held[:, : routes.always_on_tokens] = True
        nowhere(held & ~rows, f"its {kind} row is skipped although always on (router, or family dense)")


def groups(trace: Trace) -> None:
    """A row runs where one of its groups does; widths in the header and arrays come together."""
    for name, rows in (("head_groups", trace.rows("q")), ("ffn_groups", trace.rows("ffn"))):
        bits = _sized(trace, name)
        if bits is not None:
            nowhere(bits.any(axis=2) != rows, f"{name} and the row disagree; a row runs where a group does")
    experts, scores = _sized(trace, "experts"), trace.arrays.get("expert_scores")
    if experts is not None:
        nowhere(experts.any(axis=2) & ~trace.rows("ffn"), "experts run but the ffn row does not")
    if scores is not None and (experts is None or not np.isfinite(scores).all()):
        raise SpecError("array 'expert_scores' must be finite and stand beside the array 'experts'")


def approximations(trace: Trace) -> None:
    """A module runs or is approximated, not both."""
    approx = trace.array("approx_rows")
    if approx is not None:
        nowhere(approx[0] & trace.rows("q"), "attention runs and is approximated")
        nowhere(approx[1] & trace.rows("ffn"), "the FFN runs and is approximated")


def blocks(trace: Trace) -> None:
    """Block masks come with the size of a block."""
    if ("attention_blocks" in trace.arrays) != bool(trace.header.attention_block):
        raise SpecError("header.attention_block and the array 'attention_blocks' come together or not at all")


def absent_rows(trace: Trace) -> None:
    """No row runs before its token is inserted nor after its step has exited."""
    for event in trace.events:
        first = int(trace.steps.first_token[event.step])
        tokens = slice(first, first + int(trace.steps.token_count[event.step]))
        if event.kind is EventKind.EARLY_EXIT and _runs(trace, slice(event.layer, None), tokens):
            raise SpecError(f"{event}: rows run at or above layer {event.layer}, where the step has exited")
        if event.kind is EventKind.INSERT and _runs(trace, slice(0, event.layer), list(event.kept)):
            raise SpecError(f"{event}: inserted tokens run below layer {event.layer}")


def absences(trace: Trace) -> bool:
    """True where events explain rows that nobody skipped."""
    return any(event.kind in ABSENCES for event in trace.events)


def nowhere(wrong: Bools, claim: str) -> None:
    """Raise SpecError at the first layer and token where ``wrong`` [layers, tokens] holds."""
    if wrong.any():
        layer, token = (int(i) for i in np.argwhere(wrong)[0])
        raise SpecError(f"layer {layer}, token {token}: {claim}")


def _sized(trace: Trace, name: str) -> Bools | None:
    width, bits = getattr(trace.header, name), trace.array(name)
    if (bits is None) != (width == 0):
        raise SpecError(f"header.{name} = {width}; expected the width of the array {name!r}, 0 without it")
    return bits


def _runs(trace: Trace, layers: slice, tokens: slice | list[int]) -> bool:
    rows = (trace.rows("q"), trace.rows("kv"), trace.rows("ffn"))
    return any(bool(row[layers][:, tokens].any()) for row in rows)


RULES: tuple[Callable[[Trace], None], ...] = (
    router, kv_policy, always_on, groups, approximations, blocks, absent_rows,
)  # fmt: skip
