"""Overlay: every parameter of the overlay processor, and the quantities that follow from them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from skipopu.spec.error import SpecError
from skipopu.spec.leaf import Leaf, flag, number, word
from skipopu.spec.load import build, find, override, read_toml
from skipopu.spec.npe import Npe, slot_levels

BITS = {"int4": 4, "fp16": 16}
FP16_BYTES = 2
FP32_BYTES = 4


@dataclass(frozen=True)
class Clock:
    """Core clock; the HBM ports run at an integer multiple of it, phase-locked."""

    core_mhz: float = number("MHz", 1, 2000)
    hbm_ratio: int = number("tick/cycle", 1, 8, power_of_two=True)


@dataclass(frozen=True)
class Datatypes:
    """Formats of what lies in HBM; activations and the KV cache are FP16 throughout."""

    weights: str = word("int4", "fp16")
    lm_head: str = word("int4", "fp16")


@dataclass(frozen=True)
class PeArray:
    """``columns`` dot products of ``dot_length`` products each, one activation row a cycle."""

    columns: int = number("column", 2, 1024)
    dot_length: int = number("product", 16, 512, power_of_two=True)
    product_bits: int = number("bit", 15, 22)
    alignment_rounding: str = word("truncate", "nearest")
    output_rounding: str = word("toward_zero", "nearest_even")
    tree: str = word("lut", "dsp")
    broadcast_stages: int = number("cycle", 1, 8)
    multiply_stages: int = number("cycle", 1, 16)
    align_stages: int = number("cycle", 1, 16)
    tree_stages: int = number("cycle", 1, 16)
    convert_stages: int = number("cycle", 1, 16)
    accumulate_stages: int = number("cycle", 1, 16)


@dataclass(frozen=True)
class Ker:
    """Weight tile buffer: two halves, one loads while the other multiplies."""

    constant_bytes_per_cycle: int = number("byte/cycle", 16, 4096)


@dataclass(frozen=True)
class Ifm:
    """Circular buffer of activation row tiles between the global buffer and the PE array."""

    rows: int = number("row", 2, 8192)


@dataclass(frozen=True)
class Psum:
    """Partial sums, two halves; a row owns ``interleave`` entries so that no sum waits for the last."""

    format: str = word("fp32", "fp16")
    entries: int = number("row", 4, 65536)
    interleave: int = number("entry", 1, 16)


@dataclass(frozen=True)
class GlobalBuffer:
    """On-chip rows, in tiles of ``dot_length`` FP16 elements."""

    tiles: int = number("tile", 64, 1048576)
    read_ports: int = number("tile/cycle", 2, 8)
    read_stages: int = number("cycle", 1, 8)


@dataclass(frozen=True)
class Constants:
    """Scales, gamma, router weights and rotary constants, ping-pong halves filled from DDR4."""

    half_bytes: int = number("byte", 256, 16777216)


@dataclass(frozen=True)
class Dma:
    """HBM ports and DDR4 channels seen from the core; a chunk is what one port delivers in one core cycle."""

    hbm_ports: int = number("port", 1, 64)
    weight_chunks: int = number("chunk", 8, 1024)
    kv_chunks: int = number("chunk", 8, 1024)
    crossing_stages: int = number("cycle", 3, 15)
    request_ticks: int = number("tick", 3, 15)
    read_bursts: int = number("burst", 1, 64, power_of_two=True)
    write_bursts: int = number("burst", 1, 64, power_of_two=True)
    ddr_beats: int = number("beat", 16, 1024)
    ddr_read_bursts: int = number("burst", 1, 64)
    ddr_write_bursts: int = number("burst", 1, 64)


@dataclass(frozen=True)
class KvBuffer:
    """KV invariance buffer and the round scheduler in front of it."""

    map: str = word("token_wise", "interleaved")
    enabled: bool = flag()
    capacity_bytes: int = number("byte", 0, 2**30)
    ports: int = number("port", 0, 32)
    invalid_rounds: str = word("queues", "lock_step")
    queue_depth: int = number("token", 2, 256)
    round_queue: int = number("round", 2, 64)
    read_stages: int = number("cycle", 1, 8)


@dataclass(frozen=True)
class Bitmask:
    """Executed rows, a bit for each layer and token, and the scheduler's table of tokens.

    ``lists``: row lists for parts of modules that tokens choose among; in the simulator alone, RTL has none.
    """

    rows: int = number("layer", 1, 256)
    tokens: int = number("token", 64, 1048576)
    lists: int = number("list", 0, 1023)


@dataclass(frozen=True)
class Sequencer:
    """Fetches from DDR4, dispatches one instruction a cycle to the engine queues."""

    queue_depth: int = number("instruction", 1, 64)
    fetch_instructions: int = number("instruction", 32, 4096)
    dispatch_stages: int = number("cycle", 1, 16)


@dataclass(frozen=True)
class Dataflow:
    """How the compiler blocks and orders the work; the paper names the loops and not their sizes."""

    row_block: int = number("row", 1, 4096)
    fused: bool = flag()  # norm and softmax beside the products (Algorithms 1, 2), or in passes of their own
    packed_heads: int = number("head", 1, 2)


@dataclass(frozen=True)
class Parameters:
    """The sections of an overlay file."""

    clock: Clock
    datatypes: Datatypes
    pe_array: PeArray
    ker: Ker
    ifm: Ifm
    psum: Psum
    global_buffer: GlobalBuffer
    constants: Constants
    npe: Npe
    dma: Dma
    kv_buffer: KvBuffer
    bitmask: Bitmask
    sequencer: Sequencer
    dataflow: Dataflow


@dataclass(frozen=True)
class Overlay(Parameters):
    """One configuration of the overlay processor with its provenance.

    Simulator, RTL and HLS read sizes and latencies here and nowhere else.
    """

    name: str
    provenance: Mapping[str, Leaf] = field(compare=False, repr=False)

    @classmethod
    def load(cls, name: str = "skipopu-u280", settings: tuple[str, ...] = ()) -> "Overlay":
        """Load a shipped overlay or a ``.toml`` path, with ``key=value`` settings.

        Raises SpecError naming the key, the value, the bound and the nearest valid value.
        """
        path = find("overlay", name)
        sections, leaves = build(Parameters, read_toml(path), path.name)
        if settings:
            sections, leaves = build(Parameters, override(leaves, settings), path.name)
        return cls(**vars(sections), name=path.stem, provenance=leaves)

    def __post_init__(self) -> None:
        self._require_even("pe_array.columns", self.pe_array.columns, "two columns share a DSP")
        self._require_even("npe.lanes", self.npe.lanes, "gate and up, and the halves of a rotation, are pairs of lanes")
        self._require(
            "psum.interleave",
            self.psum.interleave,
            self.pe_array.accumulate_stages,
            "pe_array.accumulate_stages, or a sum would be read before it is written",
        )
        self._check_sum_width()
        self._require("psum.entries", self.psum.entries, self.psum.interleave, "psum.interleave")
        burst = self.hbm_burst_chunks
        self._require("dma.weight_chunks", self.dma.weight_chunks, burst, "one AXI3 burst")
        self._require("dma.kv_chunks", self.dma.kv_chunks, burst, "one AXI3 burst")
        self._check_map()
        self._require(
            "npe.reduce_stages",
            self.npe.reduce_stages,
            self.npe.scale_stages,
            "npe.scale_stages: a sum is scaled to the new maximum while the tile is reduced",
        )

    def _require(self, key: str, value: int, low: int, why: str) -> None:
        if value < low:
            raise SpecError(
                f"overlay {self.name}: {key} = {value}; must be at least {low} ({why}); nearest: {low}"
            )

    def _require_even(self, key: str, value: int, why: str) -> None:
        if value % 2:
            raise SpecError(f"overlay {self.name}: {key} = {value}; must be even ({why}); nearest: {value + 1}")

    def _check_map(self) -> None:
        if self.kv_buffer.map == "interleaved" and self.buffer_ports:
            raise SpecError(
                f"overlay {self.name}: kv_buffer.enabled = true; the interleaved map spreads a token over all ports and"
                " has no invariance buffer; nearest: false"
            )

    def _check_sum_width(self) -> None:
        lane, widest = DSP_LANE_BITS, self.sum_bits - self.pe_array.product_bits
        if self.pe_array.tree == "dsp" and self.sum_bits > lane:
            raise SpecError(
                f"overlay {self.name}: pe_array.product_bits = {self.pe_array.product_bits}; the dsp tree adds two"
                f" sums in lanes of {lane} bits and this one has {self.sum_bits}; nearest: {lane - widest},"
                " or pe_array.tree=lut"
            )

    # --- the PE array -------------------------------------------------------------------------------

    @property
    def pe_latency(self) -> int:
        """Core cycles from a row being issued to its sum standing in PSUM."""
        pe = self.pe_array
        return pe.broadcast_stages + self.dot_latency + pe.accumulate_stages

    @property
    def dot_latency(self) -> int:
        """Core cycles from a row at the columns to its dot products in floating point."""
        pe = self.pe_array
        return pe.multiply_stages + pe.align_stages + pe.tree_stages + pe.convert_stages

    @property
    def sum_bits(self) -> int:
        """Bits of a column's fixed-point sum: sign, product, and one for each level of the tree."""
        return 1 + self.pe_array.product_bits + int(math.log2(self.pe_array.dot_length))

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates a core cycle."""
        return self.pe_array.columns * self.pe_array.dot_length

    @property
    def tile_bytes(self) -> int:
        """Bytes of a row tile: ``dot_length`` FP16 elements."""
        return self.pe_array.dot_length * FP16_BYTES

    def weight_tile_bytes(self, columns: int, datatype: str) -> int:
        """Bytes of a weight tile of ``dot_length`` × ``columns`` weights."""
        return math.ceil(self.pe_array.dot_length * columns * BITS[datatype] / 8)

    # --- the NPE --------------------------------------------------------------------------------------

    @property
    def slot_latency(self) -> int:
        """Core cycles from the last interleaved sums of a row to their total; scales are read meanwhile."""
        levels = slot_levels(self.psum.interleave) * self.npe.add_stages
        return max(levels, self.global_buffer.read_stages)

    @property
    def result_latency(self) -> int:
        """Core cycles from a word's last sums to the word: total, scale, bias, residual, rounding, function."""
        n = self.npe
        return self.slot_latency + n.scale_stages + 2 * n.add_stages + n.narrow_stages + n.function_stages

    @property
    def route_latency(self) -> int:
        """Core cycles from a token's last logits to its bit in the row mask."""
        return self.slot_latency + self.npe.route_stages

    @property
    def router_weights_latency(self) -> int:
        """Core cycles from the start of a stream of router weights to its first word at KER: a read of block RAM."""
        return self.global_buffer.read_stages

    # --- HBM ------------------------------------------------------------------------------------------

    @property
    def chunk_bytes(self) -> int:
        """Bytes one HBM port delivers in one core cycle (256-bit AXI3 beats)."""
        return self.clock.hbm_ratio * HBM_BEAT_BYTES

    @property
    def hbm_burst_chunks(self) -> int:
        """Chunks of one AXI3 burst of 16 beats."""
        return math.ceil(AXI3_BURST_BEATS / self.clock.hbm_ratio)

    @property
    def hbm_bytes_per_cycle(self) -> int:
        """Bytes all HBM ports deliver in a core cycle."""
        return self.dma.hbm_ports * self.chunk_bytes

    @property
    def ddr_bytes_per_cycle(self) -> int:
        """Bytes the DDR4 interface moves in a core cycle: one 512-bit word for each of two channels."""
        return DDR_CHANNELS * DDR_BEAT_BYTES

    # --- KV cache -------------------------------------------------------------------------------------

    def head_storage(self, head_dim: int) -> int:
        """Elements a head occupies in the KV cache: ``head_dim`` padded to whole row tiles and chunks."""
        unit = max(self.pe_array.dot_length, self.chunk_bytes // FP16_BYTES)
        return math.ceil(head_dim / unit) * unit

    def value_columns(self, head: int) -> int:
        """Columns of a V tile: the most in which ``head`` stored elements go through in equal parts.

        A part is made of whole chunks, or a chunk of whole parts: so no column takes elements of another place.
        """
        chunk = self.chunk_bytes // FP16_BYTES
        most = min(head, self.pe_array.columns)
        return next(n for n in range(most, 0, -1) if head % n == 0 and (n % chunk == 0 or chunk % n == 0))

    @property
    def append_words(self) -> int:
        """Words that kv_append keeps, a row tile or an HBM chunk each, whichever is larger: a chunk a cycle can leave.

        A word is read in as many cycles as it has tiles and written in as many as it has chunks; room that it leaves is
        asked for in the cycle after, and filled ``read_stages`` later.
        """
        word = max(self.tile_bytes, self.chunk_bytes) // min(self.tile_bytes, self.chunk_bytes)
        return math.ceil((self.global_buffer.read_stages + 1) / word) + 1

    @property
    def append_tiles(self) -> int:
        """Row tiles that kv_append may have asked for and not yet written."""
        return self.append_words * max(self.chunk_bytes // self.tile_bytes, 1)

    @property
    def buffer_ports(self) -> int:
        """Banks of the invariance buffer in use; each reads and writes a chunk a cycle (URAM288 has two ports)."""
        b = self.kv_buffer
        return b.ports if b.enabled and b.capacity_bytes else 0

    @property
    def tokens_per_round(self) -> int:
        """Most tokens of a K/V round: one a source, no more than half the columns or a dot product holds."""
        sources = self.dma.hbm_ports + self.buffer_ports
        return min(sources, self.pe_array.columns // 2, self.pe_array.dot_length)

    def buffer_tokens(self, kv_bytes: int) -> int:
        """Tokens the invariance buffer holds when K plus V of one token and layer take ``kv_bytes``.

        A token lies in one bank, so that a bank holds whole tokens only.
        """
        banks = self.buffer_ports
        return self.kv_buffer.capacity_bytes // banks // kv_bytes * banks if banks else 0


# Block RAM facts (UG573), not choices: a word written in one cycle can be read in the next; without the output
# register it stands at the output the cycle after.
BLOCK_RAM_WRITE = 1
BLOCK_RAM_READ = 1
# DSP48E2 (UG579): SIMD mode TWO24 adds in two lanes.
DSP_LANE_BITS = 24

# Matrix operations begun and not retired, of which a record is kept: the PE array, both halves of PSUM and the pipeline
# of the NPE hold one each. A decision: more would follow one another in the pipeline only if they had a row or two.
IN_FLIGHT = 4

# Cycles until a load or store knows how much it moves: rows · tiles, · K/V rounds, up to whole words; a register each.
TRANSFER_STAGES = 3

# AXI facts (PG276, UG1393), not choices: 256-bit HBM ports, AXI3 bursts of ≤ 16 beats, 512-bit DDR4 words.
HBM_BEAT_BYTES = 32
AXI3_BURST_BEATS = 16
BOUNDARY = 4096  # bytes; no AXI burst crosses a multiple of it
DDR_BEAT_BYTES = 64
DDR_CHANNELS = 2
STORE_BEATS = 2 * AXI3_BURST_BEATS  # that a channel's write FIFO holds: one burst fills while another leaves
