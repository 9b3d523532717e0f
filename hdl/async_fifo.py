"""Asynchronous FIFO: words from one clock domain to another, the write pointer in Gray code."""

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from skipopu.hdl.clock_crossing import gray, synchronised
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError

CORE = "sync"


class AsyncFifo(Block):
    """A memory between a write pointer of one clock and a read pointer of another.

    It has no full flag: whoever writes holds credits, at most ``depth`` in all, and so knows that there is room.

    Parameters
    ----------
    width : bits of a word
    depth : words, a power of two, at least 2
    stages : flip-flops of the write pointer's synchroniser
    write_domain, read_domain : clock domains, ``sync`` for the core's
    ahead : the next word is read ahead into an output register (block RAM), instead of being read in the cycle
        in which it is wanted (LUT RAM)

    Ports
    -----
    write, write_data : in, write clock: a word is written
    read : out, read clock, stream of the words

    Timing
    ------
    A word written at the edge that begins cycle n of the read clock, or within n, stands at the output in n + stages,
    with ``ahead`` in n + stages + 1. Initiation interval 1 on both sides.
    """

    def __init__(
        self, *, width: int, depth: int, stages: int, write_domain: str, read_domain: str, ahead: bool
    ) -> None:
        if depth < 2 or depth & (depth - 1):
            raise SpecError(f"depth = {depth}; must be a power of two, at least 2; nearest: {fifo_depth(depth)}")
        self._width, self._depth, self._stages, self._ahead = width, depth, stages, ahead
        self._write_domain, self._read_domain = write_domain, read_domain
        self._bits = depth.bit_length()  # of a pointer: one more than an address has, so that full is not empty
        super().__init__({"write": In(1), "write_data": In(width), "read": Out(stream.Signature(width))})

    @property
    def module(self) -> str:
        """One module a size and direction."""
        ways = ("core" if domain == CORE else domain for domain in (self._write_domain, self._read_domain))
        return f"async_fifo_{'_to_'.join(ways)}_{self._width}x{self._depth}{'_ahead' if self._ahead else ''}"

    def elaborate(self, platform: Any) -> Module:
        """Memory, pointers, output."""
        m = Module()
        m.submodules.memory = memory = Memory(shape=self._width, depth=self._depth, init=[])
        written = self._write(m, memory)
        place = Signal(self._bits, name="read_pointer")
        due, step = Signal(name="due"), Signal(name="step")
        m.d.comb += due.eq(synchronised(m, written, self._stages, self._read_domain, "write_gray") != gray(place))
        m.d[self._read_domain] += place.eq(place + step)
        (self._read_ahead if self._ahead else self._read_now)(m, memory, place, due, step)
        return m

    def _write(self, m: Module, memory: Memory) -> Signal:
        """Write the memory; return the pointer's Gray code, which changes with it."""
        port = memory.write_port(domain=self._write_domain)
        place, following = (Signal(self._bits, name=name) for name in ("write_pointer", "write_pointer_next"))
        code = Signal(self._bits, name="write_gray")
        m.d.comb += [
            port.addr.eq(place), port.data.eq(self.write_data), port.en.eq(self.write), following.eq(place + self.write)
        ]  # fmt: skip
        m.d[self._write_domain] += [place.eq(following), code.eq(self._code(following))]
        return code

    def _code(self, pointer: Signal) -> Value:
        return gray(pointer)

    def _read_now(self, m: Module, memory: Memory, place: Signal, due: Signal, step: Signal) -> None:
        port = memory.read_port(domain="comb")
        m.d.comb += [
            port.addr.eq(place), self.read.payload.eq(port.data),
            self.read.valid.eq(due), step.eq(due & self.read.ready),
        ]  # fmt: skip

    def _read_ahead(self, m: Module, memory: Memory, place: Signal, due: Signal, step: Signal) -> None:
        port = memory.read_port(domain=self._read_domain)
        ahead = Signal(name="ahead")
        m.d.comb += [
            step.eq(due & (~ahead | self.read.ready)), port.addr.eq(place), port.en.eq(step),
            self.read.valid.eq(ahead), self.read.payload.eq(port.data),
        ]  # fmt: skip
        m.d[self._read_domain] += ahead.eq(step | (ahead & ~self.read.ready))


def fifo_depth(words: int) -> int:
    """Words of the smallest FIFO that holds ``words``."""
    return 1 << max(words - 1, 1).bit_length()
