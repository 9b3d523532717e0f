"""AXI as the memories of the board speak it, seen from the master: HBM (PG276, AXI3) and DDR4 (PG150).

Names are those of the standard in lower case: the IP core's ``AXI_07_ARADDR`` is ``hbm__7__araddr`` of `Dma`. Left
out are what the HBM's core does not have (WID, lock, cache, protection) and its optional parity. Where nothing else is
said a port is one of HBM; those of DDR4 are as wide as its beat, and their bursts are no longer.
"""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from skipopu.spec.overlay import AXI3_BURST_BEATS, DDR_BEAT_BYTES, HBM_BEAT_BYTES

DATA_BITS = HBM_BEAT_BYTES * 8
ID_BITS = 6
LENGTH_BITS = (AXI3_BURST_BEATS - 1).bit_length()  # beats of a burst less one
PORT_ADDRESS_BITS = 28  # a pseudo-channel has 256 MiB, its port's number stands above them
LEAST_ADDRESS_BITS = 33  # of two stacks with 4 GB each
SIZE = (HBM_BEAT_BYTES - 1).bit_length()  # AxSIZE of a full beat
DDR_SIZE = (DDR_BEAT_BYTES - 1).bit_length()
INCREMENT = 1  # AxBURST: the address grows from beat to beat
OKAY = 0  # RRESP, BRESP


def address_bits(ports: int) -> int:
    """Width of the addresses of a memory with ``ports`` ports."""
    return max(LEAST_ADDRESS_BITS, PORT_ADDRESS_BITS + (ports - 1).bit_length())


def read_channels(address: int = PORT_ADDRESS_BITS, beat_bytes: int = HBM_BEAT_BYTES) -> wiring.Signature:
    """AR and R."""
    return wiring.Signature({
        **_address_channel("ar", address),
        "rid": In(ID_BITS), "rdata": In(beat_bytes * 8), "rresp": In(2), "rlast": In(1),
        "rvalid": In(1), "rready": Out(1),
    })  # fmt: skip


def write_channels(address: int = PORT_ADDRESS_BITS, beat_bytes: int = HBM_BEAT_BYTES) -> wiring.Signature:
    """AW, W and B."""
    return wiring.Signature({
        **_address_channel("aw", address),
        "wdata": Out(beat_bytes * 8), "wstrb": Out(beat_bytes), "wlast": Out(1), "wvalid": Out(1), "wready": In(1),
        "bid": In(ID_BITS), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
    })  # fmt: skip


def port_channels(address: int = PORT_ADDRESS_BITS, beat_bytes: int = HBM_BEAT_BYTES) -> wiring.Signature:
    """All five."""
    return wiring.Signature({
        **read_channels(address, beat_bytes).members, **write_channels(address, beat_bytes).members
    })  # fmt: skip


def _address_channel(prefix: str, address: int) -> dict[str, wiring.Member]:
    widths = {"addr": address, "burst": 2, "id": ID_BITS, "len": LENGTH_BITS, "size": 3, "valid": 1}
    return {**{prefix + name: Out(width) for name, width in widths.items()}, prefix + "ready": In(1)}


def connect_channels(m: Module, channels: wiring.Signature, outer: Any, inner: Any, **replaced: Any) -> None:
    """Connect the ``channels`` of a block to those of a part of it; ``replaced`` drives the outer one instead."""
    for name, member in channels.members.items():
        source, target = getattr(inner, name), getattr(outer, name)
        if member.flow == In:
            source, target = target, source
        m.d.comb += target.eq(replaced.get(name, source))
