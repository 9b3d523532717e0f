"""KV token table: where each token's current K/V lie."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.kv_layout import KvShape, index
from skipopu.hdl.verilog import Block

PHASES = 2


def token_layout(shape: KvShape) -> data.StructLayout:
    """What is known of a token; ``held``: it is in the invariance buffer, a bit a phase."""
    return data.StructLayout({
        "visible": 1, "port": index(shape.ports), "address": shape.address_bits, "held": PHASES
    })  # fmt: skip


class KvTokenTable(Block):
    """One word a token, read ahead of the scheduler and written back by it.

    Parameters
    ----------
    shape : sizes of the KV buffer

    Ports
    -----
    read, read_token : in · found : out, keeps its value without ``read``
    write, write_token, word : in

    Timing
    ------
    The word the cycle after ``read``. A token is never read and written in one cycle.
    """

    def __init__(self, *, shape: KvShape) -> None:
        self._shape, word = shape, token_layout(shape)
        token = In(index(shape.tokens))
        super().__init__({
            "read": In(1), "read_token": token, "found": Out(word),
            "write": In(1), "write_token": token, "word": In(word),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Block RAM."""
        m = Module()
        bits = token_layout(self._shape).size
        m.submodules.memory = memory = Memory(shape=bits, depth=self._shape.tokens, init=[])
        write, read = memory.write_port(), memory.read_port()
        m.d.comb += [
            read.en.eq(self.read), read.addr.eq(self.read_token), self.found.eq(read.data),
            write.en.eq(self.write), write.addr.eq(self.write_token), write.data.eq(self.word),
        ]  # fmt: skip
        return m
