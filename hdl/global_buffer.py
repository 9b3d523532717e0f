"""Global buffer: row tiles on chip, read ports shared by all, and one write port whose cycles are reserved ahead."""

from typing import Any

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, Signature

from skipopu.hdl.kv_layout import index
from skipopu.hdl.npe.result_operation import lanes_of
from skipopu.hdl.pipeline import delayed, named
from skipopu.hdl.verilog import Block
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

READERS = ("store", "append", "residual")  # one tile each, the first one goes first; operands come after them
FP16_BITS = 16


def write_back_latency(overlay: Overlay) -> int:
    """Return the cycles from the grant of an operand until what it became is written back."""
    return overlay.global_buffer.read_stages + overlay.npe.operand_latency


def write_granule(overlay: Overlay) -> int:
    """Return the elements of a tile that are written together: half a word of results, for SwiGLU leaves one."""
    return max(lanes_of(overlay) // 2, 1)


def tile_bits(overlay: Overlay) -> int:
    """Return the width of a row tile."""
    return overlay.pe_array.dot_length * FP16_BITS


def read_signature(overlay: Overlay) -> Signature:
    """One tile, seen from who reads it."""
    tiles = index(overlay.global_buffer.tiles)
    return Signature({"valid": Out(1), "address": Out(tiles), "granted": In(1), "data": In(tile_bits(overlay))})


def operand_signature(overlay: Overlay) -> Signature:
    """Tile a, and b beside it when they are ``packed``."""
    tiles, bits = index(overlay.global_buffer.tiles), tile_bits(overlay)
    return Signature({
        "valid": Out(1), "packed": Out(1), "address_a": Out(tiles), "address_b": Out(tiles), "granted": In(1),
        "data_a": In(bits), "data_b": In(bits),
    })  # fmt: skip


def write_signature(overlay: Overlay) -> Signature:
    """A whole tile in a cycle that was reserved."""
    tiles = index(overlay.global_buffer.tiles)
    return Signature({"valid": Out(1), "address": Out(tiles), "data": Out(tile_bits(overlay))})


def result_signature(overlay: Overlay) -> Signature:
    """Part of a tile; a bit of ``mask`` for each `write_granule` elements, from element 0 on."""
    granules = overlay.pe_array.dot_length // write_granule(overlay)
    return Signature({**write_signature(overlay).members, "mask": Out(granules)})


def load_signature(overlay: Overlay) -> Signature:
    """A whole tile, when nobody has reserved the cycle: it is written when both valid and ready."""
    return Signature({**write_signature(overlay).members, "ready": In(1)})


class GlobalBuffer(Block):
    """Memory of row tiles, ``dot_length`` × FP16 each. Block RAM, a copy a read port: all copies are written alike.

    Parameters
    ----------
    overlay : pe_array.dot_length, global_buffer, and what makes its latencies; a word of results divides a row tile

    Ports
    -----
    store, append, residual : reads of a tile: ``valid``, ``address`` in, ``granted``, ``data`` out
    operand : read of tile a, and with ``packed`` of tile b in the same cycle
    reserve_result, reserve_write_back : in, a result, a tile that goes back, will be written its fixed latency after
        this cycle; only when ``result_free``, ``write_back_free``
    result_free, write_back_free : out, nobody writes then
    result : in, write of the elements in ``mask``; ``data`` is a whole tile · write_back : in, write of a tile
    load : in, write of a tile when ``ready``: in a cycle that nobody has reserved

    Timing
    ------
    ``global_buffer.read_ports`` tiles a cycle: store before append before residual before operand. ``granted`` says
    that ports are left, whether or not its own ``valid`` stands; a read takes them with both. Data ``read_stages``
    after the grant. A tile written in cycle t is found by requests from t + 1 on. A result is written
    `Overlay.result_latency` after its reservation, a tile that goes back ``read_stages`` + npe.operand_latency.

    Raises
    ------
    SpecError : a word of results would not lie in one tile
    """

    def __init__(self, *, overlay: Overlay) -> None:
        _check_words(overlay)
        self._overlay, self._buffer = overlay, overlay.global_buffer
        self._count = range(overlay.global_buffer.read_ports + 1)
        super().__init__({
            **{reader: In(read_signature(overlay)) for reader in READERS},
            "operand": In(operand_signature(overlay)),
            "reserve_result": In(1), "result_free": Out(1), "reserve_write_back": In(1), "write_back_free": Out(1),
            "result": In(result_signature(overlay)), "write_back": In(write_signature(overlay)),
            "load": In(load_signature(overlay)),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """One memory; who reads; who writes."""
        m = Module()
        granularity = write_granule(self._overlay) * FP16_BITS
        m.submodules.tiles = memory = Memory(shape=tile_bits(self._overlay), depth=self._buffer.tiles, init=[])
        write_port = memory.write_port(granularity=granularity)
        ports = []
        for _ in range(self._buffer.read_ports):
            read_port = memory.read_port()
            ports.append(read_port)
        self._write(m, write_port)
        self._read(m, ports)
        self._reserve(m)
        return m

    def _read(self, m: Module, ports: list[Any]) -> None:
        """Give out the read ports one after the other; whoever has one finds it again when the data come."""
        used: Value = Const(0, 1)  # ports that are taken by those before
        asked: list[tuple[Value, Value]] = []  # the port asked for, its address
        for reader in READERS:
            each = getattr(self, reader)
            m.d.comb += [each.granted.eq(self._left(used, 1)), each.data.eq(self._data(m, ports, used, reader))]
            asked.append((named(m, self._port(used, each.valid), f"{reader}_port", self._count), each.address))
            used = named(m, used + (each.valid & each.granted), f"used_with_{reader}", self._count)
        o, after = self.operand, used + 1
        m.d.comb += [
            o.granted.eq(self._left(used, 1 + o.packed)),
            o.data_a.eq(self._data(m, ports, used, "a")), o.data_b.eq(self._data(m, ports, after, "b")),
        ]  # fmt: skip
        asked += [(used, o.address_a), (after, o.address_b)]
        self._addresses(m, ports, asked)

    def _port(self, used: Value, valid: Value) -> Value:
        """The port of a reader, one that there is not where it reads nothing."""
        return Mux(valid, used, self._buffer.read_ports)

    def _left(self, used: Value, tiles: Any) -> Value:
        return used + tiles <= self._buffer.read_ports

    def _addresses(self, m: Module, ports: list[Any], asked: list[tuple[Value, Value]]) -> None:
        """A port serves the first reader that has its number; nobody has it twice but idle operands."""
        for number, port in enumerate(ports):
            address: Value = asked[-1][1]
            for which, its in reversed(asked[:-1]):
                address = Mux(which == number, its, address)
            m.d.comb += [port.en.eq(1), port.addr.eq(address)]

    def _data(self, m: Module, ports: list[Any], used: Value, name: str) -> Value:
        """Port ``used``'s data, ``read_stages`` cycles on; the first reader always has the first port."""
        found = ports[0].data
        if not isinstance(used, Const):
            number = delayed(m, named(m, used, f"{name}_port_now", self._count), 1, f"{name}_port_before")
            found = ports[-1].data
            for place in reversed(range(len(ports) - 1)):
                found = Mux(number == place, ports[place].data, found)
        return delayed(m, found, self._buffer.read_stages - 1, f"{name}_data")

    def _write(self, m: Module, port: Any) -> None:
        """Results and tiles that go back have reserved their cycle; the load engine takes what is left."""
        result, back, load = self.result, self.write_back, self.load
        loads = named(m, load.valid & load.ready, "loads")
        m.d.comb += [
            port.addr.eq(named(m, self._chosen(result.address, back.address, load.address), "write_address")),
            port.data.eq(named(m, self._chosen(result.data, back.data, load.data), "write_data")),
            port.en.eq(named(
                m, Mux(result.valid, result.mask, (back.valid | loads).replicate(len(port.en))), "write_granules"
            )),
        ]  # fmt: skip

    def _chosen(self, result: Value, back: Value, load: Value) -> Value:
        """What belongs to the write of this cycle."""
        return Mux(self.result.valid, result, Mux(self.write_back.valid, back, load))

    def _reserve(self, m: Module) -> None:
        """Bit n of a shift register: somebody writes n cycles from now."""
        result, back = self._overlay.result_latency, write_back_latency(self._overlay)
        ahead = Signal(max(result, back) + 1, name="reserved")
        asked = self.reserve_result.shift_left(result) | self.reserve_write_back.shift_left(back)
        m.d.sync += ahead.eq((ahead | asked)[1:])
        same = self.reserve_result if result == back else Const(0, 1)  # results go first
        m.d.comb += [
            self.result_free.eq(~ahead[result]), self.write_back_free.eq(~ahead[back] & ~same),
            self.load.ready.eq(self._may_load(ahead)),
        ]  # fmt: skip

    def _may_load(self, reserved: Value) -> Value:
        return ~reserved[0]


def _check_words(overlay: Overlay) -> None:
    """Both are checked here because no other block puts words into tiles."""
    lanes, length = lanes_of(overlay), overlay.pe_array.dot_length
    if length % lanes or lanes < 2:
        nearest = 1 << (min(lanes, length).bit_length() - 1)
        raise SpecError(
            f"overlay {overlay.name}: npe.lanes = {overlay.npe.lanes}, pe_array.columns = {overlay.pe_array.columns};"
            f" a word of {lanes} results must divide a row tile of pe_array.dot_length = {length};"
            f" nearest: npe.lanes={nearest}"
        )
