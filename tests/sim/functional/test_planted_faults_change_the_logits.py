"""A rule of the layouts or of the machine that is broken shows in the logits, or nothing can be computed at all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from small_models import Case, made

from skipopu.program import image, image_matrices, image_vectors
from skipopu.program.image import build_image
from skipopu.program.parameters import gated_columns
from skipopu.sim.functional import attention, cache, machine, matrix, results, transfers
from skipopu.sim.functional.machine import DecisionError, run
from skipopu.spec.error import SpecError

Rule = Callable[..., Any]
CASE = Case(dimensions=(("qkv_bias", True),))


def without_causal_mask(hide: Rule) -> Rule:
    return lambda words, visible: hide(words, np.ones_like(visible))


def all_rows(listed: Rule) -> Rule:
    return lambda s, f: np.arange(f["rows"]) if f["rows"] else listed(s, f)


def stride_of_executed(places: Rule) -> Rule:
    return lambda first, tiles, rows, stride: places(first, tiles, rows, len(rows))


def swapped(angles: Rule) -> Rule:
    return lambda *given: angles(*given)[::-1]


def other_half(normalise: Rule) -> Rule:
    return lambda s, x, rows, half, tiles: normalise(s, x, rows, 1 - half, tiles)


def high_nibble_first(packed: Rule) -> Rule:
    return lambda values: packed(values.reshape(-1, 2)[:, ::-1].reshape(-1))


def transposed(stream: Rule) -> Rule:
    def by_row(weights: Any, k_tiles: int, overlay: Any) -> Any:
        width, dot = overlay.pe_array.columns, overlay.pe_array.dot_length
        size = len(stream(weights, k_tiles, overlay))
        nibbles = weights[: len(weights) // width * width, : k_tiles * dot]
        return image_matrices.packed_int4(np.ascontiguousarray(nibbles.T).reshape(-1))[:size]

    return by_row


def exchanged(_: Rule) -> Rule:
    return lambda gate, up: gated_columns(up, gate)


def of_first_tile(route: Rule) -> Rule:
    return lambda s, f: route(s, f | {"k_tiles": 1})


FAULTS: dict[str, tuple[Any, str, Callable[[Rule], Rule]]] = {
    "queries see later tokens": (attention, "hide", without_causal_mask),
    "a product takes every row": (matrix, "listed", all_rows),
    "tiles are an executed row apart": (matrix, "places", stride_of_executed),
    "transfers are an executed row apart": (transfers, "places", stride_of_executed),
    "cosines and sines change places": (results, "_angles", swapped),
    "gains come from the half of the scales": (matrix, "normalise", other_half),
    "INT4 weights begin with the high half": (image_matrices, "packed_int4", high_nibble_first),
    "weight tiles lie row by row": (image_matrices, "stream_bytes", transposed),
    "only one round is read": (cache, "schedule", lambda schedule: lambda *given: min(schedule(*given), 1)),
    "gate and up change places": (image_matrices, "gated_columns", exchanged),
    "K of two heads lies head by head": (cache, "_eaten", lambda _: lambda s, f, tiles: tiles.reshape(-1)),
    "scores are not scaled": (image, "fp32", lambda fp32: lambda value: fp32(1.0 if value == 0.25 else value)),
    "a tile is a lane too narrow": (image_vectors, "tiled", lambda tiled: lambda rows, dot: tiled(rows, dot // 2)),
    "routers take rows one by one": (matrix, "executed", lambda executed: lambda logits: executed(logits)[::-1]),
    "statistics are of the first tile": (machine, "run_route", of_first_tile),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_broken_rule_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = made(CASE)
    module, rule, change = FAULTS[name]
    monkeypatch.setattr(module, rule, change(getattr(module, rule)))
    monkeypatch.setattr(machine, "EXECUTE", dict(machine.EXECUTE) | executed_rules())
    try:
        logits = run(found.program, build_image(found.program, found.parameters)).logits
    except (DecisionError, ValueError, IndexError, SpecError):
        return  # other decisions, or shapes that do not meet
    assert not np.array_equal(logits, found.logits)


def executed_rules() -> dict[Any, Rule]:
    """The table of the machine holds the kernels themselves; a planted one is found by its name."""
    return {opcode: getattr(machine, rule.__name__) for opcode, rule in machine.EXECUTE.items()}


def test_without_a_fault_the_logits_are_right() -> None:
    found = made(CASE)
    assert np.array_equal(run(found.program, build_image(found.program, found.parameters)).logits, found.logits)
