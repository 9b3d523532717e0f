"""The pieces prefill and decode have in common: constants, weights, routing, projections, K/V passes."""

import math
from collections.abc import Iterator

from skipopu.program.blocking import Places
from skipopu.program.builder import Builder, Region, Tiles
from skipopu.program.context import Context
from skipopu.program.isa import Gate, Opcode, Post
from skipopu.program.memory_map import ADDRESS_UNIT, weight_chunk_sets
from skipopu.spec.overlay import FP16_BYTES

GATES = {"attention": Gate.ATTENTION, "ffn": Gate.FFN}


class Emitter:
    """Emits into a Builder; keeps track of which constants half and which mask register come next."""

    def __init__(self, context: Context) -> None:
        self.c = context
        self.b = Builder()
        self._half = 0
        self._constants: dict[tuple[int, str], int] = {}  # (layer, what) → its first 64-byte word
        self._constants_end = 0
        self._mask = {"attention": 0, "ffn": 0}
        self.gamma: Region = ""
        self.places = Places(context.overlay, "nothing")
        d = context.shape.dimensions
        self.columns = context.overlay.pe_array.columns
        # output channels whose scales (and biases) fit one constants half, in whole column blocks
        self.channel_bytes = FP16_BYTES * (2 if d.qkv_bias else 1)
        room = context.overlay.constants.half_bytes // self.channel_bytes
        self.most_channels = max(room // self.columns, 1) * self.columns

    def emit(
        self, opcode: Opcode, reads: list[Region], writes: list[Region], ignore: int = -1, **fields: int
    ) -> int:
        """Emit with place names of the current layout standing for their tiles of the global buffer."""
        return self.b.emit(opcode, map(self._region, reads), map(self._region, writes), ignore, **fields)

    def _region(self, name: Region) -> Region:
        found = self.places.range(name) if isinstance(name, str) else None
        return Tiles(*found) if found else name

    # --- DDR4 -----------------------------------------------------------------------------------------

    def constants(self, what: str, size: int) -> Region:
        """Load ``size`` bytes of this layer's ``what`` into the next constants half and return its region."""
        half, self._half = self._half, 1 - self._half
        region = ("constants", half)
        words = math.ceil(size / ADDRESS_UNIT)
        at = self._constants.setdefault((self.b.layer, what), self._constants_end)
        self._constants_end = max(self._constants_end, at + words)
        address = self._ddr("constants") + at
        self.emit(Opcode.LOAD_CONSTANTS, [], [region], columns=words, half=half, address=address)
        return region

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
        """Row statistics of X at ``source`` and the routers of ``modules``, from a stream or the buffer."""
        width, hidden = self.c.shape.dimensions.hidden_size, self.c.router_hidden
        routed = tuple(m for m in modules if self.c.routed(m, self.b.layer))
        logits = 0 if hidden else 2 * len(routed)
        # gamma stays in its half until the projections, so the hidden routers' last layers come with it
        size = width * (1 + logits) + 2 * hidden * len(routed)
        held = self.gamma = self.constants(f"gamma {' '.join(modules)}", size * FP16_BYTES)
        streamed = {"stream": 1} if stream_from >= 0 else {}
        self._masks(
            () if hidden else routed, [place, held], [place] if streamed else [], stream_from, columns=logits,
            source=source, rows=rows, k_tiles=self.c.tiles.x, normalize=1, **streamed,
        )  # fmt: skip
        for module in routed if hidden else ():
            self._hidden_router(module, place, source, rows)

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
        regions = [*masks, "statistics", *writes]
        self.emit(Opcode.ROUTE, reads, regions, stream_from, gate=gate, mask=mask, **fields)

    def _hidden_router(self, module: str, place: Region, source: int, rows: int) -> None:
        """A two-layer router: D → hidden from HBM in FP16, then hidden → 2 from the constants."""
        name, tiles = f"router_{module}", self.c.tiles.router
        post = Post.RELU if self.c.trace.header.router.kind == "mlp" else Post.NONE
        target = self.places["router"]
        self.weights(name, {})
        self.emit(
            Opcode.MATMUL, [place], ["router"], source=source, target=target, rows=rows,
            k_tiles=self.c.tiles.x, columns=self.c.router_hidden, datatype=1, post=int(post),
        )  # fmt: skip
        reads: list[Region] = ["router", self.gamma]
        self._masks((module,), reads, [], -1, columns=2, source=target, rows=rows, k_tiles=tiles)

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
        self, name: str, held: Region, gate: dict[str, int], reads: list[Region], writes: list[Region], *,
        first: int = 0, count: int = -1, layer: int | None = None, **fields: int,
    ) -> None:  # fmt: skip
        """Stream a weight matrix and multiply the rows at ``source`` with it."""
        matrix = self.c.memory.matrices[self.b.layer if layer is None else layer, name]
        count = matrix.columns if count < 0 else count
        self.weights(name, gate, first, count, layer)
        norm = ["statistics", self.gamma] if fields.get("normalize") else []
        self.emit(
            Opcode.MATMUL, [*reads, held, *norm, *self.gate_reads(gate)], writes, columns=count,
            k_tiles=matrix.k_tiles, datatype=int(matrix.datatype == "fp16"), **gate, **fields,
        )  # fmt: skip

    def projections(self, *names: str, layer: int | None = None) -> Iterator[tuple[str, int, int, Region]]:
        """Split weight matrices into column parts whose scales fit a constants half, several parts a half.

        Yields (name, first column, columns, constants region), emitting the load before a half's first part.
        """
        parts = []
        for name in names:
            columns = self.c.memory.matrices[self.b.layer if layer is None else layer, name].columns
            parts += [
                (name, f, min(self.most_channels, columns - f)) for f in range(0, columns, self.most_channels)
            ]
        while parts:
            total, n = 0, 0
            while n < len(parts) and total + parts[n][2] <= self.most_channels:
                total, n = total + parts[n][2], n + 1
            held = self.constants(f"scales {parts[0][0]} {parts[0][1]}", total * self.channel_bytes)
            for name, first, count in parts[:n]:
                yield name, first, count, held
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
