"""Is a trace sound? The first rule that fails raises SpecError with one line."""

from collections.abc import Callable

from skipopu.spec.error import SpecError
from skipopu.trace import rule_cache, rule_rows, rule_token
from skipopu.trace.arrays import GROUPED, check_types, require
from skipopu.trace.schema import Trace, axis_sizes

RULES: tuple[Callable[[Trace], None], ...] = (*rule_token.RULES, *rule_rows.RULES, *rule_cache.RULES)


def validate(trace: Trace, where: str = "trace") -> None:
    """Raise SpecError, beginning with ``where``, unless the trace keeps every rule of the schema."""
    try:
        _check_structure(trace)
        for rule in RULES:
            rule(trace)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def _check_structure(trace: Trace) -> None:
    """Check what the rules take for granted: right names, types and shapes of arrays, sound steps, events."""
    check_types(trace.steps.columns(), {})
    trace.steps.check()
    _check_events(trace)
    for name in trace.arrays:
        if name.startswith(GROUPED):
            raise SpecError(f"array {name!r} belongs to the trace's steps or events")
    arrays = trace.all_arrays()
    require(arrays)
    check_types(arrays, axis_sizes(trace.header, trace.steps))


def _check_events(trace: Trace) -> None:
    caches = sorted(cache.id for cache in trace.header.caches)
    previous = 0
    for event in trace.events:
        event.check(len(trace.steps), trace.layers, trace.tokens, caches)
        if event.step < previous:
            raise SpecError(f"{event} follows one at step {previous}; expected events in order of steps")
        previous = event.step
