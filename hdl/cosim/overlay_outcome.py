"""What the RTL left behind, taken apart: times, registers, both memories, decisions; and rules that were broken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_contents import PORT_SHIFT
from skipopu.hdl.cosim.axi_memory_rules import RULES
from skipopu.hdl.cosim.axi_memory_state import EVENT
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_memory_rules import DDR_RULES
from skipopu.hdl.cosim.ddr_memory_state import EVENT as DDR_EVENT
from skipopu.hdl.cosim.overlay_causes import Causes, ledger
from skipopu.hdl.cosim.overlay_contents import written_dense, written_over
from skipopu.hdl.cosim.overlay_difference import OverlayDifference
from skipopu.hdl.cosim.overlay_logits import Bits, logits_by_step
from skipopu.hdl.cosim.overlay_registers import Registers
from skipopu.hdl.cosim.overlay_registers import found as read_registers
from skipopu.hdl.cosim.overlay_retired import read_stream
from skipopu.hdl.cosim.overlay_routing import read_routing
from skipopu.hdl.cosim.overlay_traffic import moved_bytes, together
from skipopu.program.image import Image
from skipopu.program.program import Program
from skipopu.program.status import Condition, text
from skipopu.spec.ledger import Traffic
from skipopu.spec.overlay import DDR_BEAT_BYTES, HBM_BEAT_BYTES

Ints = NDArray[np.int64]
# by AXI ID
HBM_READS, DDR_READS = (Traffic.WEIGHTS, Traffic.KV_READ), (Traffic.ACTIVATIONS_READ, Traffic.INSTRUCTIONS)


@dataclass(frozen=True)
class RtlOutcome:
    """A finished run of the RTL."""

    causes: Causes
    ledger: Ints  # [Block, Cause], of the causes
    retired: Ints  # [entry, overlay_retired.COLUMNS]
    registers: Registers
    image: Image  # both memories at the end
    logits: list[Bits]  # of every step
    routing: Ints  # [decision, overlay_routing.COLUMNS]
    traffic: Ints  # [Traffic] bytes, as `overlay_traffic.together` counts them


def outcome_of(program: Program, image: Image, found: Arrays) -> RtlOutcome:
    """Take the arrays of the bench apart; ``image`` is what the memories held before."""
    final = image.copy()
    written_over(final.hbm, (found["hbm_keys"], found["hbm_beats"]), HBM_BEAT_BYTES, PORT_SHIFT)
    written_dense(final.ddr.channels, found["ddr_contents"])
    return RtlOutcome(
        causes=found["causes"], ledger=ledger(found["causes"]), retired=read_stream(found["retired"]),
        registers=read_registers(found["registers"].astype(np.int64).tolist()), image=final,
        logits=logits_by_step(found["logit_places"], found["logit_beats"], program.context),
        routing=read_routing(found["routed"]), traffic=_traffic(found),
    )  # fmt: skip


def _traffic(found: Arrays) -> Ints:
    hbm = moved_bytes(found["hbm_events"], EVENT, "channel", HBM_BEAT_BYTES, HBM_READS, Traffic.KV_WRITE)
    write = Traffic.ACTIVATIONS_WRITE
    return together(hbm + moved_bytes(found["ddr_events"], DDR_EVENT, "kind", DDR_BEAT_BYTES, DDR_READS, write))


def broken_rules(found: Arrays) -> list[OverlayDifference | None]:
    """Rules of AXI that the overlay broke, errors that it reports, requests of the host that it refused."""
    ratio = int(found["ratio"])
    hbm = _rule("HBM port", found["hbm_broken"], RULES, ratio)
    return [
        hbm, _rule("DDR4 channel", found["ddr_broken"], DDR_RULES, 1), *_constants(found), _status(found),
        _refused(found),
    ]  # fmt: skip


def _rule(port: str, broken: Ints, rules: tuple[str, ...], ratio: int) -> OverlayDifference | None:
    rule, number, when = (int(n) for n in broken)
    if rule == 0:
        return None
    return OverlayDifference("AXI", when // ratio, f"{port} {number}, {rules[rule]}", "kept", "broken")


def _constants(found: Arrays) -> list[OverlayDifference | None]:
    what = "AxBURST, AxSIZE, WSTRB, RREADY, BREADY"
    return [
        None if found[f"{name}_constants"] else OverlayDifference("AXI", None, f"{name} ports, {what}", "1", "0")
        for name in ("hbm", "ddr")
    ]


def _status(found: Arrays) -> OverlayDifference | None:
    if not len(found["registers"]):
        return OverlayDifference("register", 0, "state", "running", "never began")
    status = read_registers(found["registers"].astype(np.int64).tolist()).status
    if status.code == Condition.OK:
        return None
    return OverlayDifference("status", None, "registers", "no error", text(status))


def _refused(found: Arrays) -> OverlayDifference | None:
    count = int(found["refused"])
    return OverlayDifference("AXI", None, "registers, requests refused", "0", str(count)) if count else None
