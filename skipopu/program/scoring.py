"""Emits score operations: vectors of the tokens to be weighed into a layer of the cache, then their scores to DDR4."""

from skipopu.program.block import Block
from skipopu.program.blocking import heads_of_pass
from skipopu.program.ddr_map import words
from skipopu.program.emitter import Emitter
from skipopu.program.factors import RANK
from skipopu.program.gathering import prefill_places
from skipopu.program.kv_transfers import append_kv
from skipopu.program.nonlinear import emit_norm
from skipopu.program.products import emit_projection, emit_scores
from skipopu.program.routing import load_and_route
from skipopu.program.score_layers import ScoreLayer, weighed_blocks, weighing_block
from skipopu.spec.error import SpecError
from skipopu.spec.ledger import Part


class Scoring:
    """The score operations of one step."""

    def __init__(self, e: Emitter, step: int, blocks: dict[int, Block]) -> None:
        self._e, self._blocks = e, blocks
        self._scores = [score for score in e.c.scores if score.step == step]

    def before(self, layer: int) -> bool:
        """Before rows come or go: keys of those there, weighed by the last token's query; whether there was any."""
        scores = self._of(layer, "k")
        for score in scores:
            self._vectors(score)
            self._query(score)
        return bool(scores)

    def within(self, layer: int) -> None:
        """At the layer's entry: values, which its attention output will weigh."""
        for score in self._of(layer, "v"):
            self._vectors(score)

    def after(self, layer: int) -> bool:
        """At the layer's end: the attention output of the last block weighs them; whether there was anything."""
        scores = self._of(layer, "v")
        for score in scores:
            self._weigh(score, projected=False)
        return bool(scores)

    def _of(self, layer: int, vectors: str) -> list[ScoreLayer]:
        return [score for score in self._scores if score.layer == layer and score.vectors == vectors]

    def _vectors(self, score: ScoreLayer) -> None:
        for number in weighed_blocks(self._e.c.passes, score):
            block = self._blocks[number]
            self._project(score, block, score.vectors, block.rows * self._e.c.tiles.kv)
            self._e.b.layer = score.number
            for value in (0, 1):  # a layer of the cache goes on to its next slots once it has both
                append_kv(self._e, value, "rows", self._e.places["rows"], block.rows, {})

    def _query(self, score: ScoreLayer) -> None:
        block = self._blocks[weighing_block(self._e.c.passes, score)]
        self._project(score, block, "q", block.rows * self._e.c.tiles.q)
        self._weigh(score, projected=True)

    def _project(self, score: ScoreLayer, block: Block, name: str, tiles: int) -> None:
        """Multiply a block of X, normalised, with a matrix of the layer, into place ``rows``."""
        e, x = self._e, block.rows * self._e.c.tiles.x
        e.enter(block, score.layer, Part.ROUTER)
        e.places = prefill_places(e, "tokens to be weighed").add("x", x).add("rows", tiles)
        e.places.add(RANK, block.rows * e.c.tiles.rank)
        e.rotary(block.first, block.rows)
        load_and_route(e, block, "attention")
        emit_norm(e, Part.ROUTER, {}, "x", "x", block.rows)
        normalize = int(e.fused)
        for matrix, first, count, held in e.projections("k", "v", "q", "o", only=(name,)):
            emit_projection(e, matrix, held, {}, first, count, ("x", "x", "rows"), block.rows, normalize)
            normalize = 0

    def _weigh(self, score: ScoreLayer, *, projected: bool) -> None:
        """Pair by pair: the queries, or the attention output from DDR4, times what is weighed."""
        e, block = self._e, self._blocks[weighing_block(self._e.c.passes, score)]
        rounds = int(e.c.demand.rounds[block.number, score.number])
        heads, own = heads_of_pass(e.c.shape), heads_of_pass(e.c.shape) * e.c.tiles.head * block.rows
        if not projected:
            e.places = prefill_places(e, "outputs that weigh").add("rows", e.pairs * own)
        for parity in (0, 1):
            e.places.add(f"scores{parity}", block.rows * heads * rounds)
        e.enter(block, score.number, Part.SCORES)
        for pair in range(e.pairs):
            e.places.part(f"rows{pair}", "rows", pair * own, own)
            if not projected:
                at, place = e.pair_slot(block.first, block.rows, pair), f"rows{pair}"
                e.load(("o", pair), at, place, e.places[place], block.rows, own // block.rows, compact=1)
            self._pair(score, block, pair, rounds, heads)

    def _pair(self, score: ScoreLayer, block: Block, pair: int, rounds: int, heads: int) -> None:
        e, scores, region = self._e, f"scores{pair & 1}", "scores0"
        size = words(block.rows * heads * rounds * e.c.overlay.tile_bytes, e.c.overlay)
        room = e.c.overlay.global_buffer.tiles * e.c.overlay.tile_bytes
        if (pair + 1) * size > room:
            raise SpecError(
                f"trace: {len(score.tokens)} tokens weighed in layer {score.layer}: their scores need"
                f" {e.pairs * size} bytes of DDR4; global_buffer.tiles × tile = {room}; enlarge global_buffer.tiles"
            )
        emit_scores(e, e.visible, {}, pair, 1, f"rows{pair}", scores, block.rows)
        e.store(region, pair * size, scores, e.places[scores], block.rows, heads, compact=1, tokens=e.visible)
