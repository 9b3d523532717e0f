"""Constants: scales, biases, gamma, beta and router weights on chip, in two halves filled from DDR4."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out, Signature, connect, flipped

from skipopu.hdl.constants_memory import WRITE_BYTES, ConstantsMemory, constants_write
from skipopu.hdl.kv_layout import index
from skipopu.hdl.router_weights import RouterWeights, router_start
from skipopu.hdl.verilog import Block, place
from skipopu.spec.error import SpecError
from skipopu.spec.memory_bits import constant_readers
from skipopu.spec.overlay import Overlay


def readers(overlay: Overlay) -> dict[str, int]:
    """Return who reads words, and how many bytes a cycle; router weights are a stream."""
    return {name: width for name, width in constant_readers(overlay).items() if name != "router"}


def constants_read(half_bytes: int, read_bytes: int) -> Signature:
    """A read, seen from who reads; ``address`` counts words of ``read_bytes`` from the beginning of the half."""
    words = index(-(-half_bytes // read_bytes))
    return Signature({"half": Out(1), "address": Out(words), "data": In(read_bytes * 8)})


class Constants(Block):
    """Two halves of ``constants.half_bytes``: one is read while the other is loaded. A copy of both for each reader.

    Parameters
    ----------
    overlay : constants, pe_array, npe, ker.constant_bytes_per_cycle, global_buffer.read_stages

    Ports
    -----
    write : in, `constants_write`: ``valid``, ``half``, ``address`` in words of 128 bytes, ``data``
    scale, bias : reads of a word of results, lanes × FP16; ``address`` in such words
    gamma, with npe.layer_norm beta : reads of a row tile, ``dot_length`` × FP16; ``address`` in row tiles
    router_start, router_start_valid (1) : in, `router_start`: ``half``, ``address`` in 64-byte words, ``words``;
        not before the last word of the stream before is taken
    router_weights : out, stream of ``ker.constant_bytes_per_cycle`` bytes

    Timing
    ------
    Data ``global_buffer.read_stages`` after the address; what is written in cycle t is found by reads from t + 1 on.
    The first word of the stream stands `Overlay.router_weights_latency` after its start; a word a cycle.

    Raises
    ------
    SpecError : words that are no power of two, or a half that is not made of words from DDR4
    """

    def __init__(self, *, overlay: Overlay) -> None:
        _check(overlay)
        self._overlay, size = overlay, overlay.constants.half_bytes
        stages = overlay.global_buffer.read_stages
        self._readers = {
            name: ConstantsMemory(half_bytes=size, read_bytes=width, read_stages=stages)
            for name, width in readers(overlay).items()
        }  # fmt: skip
        word = overlay.ker.constant_bytes_per_cycle
        self._router = RouterWeights(half_bytes=size, read_bytes=word, read_stages=overlay.router_weights_latency)
        super().__init__({
            "write": In(constants_write(size)),
            **{name: In(constants_read(size, width)) for name, width in readers(overlay).items()},
            "router_start": In(router_start(size)), "router_start_valid": In(1),
            "router_weights": Out(stream.Signature(word * 8)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """A memory a reader."""
        m = Module()
        for name, block in self._readers.items():
            memory, reader = place(m, name, block), getattr(self, name)
            self._fill(m, memory)
            m.d.comb += [
                memory.enable.eq(1), memory.half.eq(reader.half), memory.address.eq(reader.address),
                reader.data.eq(memory.data),
            ]  # fmt: skip
        router = place(m, "router", self._router)
        self._fill(m, router)
        m.d.comb += [router.start.eq(self.router_start), router.start_valid.eq(self.router_start_valid)]
        connect(m, router.weights, flipped(self.router_weights))
        return m

    def _fill(self, m: Module, memory: Any) -> None:
        """Every copy takes what comes from DDR4."""
        m.d.comb += [
            getattr(memory.write, name).eq(getattr(self.write, name)) for name in ("valid", "half", "address", "data")
        ]  # fmt: skip


def _check(overlay: Overlay) -> None:
    words = (*readers(overlay).values(), overlay.ker.constant_bytes_per_cycle)
    keys = "npe.lanes, pe_array.columns, pe_array.dot_length, ker.constant_bytes_per_cycle"
    for word in words:
        if word & (word - 1):
            raise SpecError(
                f"overlay {overlay.name}: constants are read {word} bytes at a time; must be a power of two ({keys});"
                f" nearest: {1 << (word.bit_length() - 1)}"
            )
    size = overlay.constants.half_bytes
    if size % WRITE_BYTES:
        raise SpecError(
            f"overlay {overlay.name}: constants.half_bytes = {size}; a half is filled {WRITE_BYTES} bytes at a time;"
            f" nearest: {size // WRITE_BYTES * WRITE_BYTES or WRITE_BYTES}"
        )
