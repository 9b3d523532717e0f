"""What every part of the compiler looks at: the trace's needs, resolved once."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.kv_rounds import Demand, Passes, demand, limits_of, place
from skipopu.numerics.kv_schedule import Limits, Placement
from skipopu.program.blocking import RowTiles, check_decode, prefill_rows
from skipopu.program.carried import check_carried
from skipopu.program.constants import WIDE_ROUTERS
from skipopu.program.executed_shape import executed_shape, layer_widths
from skipopu.program.factors import largest_rank
from skipopu.program.head_matrices import decisions, heads_of
from skipopu.program.interfaces import check_board
from skipopu.program.joints import Joint, joints_of
from skipopu.program.kv_views import views_of
from skipopu.program.memory_map import MemoryMap, map_memory
from skipopu.program.part_matrices import check_groups, part_tiles
from skipopu.program.row_blocks import prefix, row_blocks
from skipopu.program.row_lists import RowLists, check_lists, row_lists
from skipopu.program.score_layers import ScoreLayer, cache_sources, score_layers, template_scores, with_scores
from skipopu.spec.board import Board
from skipopu.spec.model_shape import ModelShape
from skipopu.spec.overlay import Overlay
from skipopu.trace import Trace
from skipopu.trace.logit_rows import logit_rows
from skipopu.trace.schema import RowKind


@dataclass(frozen=True)
class Context:
    """Inputs of the compiler and what follows from them before the first instruction."""

    trace: Trace
    shape: ModelShape
    overlay: Overlay
    memory: MemoryMap
    tiles: RowTiles
    passes: Passes
    placement: Placement
    limits: Limits
    demand: Demand
    scores: tuple[ScoreLayer, ...]
    lists: RowLists

    @property
    def router_hidden(self) -> int:
        """Hidden width of the routers, 0 for linear ones."""
        router = self.trace.header.router
        return router.hidden if router.kind in WIDE_ROUTERS else 0

    def routed(self, module: str, layer: int) -> bool:
        """Whether ``module`` ("attention" or "ffn") of ``layer`` has a router of its own, which decides about rows."""
        return not self.lists.groups(module) and self.trace.header.router.decides(module, layer)

    def listed(self, module: str, layer: int) -> bool:
        """Whether ``module`` of ``layer`` has a router that decides about groups of it."""
        return self.lists.groups(module) > 0 and self.trace.header.router.decides(module, layer)

    def decider(self, module: str) -> str:
        """The module whose router decides about ``module``: its own, or the one that a layer has."""
        return "attention" if self.trace.header.router.shared else module

    def runs(self, rows: RowKind, block: int, layer: int) -> bool:
        """Whether rows of a block may run in ``layer``: a router will say, or the trace has them all run."""
        module = self.decider("ffn" if rows == "ffn" else "attention")
        return self.routed(module, layer) or self.listed(module, layer) or bool(self._counts[rows][block, layer])

    @cached_property
    def logit_rows(self) -> NDArray[np.int64]:
        """Rows of each step that meet the LM head, [steps]."""
        return logit_rows(self.trace)

    @cached_property
    def joints(self) -> tuple[Joint, ...]:
        """Where states of vision layers join."""
        return joints_of(self.trace)

    @cached_property
    def template_scores(self) -> dict[tuple[int, int], int]:
        """(step, layer) → the template's centre token, whose scores of this layer the host is to find."""
        return template_scores(self.trace)

    @cached_property
    def decisions(self) -> NDArray[np.int64]:
        """How often each step's last state is asked whether to act, [steps]."""
        return decisions(self.trace)

    @cached_property
    def _counts(self) -> dict[str, NDArray[np.int64]]:
        return {kind: self.passes.counts(self.trace.rows(kind)) for kind in ("q", "kv", "ffn")}


def resolve(trace: Trace, overlay: Overlay, board: Board) -> Context:
    """Check that trace, overlay and board fit together, lay out memory, and schedule the K/V rounds.

    Raises SpecError for what this compiler cannot carry and for what does not fit.
    """
    shape, lists, scores = executed_shape(trace.header), row_lists(trace), score_layers(trace)
    check_carried(trace, shape, overlay)
    check_lists(trace, lists, overlay)
    check_groups(shape, overlay, lists)
    check_board(trace, shape, overlay, board)
    places = prefix(trace) + trace.tokens
    layout = partial(
        map_memory, shape, overlay, board, places, trace.header.router, scores=len(scores), lists=lists,
        widths=layer_widths(trace), heads=heads_of(trace), joints=joints_of(trace),
    )  # fmt: skip
    memory, tiles = layout(), _tiles(trace, shape, overlay, lists)
    check_decode(shape, overlay)
    limits = limits_of(overlay, 2 * memory.vector_bytes)
    most = partial(prefill_rows, shape, overlay, tiles, rotary_stride=memory.strides.rotary)
    passes, placement, found = _schedule(trace, scores, overlay, limits, most)
    if len(passes.tokens) != places:
        memory = layout(rows=len(passes.tokens))
    return Context(trace, shape, overlay, memory, tiles, passes, placement, limits, found, scores, lists)


def _tiles(trace: Trace, shape: ModelShape, overlay: Overlay, lists: RowLists) -> RowTiles:
    router, rank = trace.header.router, max(map(largest_rank, layer_widths(trace)))
    tiles = RowTiles.of(shape, overlay, router.hidden if router.kind in WIDE_ROUTERS else 0, rank)
    return replace(tiles, parts=part_tiles(lists, overlay, tiles.x))


def _schedule(
    trace: Trace, scores: tuple[ScoreLayer, ...], overlay: Overlay, limits: Limits, most: Callable[[int], int]
) -> tuple[Passes, Placement, Demand]:
    """Row blocks and K/V rounds: blocks as large as ``most`` takes with as many rounds as their schedules need."""
    ports = 1 if overlay.kv_buffer.map == "interleaved" else overlay.dma.hbm_ports
    sources, queries = cache_sources(trace, scores), _queries(trace, scores)
    rows = longest = int(trace.steps.token_count.max())
    while True:  # a smaller row block never needs more rounds, so this ends
        passes = row_blocks(trace, rows)
        views = views_of(trace, passes)
        passes = with_scores(passes._replace(shown=views.shown), scores)
        placement = place(sources, ports, views.sets)
        found = demand(limits, placement, passes, queries)
        prefill = found.rounds[~passes.decode]
        fit = most(int(prefill.max()) if prefill.size else 1)
        if fit >= rows or longest == 1:
            return passes, placement, found
        rows = fit


def _queries(trace: Trace, scores: tuple[ScoreLayer, ...]) -> NDArray[np.bool_]:
    """Rows that ask, in the layers of the model and in those of scores, [layers, tokens]."""
    weighing = np.zeros((len(scores), trace.tokens), np.bool_)
    for row, score in zip(weighing, scores, strict=True):
        row[score.last] = True
    return np.concatenate([trace.rows("q"), weighing])
