"""DDR engines: load, store, global buffer and DDR4 ports joined, for the bench."""

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.ddr_ports import DdrPorts
from skipopu.hdl.engine import ENGINE_PORTS
from skipopu.hdl.global_buffer import READERS, GlobalBuffer
from skipopu.hdl.load import Load
from skipopu.hdl.store import Store
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import Overlay

OTHERS = (*READERS[1:], "operand")  # readers of the global buffer that are outside
WRITES = ("result", "write_back")  # they want a reservation; they are written when the bench says so


class DdrEngines(Block):
    """The engines of DDR4 round a global buffer whose other users are the bench.

    Parameters
    ----------
    overlay : as the blocks take it

    Ports
    -----
    load_*, store_* : `ENGINE_PORTS` of both engines, causes apart
    causes : out, of load and store
    append, residual, operand, result, write_back : see `GlobalBuffer`
    want_result, want_write_back : in, reserve if the cycle is free · has_result, has_write_back : out, it was
    tile_written, tile_address : out, the load engine writes a tile · tile_read, read_address : out, the store engine
        reads one · stream_tile, constants, rotary : out, see `Load`
    fetch, fetch_words, error, ddr : see `DdrPorts`

    Timing
    ------
    That of its parts.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._load, self._store = Load(overlay=overlay), Store(overlay=overlay)
        self._buffer, self._ports = GlobalBuffer(overlay=overlay), DdrPorts(overlay=overlay)
        buffer, ports, load = (block.signature.members for block in (self._buffer, self._ports, self._load))
        engine = {name: member for name, member in ENGINE_PORTS.items() if name != "cause"}
        super().__init__({
            **{f"{name}_{port}": member for name in ("load", "store") for port, member in engine.items()},
            "causes": Out(2 * len(self._load.cause)),
            **{name: buffer[name] for name in (*OTHERS, *WRITES)},
            **{f"want_{name}": In(1) for name in WRITES}, **{f"has_{name}": Out(1) for name in WRITES},
            "tile_written": Out(1), "tile_address": Out(len(self._load.tile.address)),
            "tile_read": Out(1), "read_address": Out(len(self._store.read.address)),
            **{name: load[name] for name in ("stream_tile", "constants", "rotary")},
            **{name: ports[name] for name in ("fetch", "fetch_words", "error", "ddr")},
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Four blocks and their wires."""
        m = Module()
        load, store = place(m, "load", self._load), place(m, "store", self._store)
        buffer, ports = place(m, "buffer", self._buffer), place(m, "ports", self._ports)
        for name, engine in (("load", load), ("store", store)):
            self._engine(m, name, engine)
        connect(m, store.read, buffer.store)
        connect(m, load.tile, buffer.load)
        connect(m, load.burst, ports.read)
        connect(m, ports.words, load.words)
        connect(m, store.burst, ports.write)
        m.d.comb += [
            self.causes.eq(Cat(load.cause, store.cause)),
            ports.row_valid.eq(store.row_valid), ports.row.eq(store.row), store.sent.eq(ports.sent),
            store.writes_pending.eq(ports.writes_pending), self.stream_tile.eq(load.stream_tile),
            self.tile_written.eq(load.tile.valid & load.tile.ready), self.tile_address.eq(load.tile.address),
            self.tile_read.eq(store.read.valid & store.read.granted), self.read_address.eq(store.read.address),
            self.error.eq(ports.error),
        ]  # fmt: skip
        for name in ("constants", "rotary"):
            connect(m, getattr(load, name), flipped(getattr(self, name)))
        self._outside(m, buffer, ports)
        return m

    def _engine(self, m: Module, name: str, engine: Any) -> None:
        for port, member in ENGINE_PORTS.items():
            if port != "cause":
                outer, inner = getattr(self, f"{name}_{port}"), getattr(engine, port)
                m.d.comb += inner.eq(outer) if member.flow == In else outer.eq(inner)

    def _outside(self, m: Module, buffer: Any, ports: Any) -> None:
        """The other users of the global buffer, and of channel 0."""
        for name in (*OTHERS, *WRITES):
            connect(m, flipped(getattr(self, name)), getattr(buffer, name))
        for name in WRITES:
            reserve, has = getattr(buffer, f"reserve_{name}"), getattr(self, f"has_{name}")
            m.d.comb += [reserve.eq(has), has.eq(getattr(self, f"want_{name}") & getattr(buffer, f"{name}_free"))]
        connect(m, flipped(self.fetch), ports.fetch)
        connect(m, ports.fetch_words, flipped(self.fetch_words))
        for outer, inner in zip(self.ddr, ports.ddr, strict=True):
            connect(m, flipped(outer), inner)
