"""Transfer amount: how many row tiles, and how many words of DDR4, a load or store moves."""

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib.wiring import In, Out

from skipopu.hdl.ddr_ports import WORD_BYTES
from skipopu.hdl.instruction import INSTRUCTION
from skipopu.hdl.npe.in_flight import in_flight
from skipopu.hdl.pipeline import named
from skipopu.hdl.tile_loop import ROW_BITS, TILE_BITS
from skipopu.hdl.verilog import Block
from skipopu.program.isa import WIDTH, Opcode
from skipopu.spec.overlay import DDR_CHANNELS, TRANSFER_STAGES

TILES_BITS = WIDTH["target"] + 1  # of a count of tiles of the global buffer


def words_bits(tile_bytes: int) -> int:
    """Return the width of a number of words."""
    return TILES_BITS + max(tile_bytes // WORD_BYTES - 1, 0).bit_length()


class TransferAmount(Block):
    """Rows · k_tiles, with ``tokens`` · K/V rounds; words of all channels, the last one filled up.

    Parameters
    ----------
    tile_bytes : a power of two

    Ports
    -----
    head : in, the instruction, steady
    begins, executed, rounds : in, its first cycle; in this cycle the executed rows of its gate, and the K/V rounds
    known : out, what follows is valid in this cycle
    rows : out, moved for each tile: the executed ones with ``compact``, else the block's if one of them is executed
    tiles, words : out, of constants no tiles

    Timing
    ------
    ``known`` TRANSFER_STAGES − 1 cycles after ``begins``: who takes the numbers over has them as that many are past.
    """

    def __init__(self, *, tile_bytes: int) -> None:
        self._tile = tile_bytes
        super().__init__({
            "head": In(INSTRUCTION), "begins": In(1), "executed": In(ROW_BITS), "rounds": In(TILE_BITS),
            "known": Out(1), "rows": Out(ROW_BITS), "tiles": Out(TILES_BITS), "words": Out(words_bits(tile_bytes)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A register behind each multiplication; the words follow from wires."""
        m = Module()
        rows, head = named(m, self._moved(), "moved", ROW_BITS), self.head
        rounds = Signal(TILE_BITS, name="rounds_held", reset_less=True)
        of_round = Signal(TILES_BITS, name="tiles_of_round", reset_less=True)
        tiles = Signal(TILES_BITS, name="tiles_moved", reset_less=True)
        with m.If(self.begins):
            m.d.sync += [self.rows.eq(rows), rounds.eq(Mux(head.tokens.any(), self.rounds, 1))]
            m.d.sync += of_round.eq(rows * head.k_tiles)
        m.d.sync += tiles.eq(of_round * rounds)
        constants = head.opcode == Opcode.LOAD_CONSTANTS
        m.d.comb += [
            self.known.eq(in_flight(m, self.begins, TRANSFER_STAGES - 1, "since")[-1]), self.tiles.eq(tiles),
            self.words.eq(Mux(constants, (head.columns + DDR_CHANNELS - 1) // DDR_CHANNELS, self._words(tiles))),
        ]  # fmt: skip
        return m

    def _moved(self) -> Value:
        whole = Mux(self.executed.any(), self.head.rows, 0)
        return Mux(self.head.compact, self.executed, whole)

    def _words(self, tiles: Value) -> Value:
        """Whole words, the last one filled up."""
        if self._tile >= WORD_BYTES:
            return tiles * (self._tile // WORD_BYTES)
        part = WORD_BYTES // self._tile
        return (tiles + part - 1) // part
