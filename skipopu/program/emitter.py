"""What every emitter of instructions works with: constants, DDR4, gates, products with weights."""

from collections.abc import Iterator
from typing import NamedTuple

from skipopu.program.block import Block
from skipopu.program.blocking import Places
from skipopu.program.builder import Builder, Region, Tiles
from skipopu.program.constants import Channels, ConstantBlock
from skipopu.program.context import Context
from skipopu.program.factors import biased, projection_of
from skipopu.program.isa import ADDRESS_UNIT, Gate, Opcode, Post
from skipopu.spec.ledger import Part

OUTSIDE = -1  # layer of what is in none
CHOSEN: Region = ("prompt", "chosen")  # embeddings of tokens that follow from earlier results
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
        """Where an instruction finds its scales or router weights; gamma starts its half."""
        return {"half": self.half, "address": self.word}


class Emitter:
    """Emits into a Builder; keeps track of which constants half and which mask register come next."""

    def __init__(self, context: Context) -> None:
        self.c = context
        self.b = Builder()
        self._half = 0
        self.masks = {"attention": 0, "ffn": 0}
        self.gamma = Held(0)
        self.places = Places(context.overlay, "nothing")
        self.decode = False  # steps of one token, which use the invariance buffer
        self.bidirectional = False  # steps whose rows see later ones too
        self.block = 0  # row block that is emitted
        self.most_channels = Channels.of(context.shape, context.overlay).most
        self.pairs = context.shape.dimensions.kv_heads // 2

    def enter(self, block: Block, layer: int, part: Part = Part.OUTSIDE) -> None:
        """What is emitted from here on belongs to ``block`` in ``layer``, −1 outside the layers."""
        self.block, self.b.first_row, self.b.layer, self.b.part = block.number, block.first, layer, part

    @property
    def visible(self) -> int:
        """Places of the layer's K/V cache up to the last row that the block sees."""
        return self.end + int(self.c.passes.ahead[self.block, self.b.layer])

    @property
    def end(self) -> int:
        """Places of the layer's K/V cache up to the last row of the block."""
        passes = self.c.passes
        return int(passes.rank[self.block, self.b.layer] + passes.rows[self.block])

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

    def group_tiles(self, module: str, place: str, first: int, count: int) -> Region:
        """``count`` tiles of a place from tile ``first`` of the buffer on, where groups of a module use it in parts.

        Elsewhere the whole place, though a product may be cut in parts: its hazards then are those of one product.
        """
        return Tiles(first, first + count) if self.c.listed(module, self.b.layer) else place

    # --- DDR4 -----------------------------------------------------------------------------------------

    def constants(self, block: ConstantBlock) -> Held:
        """Load a block into the next constants half and return its place."""
        held, self._half = Held(self._half), 1 - self._half
        address = self._ddr("constants", block.address)
        self.emit(Opcode.LOAD_CONSTANTS, [], [held.region], columns=block.words, half=held.half, address=address)
        return held

    def rotary(self, token: int, rows: int) -> None:
        """Load the rotary constants of a row block into the NPE's ROT buffer: a cosine and a sine a pair."""
        if not self.c.shape.rotary:
            return
        stride = self.c.memory.strides.rotary
        address, words = self._ddr("rotary", token * stride), rows * stride // ADDRESS_UNIT
        self.emit(Opcode.LOAD_CONSTANTS, [], ["rotary"], columns=words, value=1, address=address)

    def part(self, first: int, rows: int, post: Post = Post.NONE) -> int:
        """Tiles of a result place that lie before the columns from ``first`` on."""
        columns = first // 2 if post == Post.SWIGLU else first
        return columns // self.c.overlay.pe_array.dot_length * rows

    def load(
        self, what: Region, at: int, place: Region, target: int, rows: int, tiles: int, **fields: int
    ) -> int:
        """Load rows of DDR4 tensor ``what``, from its byte ``at`` on, into the global buffer at ``target``.

        A tensor may be a tuple that begins with the name of its region: parts that are ordered by themselves.
        """
        reads = [self._tensor(what), *self.gate_reads(fields)]
        return self.emit(
            Opcode.LOAD_ROWS, reads, [place], address=self._ddr(_region(what), at), target=target, rows=rows,
            k_tiles=tiles, **fields,
        )  # fmt: skip

    def store(
        self, what: Region, at: int, place: Region, source: int, rows: int, tiles: int, **fields: int
    ) -> int:
        """Store rows of the global buffer at ``source`` to a DDR4 tensor, from its byte ``at`` on."""
        reads = [place, *self.gate_reads(fields)]
        return self.emit(
            Opcode.STORE_ROWS, reads, [self._tensor(what)], address=self._ddr(_region(what), at), source=source,
            rows=rows, k_tiles=tiles, **fields,
        )  # fmt: skip

    def _tensor(self, what: Region) -> Region:
        """Region of a DDR4 tensor; X is one a row block, an embedding depends on the token chosen before."""
        if what in ("embedding", CHOSEN):
            return "next_token"
        if _region(what) == "x":  # of this block, or that of the block whose first row is named
            return what if isinstance(what, tuple) else (what, self.b.first_row)
        return ("ddr", what)

    def _ddr(self, region: str, at: int) -> int:
        return (self.c.memory.ddr[region] + at) // ADDRESS_UNIT

    def pair_slot(self, first: int, rows: int, pair: int) -> int:
        """Byte at which a head pair of a row block begins in Q or O: a slot for all rows, though fewer may execute."""
        return (first * self.pairs + pair * rows) * self.c.memory.strides.pair

    # --- routing --------------------------------------------------------------------------------------

    def gate(self, module: str, layer: int) -> dict[str, int]:
        """Fields that bind an instruction to a module's row mask; none where the module has no router."""
        decider = self.c.decider(module)
        if not self.c.routed(decider, layer):
            return {}
        return {"gate": int(GATES[decider]), "mask": self.masks[decider]}

    def gate_reads(self, fields: dict[str, int]) -> list[Region]:
        """Regions that an instruction with these fields reads for its gate."""
        gate = fields.get("gate", 0)
        if fields.get("list"):
            return [("list", fields["list"])]
        return [("mask", gate, fields["mask"])] if gate else []

    def group_gate(self, module: str, group: int) -> dict[str, int]:
        """Fields that bind an instruction to the rows that run a group of a module."""
        if not self.c.listed(module, self.b.layer):
            return self.gate(module, self.b.layer)
        return {"list": self.c.lists.group(module, group)}

    def pair_gate(self, pair: int) -> dict[str, int]:
        """Fields that bind an instruction to the rows that ask a pair of key/value heads."""
        if not self.c.listed("attention", self.b.layer):
            return self.gate("attention", self.b.layer)
        return {"list": self.c.lists.pairs[pair]}

    # --- products -------------------------------------------------------------------------------------

    def weights(
        self, name: str, gate: dict[str, int], first: int = 0, layer: int | None = None
    ) -> None:
        """Stream the part of a weight matrix that begins at column ``first``."""
        matrix = self.c.memory.matrices[self.b.layer if layer is None else layer, name]
        part = matrix.part(first)
        address = part.offset // ADDRESS_UNIT
        self.emit(Opcode.LOAD_WEIGHTS, self.gate_reads(gate), [], columns=part.chunk_sets, address=address, **gate)

    def matmul(
        self, name: str, held: Held, gate: dict[str, int], reads: list[Region], writes: list[Region], *,
        first: int = 0, count: int = -1, layer: int | None = None, **fields: int,
    ) -> None:  # fmt: skip
        """Stream a weight matrix and multiply the rows at ``source`` with it."""
        matrix = self.c.memory.matrices[self.b.layer if layer is None else layer, name]
        count = matrix.columns if count < 0 else count
        self.weights(name, gate, first, layer)
        norm = ["statistics", self.gamma.region] if fields.get("normalize") else []
        fields["bias"] = int(biased(self.c.shape, name))
        turn = ["rotary"] if fields.get("post") == Post.ROPE else []
        self.emit(
            Opcode.MATMUL, [*reads, held.region, *norm, *turn, *self.gate_reads(gate)], writes, columns=count,
            k_tiles=matrix.k_tiles, datatype=int(matrix.datatype == "fp16"), scaled=1, **held.fields, **gate, **fields,
        )  # fmt: skip

    def projections(
        self, *names: str, layer: int | None = None, only: tuple[str, ...] = ()
    ) -> Iterator[tuple[str, int, int, Held]]:
        """Weight matrices in the column parts whose scales fit a constants half, several parts a half.

        Yields (name, first column, columns, place of the scales), of all or of ``only`` some matrices; a half is
        loaded before its first part.
        """
        for block in self.c.memory.constants[self.b.layer if layer is None else layer, names[0]]:
            scales = [piece for piece in block.pieces if piece.kind == "scales"]
            parts = [piece for piece in scales if projection_of(piece.name) in (only or names)]
            held = self.constants(block) if parts else Held(0)
            for piece in parts:
                yield piece.name, piece.first, piece.columns, Held(held.half, piece.word)


def _region(what: Region) -> str:
    return str(what[0] if isinstance(what, tuple) else what)
