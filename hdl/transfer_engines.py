"""Transfer engines: load, store and the DDR4 ports, connected."""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import In, Out, connect, flipped

from skipopu.hdl.ddr_ports import DdrPorts
from skipopu.hdl.engine import ENGINE_PORTS
from skipopu.hdl.load import Load
from skipopu.hdl.store import Store
from skipopu.hdl.verilog import Block, place
from skipopu.spec.overlay import DDR_CHANNELS, Overlay

LOAD_PORTS = ("tile", "stream_tile", "constants", "rotary")
PORTS_PORTS = ("fetch", "fetch_words", "error", "ddr")


class TransferEngines(Block):
    """What moves between DDR4 and the memories on chip.

    Parameters
    ----------
    overlay : dma.ddr_*, pe_array.dot_length, global_buffer, constants, npe.rotary_bytes

    Ports
    -----
    load_*, store_* : the queue's side of either engine, see `ENGINE_PORTS`
    tile, stream_tile, constants, rotary : out, see `Load` · read : out, see `Store`
    fetch, fetch_words : of the sequencer · error : out · ddr : a channel each, AXI: see `DdrPorts`
    moves : out, a beat or a burst moves

    Timing
    ------
    That of its parts.
    """

    def __init__(self, *, overlay: Overlay) -> None:
        self._load, self._store, self._ports = (part(overlay=overlay) for part in (Load, Store, DdrPorts))
        load, store, ports = (b.signature.members for b in (self._load, self._store, self._ports))
        super().__init__({
            **{f"{engine}_{name}": member for engine in ("load", "store") for name, member in ENGINE_PORTS.items()},
            **{name: load[name] for name in LOAD_PORTS}, "read": store["read"],
            **{name: ports[name] for name in PORTS_PORTS}, "moves": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: Any) -> Module:
        """Three parts and their wires."""
        m = Module()
        load, store, ports = place(m, "load", self._load), place(m, "store", self._store), place(m, "ddr", self._ports)
        for engine, part in (("load", load), ("store", store)):
            self._outside(m, part, {name: f"{engine}_{name}" for name in ENGINE_PORTS})
        self._outside(m, load, {name: name for name in LOAD_PORTS})
        self._outside(m, store, {"read": "read"})
        self._outside(m, ports, {name: name for name in PORTS_PORTS if name != "ddr"})
        for channel in range(DDR_CHANNELS):
            connect(m, ports.ddr[channel], flipped(self.ddr[channel]))
        connect(m, load.burst, ports.read)
        connect(m, ports.words, load.words)
        connect(m, store.burst, ports.write)
        m.d.comb += [
            ports.row_valid.eq(store.row_valid), ports.row.eq(store.row), store.sent.eq(ports.sent),
            store.writes_pending.eq(ports.writes_pending),
            self.moves.eq((ports.words.valid & ports.words.ready) | ports.sent.any() | self.fetch_words.valid),
        ]  # fmt: skip
        return m

    def _outside(self, m: Module, part: Any, names: dict[str, str]) -> None:
        """Wire a part's ports to the engines' own: of the part, here."""
        for its_name, name in names.items():
            mine, its, member = getattr(self, name), getattr(part, its_name), part.signature.members[its_name]
            if member.is_signature:
                connect(m, *((its, flipped(mine)) if member.flow == Out else (flipped(mine), its)))
            else:
                m.d.comb += its.eq(mine) if member.flow == In else mine.eq(its)
