"""A decoder in the overlay's numerics, on whole matrices: what any program for the overlay must compute.

No tiles, addresses or instructions here. What an order of operations changes in the last bit is that of the machine:
K-tiles and interleaved partial sums, row statistics tile by tile, K/V in the rounds of `kv_schedule`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.numerics.decoder_attention import Attention
from skipopu.numerics.decoder_parameters import Layer, Model, Router, Routing
from skipopu.numerics.decoder_products import Products, activated, gated
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

ATTENTION, FFN = 0, 1  # first axis of gates

Bits = NDArray[np.uint16]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Output:
    """Of T tokens: FP16 bits of logits and of X before, between and after the layers; decisions, attention first."""

    logits: Bits  # [rows asked for, vocabulary]
    hidden: Bits  # [layers + 1, T, D]
    decided: Bools  # [2, layers, T], the routers' own
    executed: Bools  # [2, layers, T], other than ``decided`` where they are prescribed


class Decoder:
    """A sequence of at most ``tokens`` tokens, prefilled in blocks of ``row_block`` rows, then decoded one by one.

    Row blocks matter: a block's K/V rounds hold all tokens up to its end. The compiler's blocks are those of
    `skipopu.program.context.resolve`. Raises SpecError where the model has fewer positions than ``tokens``.
    """

    def __init__(self, overlay: Overlay, model: Model, routing: Routing, tokens: int, row_block: int) -> None:
        table = model.cosines if model.shape.rotary else model.positions
        if table is None or len(table) < tokens:
            have = 0 if table is None else len(table)
            raise SpecError(f"sequence of {tokens} tokens; the model's numbers have {have} positions; make more")
        self._model, self._routing = model, routing
        self._products = Products(overlay, model.epsilon)
        self._attention = Attention(overlay, model, self._products, tokens, row_block, routing.kv_policy)
        self._capacity, self._length = tokens, 0

    def prefill(self, ids: Sequence[int], *, all_rows: bool = False, gates: Bools | None = None) -> Output:
        """Append ``ids``; logits of the last row, or of all. ``gates`` [2, layers, T] prescribes what executes."""
        return self._extend(ids, all_rows, gates, decode=False)

    def decode(self, token: int, *, gates: Bools | None = None) -> Output:
        """Append one token."""
        return self._extend([token], False, gates, decode=True)

    def _extend(self, ids: Sequence[int], all_rows: bool, gates: Bools | None, *, decode: bool) -> Output:
        tokens = self._reserve(len(ids))
        x = self._embedded(np.asarray(ids, np.int64), tokens)
        hidden, decided, executed = [x], [], []
        for index, layer in enumerate(self._model.layers):
            own = self._decide(layer.attention_router, x)
            early = self._decide(layer.ffn_router, x) if self._routing.ffn_input == "layer_input" else None
            gate = own if gates is None else gates[ATTENTION, index]
            x = self._attention.run(index, x, tokens, gate, decode=decode)
            late = self._decide(layer.ffn_router, x) if early is None else early
            decided.append((own, late))
            executed.append((gate, late if gates is None else gates[FFN, index]))
            x = self._ffn(layer, x, executed[-1][FFN])
            hidden.append(x)
        logits = self._logits(x if all_rows else x[-1:])
        return Output(logits, np.stack(hidden), *(np.array(each).transpose(1, 0, 2) for each in (decided, executed)))

    def _reserve(self, count: int) -> Ints:
        """Token numbers of the rows of this step."""
        if count < 1 or self._length + count > self._capacity:
            room = self._capacity - self._length
            raise SpecError(f"step of {count} tokens; the sequence has room for {room} of {self._capacity}")
        self._length += count
        return np.arange(self._length - count, self._length)

    def _embedded(self, ids: Ints, tokens: Ints) -> Bits:
        """Rows of the embedding; learned positions are added by the host."""
        x = self._model.embedding[ids]
        if self._model.positions is None:
            return x
        return (x.view(np.float16) + self._model.positions[tokens].view(np.float16)).view(np.uint16)

    def _decide(self, router: Router | None, x: Bits) -> Bools:
        """Decisions on X as it is; a module without a router always executes."""
        if router is None:
            return np.ones(len(x), np.bool_)
        return self._products.decisions(x, router, self._routing.router)

    def _ffn(self, layer: Layer, x: Bits, gate: Bools) -> Bits:
        rows, found = np.flatnonzero(gate), x.copy()
        if len(rows):
            normal = self._products.norm(x[rows], layer.ffn_norm)
            inner = self._products.linear(normal, layer.up)
            if layer.gate is not None:
                inner = gated(self._products.linear(normal, layer.gate), inner)
            else:
                inner = activated(self._model.shape.dimensions.activation, inner)
            found[rows] = self._products.linear(inner, layer.down, x[rows])
        return found

    def _logits(self, x: Bits) -> Bits:
        return self._products.linear(self._products.norm(x, self._model.final_norm), self._model.lm_head)
