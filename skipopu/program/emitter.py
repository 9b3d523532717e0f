"""The pieces prefill and decode have in common: constants, weights, routing, projections, K/V passes."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from skipopu.program.blocking import Places
from skipopu.program.builder import Builder, Region, Tiles
from skipopu.program.context import Context
from skipopu.program.isa import Gate, Opcode, Post
from skipopu.program.memory_map import ADDRESS_UNIT, weight_chunk_sets
from skipopu.spec.overlay import FP16_BYTES

GATES = {"attention": Gate.ATTENTION, "ffn": Gate.FFN}


class Held(NamedTuple):
    """Constants on chip: which half, and from which 64-byte word of it on."""

    half: int
    word: int = 0

    @property
    def region(self) -> Region:
        """The half as a region: it is loaded and freed as a whole."""
        return ("constants", self.half)

    @property
    def fields(self) -> dict[str, int]:
        """Where an instruction finds its scales or router weights; gamma starts the other half."""
        return {"half": self.half, "address": self.word}


class Emitter:
    """Emits into a Builder; keeps track of which constants half and which mask register come next."""

    def __init__(self, context: Context) -> None:
        self.c = context
        self.b = Builder()
        self._half = 0
        self._constants: dict[tuple[int, str], int] = {}  # (layer, what) → its first 64-byte word
        self._constants_end = 0
        self._mask = {"attention": 0, "ffn": 0}
        self.gamma = Held(0)
        self.places = Places(context.overlay, "nothing")
        d = context.shape.dimensions
        self.columns = context.overlay.pe_array.columns
        # output channels whose scales (and biases) fit one constants half; parts of a matrix begin at whole
        # column blocks, row tiles (two for SwiGLU, which halves them) and words of the constants
        self.channel_bytes = FP16_BYTES * (2 if d.qkv_bias or d.linear_bias else 1)
        self.norm_vectors = 2 if d.norm == "layer" else 1  # γ, and β
        room = context.overlay.constants.half_bytes // self.channel_bytes
        dot = context.overlay.pe_array.dot_length
        self.unit = math.lcm(self.columns, 2 * dot, ADDRESS_UNIT // FP16_BYTES)
        self.most_channels = max(room // self.unit, 1) * self.unit

    @property
    def fused(self) -> bool:
        """Whether norm and softmax ride along with the products."""
        return self.c.overlay.dataflow.fused

    def emit(
        self, opcode: Opcode, reads: list[Region], writes: list[Region], ignore: int = -1, **fields: int
    ) -> int:
        """Emit with place names of the current layout standing for their tiles of the global buffer."""
        return self.b.emit(opcode, map(self._region, reads), map(self._region, writes), ignore, **fields)

    def _region(self, name: Region) -> Region:
        found = self.places.range(name) if isinstance(name, str) else None
        return Tiles(*found) if found else name

    # --- DDR4 -----------------------------------------------------------------------------------------

    def constants(self, what: str, size: int) -> Held:
        """Load ``size`` bytes of this layer's ``what`` into the next constants half and return its place."""
        held, self._half = Held(self._half), 1 - self._half
        words = math.ceil(size / ADDRESS_UNIT)
        at = self._constants.setdefault((self.b.layer, what), self._constants_end)
        self._constants_end = max(self._constants_end, at + words)
        address = self._ddr("constants") + at
        self.emit(Opcode.LOAD_CONSTANTS, [], [held.region], columns=words, half=held.half, address=address)
        return held

    def rotary(self, token: int, rows: int) -> None:
        """Load the rotary constants of a row block into the NPE's ROT buffer: a cosine and a sine a pair."""
        if not self.c.shape.rotary:
            return
        size = self.c.shape.dimensions.head_dim * FP16_BYTES
        address = self._ddr("rotary") + token * size // ADDRESS_UNIT
        words = math.ceil(rows * size / ADDRESS_UNIT)
        self.emit(Opcode.LOAD_CONSTANTS, [], ["rotary"], columns=words, value=1, address=address)

    def part(self, first: int, rows: int, post: Post = Post.NONE) -> int:
        """Tiles of a result place that lie before the columns from ``first`` on."""
        columns = first // 2 if post == Post.SWIGLU else first
        return columns // self.c.overlay.pe_array.dot_length * rows

    def load(
        self, what: str, at: int, place: Region, target: int, rows: int, tiles: int, **fields: int
    ) -> int:
        """Load rows of a DDR4 tensor, from its tile ``at`` on, into the global buffer at ``target``."""
        reads = [self._tensor(what), *self.gate_reads(fields)]
        return self.emit(
            Opcode.LOAD_ROWS, reads, [place], address=self._tile(what, at), target=target, rows=rows,
            k_tiles=tiles, **fields,
        )  # fmt: skip

    def store(
        self, what: str, at: int, place: Region, source: int, rows: int, tiles: int, **fields: int
    ) -> int:
        """Store rows of the global buffer at ``source`` to a DDR4 tensor, from its tile ``at`` on."""
        reads = [place, *self.gate_reads(fields)]
        return self.emit(
            Opcode.STORE_ROWS, reads, [self._tensor(what)], address=self._tile(what, at), source=source,
            rows=rows, k_tiles=tiles, **fields,
        )  # fmt: skip

    def _tensor(self, what: str) -> Region:
        """Region of a DDR4 tensor: X, Q, O by row block; an embedding depends on the token chosen before."""
        if what == "embedding":
            return "next_token"
        return (what, self.b.first_row) if what in ("x", "q", "o") else ("ddr", what)

    def _tile(self, what: str, at: int) -> int:
        return self._ddr(what) + at * self.c.overlay.tile_bytes // ADDRESS_UNIT

    def _ddr(self, what: str) -> int:
        return self.c.memory.ddr[what] // ADDRESS_UNIT

    # --- routing --------------------------------------------------------------------------------------

    def gate(self, module: str, layer: int) -> dict[str, int]:
        """Fields that bind an instruction to a module's row mask; none where the module has no router."""
        if not self.c.routed(module, layer):
            return {}
        return {"gate": int(GATES[module]), "mask": self._mask[module]}

    def gate_reads(self, fields: dict[str, int]) -> list[Region]:
        """Regions that an instruction with these fields reads for its gate."""
        gate = fields.get("gate", 0)
        return [("mask", gate, fields["mask"])] if gate else []

    def route(
        self, modules: tuple[str, ...], place: Region, source: int, rows: int, stream_from: int = -1
    ) -> None:
        """Row statistics of X at ``source`` and the routers of ``modules``, from a stream or the buffer.

        Statistics that are not fused are not taken here; see `nonlinear.emit_norm`.
        """
        width, hidden = self.c.shape.dimensions.hidden_size, self.c.router_hidden
        routed = tuple(m for m in modules if self.c.routed(m, self.b.layer))
        logits = 0 if hidden else 2 * len(routed)
        # gamma stays in its half until the projections, so the hidden routers' last layers come with it
        size = width * (self.norm_vectors + logits) + 2 * hidden * len(routed)
        held = self.gamma = self.constants(f"gamma {' '.join(modules)}", size * FP16_BYTES)
        streamed = {"stream": 1} if stream_from >= 0 else {}
        if logits or self.fused:
            self._masks(
                () if hidden else routed, [place, held.region], [place] if streamed else [], stream_from,
                columns=logits, source=source, rows=rows, k_tiles=self.c.tiles.x, normalize=int(self.fused),
                **held.fields, **streamed,
            )  # fmt: skip
        for index, module in enumerate(routed if hidden else ()):
            word = (width * self.norm_vectors + 2 * hidden * index) * FP16_BYTES // ADDRESS_UNIT
            self._hidden_router(module, place, source, rows, Held(held.half, word))

    def _masks(
        self,
        routed: tuple[str, ...],
        reads: list[Region],
        writes: list[Region],
        stream_from: int,
        **fields: int,
    ) -> None:
        # a route has one register number for all the masks it writes
        mask = 1 - self._mask[routed[0]] if routed else 0
        self._mask |= dict.fromkeys(routed, mask)
        masks = [("mask", int(GATES[m]), mask) for m in routed]
        gate = int(GATES[routed[0]] if len(routed) == 1 else Gate.ALL)
        regions = [*masks, *(["statistics"] if self.fused else []), *writes]
        self.emit(Opcode.ROUTE, reads, regions, stream_from, gate=gate, mask=mask, **fields)

    def _hidden_router(self, module: str, place: Region, source: int, rows: int, last: Held) -> None:
        """A two-layer router: D → hidden from HBM in FP16, then hidden → 2 from the constants."""
        name, tiles = f"router_{module}", self.c.tiles.router
        post = Post.RELU if self.c.trace.header.router.kind == "mlp" else Post.NONE
        target = self.places["router"]
        self.weights(name, {})
        self.emit(
            Opcode.MATMUL, [place], ["router"], source=source, target=target, rows=rows,
            k_tiles=self.c.tiles.x, columns=self.c.router_hidden, datatype=1, post=int(post),
        )  # fmt: skip
        fields = {"columns": 2, "source": target, "rows": rows, "k_tiles": tiles, **last.fields}
        self._masks((module,), ["router", last.region], [], -1, **fields)

    # --- products -------------------------------------------------------------------------------------

    def weights(
        self, name: str, gate: dict[str, int], first: int = 0, count: int = -1, layer: int | None = None
    ) -> None:
        """Stream the columns [first, first + count) of a weight matrix, or all of it."""
        matrix = self.c.memory.matrices[self.b.layer if layer is None else layer, name]
        overlay = self.c.overlay
        count = matrix.columns if count < 0 else count
        sets = weight_chunk_sets(overlay, matrix.k_tiles, count, matrix.datatype)
        skipped = weight_chunk_sets(overlay, matrix.k_tiles, first, matrix.datatype)
        offset = (matrix.offset + skipped * overlay.chunk_bytes) // ADDRESS_UNIT
        self.emit(Opcode.LOAD_WEIGHTS, self.gate_reads(gate), [], columns=sets, address=offset, **gate)

    def matmul(
        self, name: str, held: Held, gate: dict[str, int], reads: list[Region], writes: list[Region], *,
        first: int = 0, count: int = -1, layer: int | None = None, **fields: int,
    ) -> None:  # fmt: skip
        """Stream a weight matrix and multiply the rows at ``source`` with it."""
        matrix = self.c.memory.matrices[self.b.layer if layer is None else layer, name]
        count = matrix.columns if count < 0 else count
        self.weights(name, gate, first, count, layer)
        norm = ["statistics", self.gamma.region] if fields.get("normalize") else []
        fields["bias"] = int(self.c.shape.biased(name))
        turn = ["rotary"] if fields.get("post") == Post.ROPE else []
        self.emit(
            Opcode.MATMUL, [*reads, held.region, *norm, *turn, *self.gate_reads(gate)], writes, columns=count,
            k_tiles=matrix.k_tiles, datatype=int(matrix.datatype == "fp16"), **held.fields, **gate, **fields,
        )  # fmt: skip

    def projections(self, *names: str, layer: int | None = None) -> Iterator[tuple[str, int, int, Held]]:
        """Split weight matrices into column parts whose scales fit a constants half, several parts a half.

        Yields (name, first column, columns, place of the scales); a half is loaded before its first part.
        """
        parts = []
        for name in names:
            columns = self.c.memory.matrices[self.b.layer if layer is None else layer, name].columns
            parts += [
                (name, f, min(self.most_channels, columns - f)) for f in range(0, columns, self.most_channels)
            ]
        while parts:
            total, n = 0, 0
            begins = []
            while n < len(parts) and total + parts[n][2] <= self.most_channels:
                begins.append(total * self.channel_bytes // ADDRESS_UNIT)
                total, n = total + math.ceil(parts[n][2] / self.unit) * self.unit, n + 1
            held = self.constants(f"scales {parts[0][0]} {parts[0][1]}", total * self.channel_bytes)
            for (name, first, count), word in zip(parts[:n], begins, strict=True):
                yield name, first, count, Held(held.half, word)
            parts = parts[n:]

    # --- attention ------------------------------------------------------------------------------------

    def read_kv(
        self, value: int, tokens: int, gate: dict[str, int], pair: int, pairs: int, rows: int
    ) -> None:
        """Stream the K or V rounds of ``tokens`` tokens for head pairs [pair, pair + pairs)."""
        reads = [("kv", self.b.layer, value), *self.gate_reads(gate)]
        self.emit(
            Opcode.READ_KV, reads, [], layer=self.b.layer, value=value, tokens=tokens, pair=pair, pairs=pairs,
            rows=rows, **gate,
        )  # fmt: skip

    def append_kv(self, value: int, place: Region, source: int, rows: int, gate: dict[str, int]) -> None:
        """Append the K or V rows at ``source`` to the cache."""
        self.emit(
            Opcode.APPEND_KV, [place, *self.gate_reads(gate)], [("kv", self.b.layer, value)],
            layer=self.b.layer, value=value, source=source, rows=rows, k_tiles=self.c.tiles.kv, **gate,
        )  # fmt: skip
