"""What `skipopu rtl` can write: the overlay and the blocks of it that stand alone."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

if TYPE_CHECKING:
    from skipopu.hdl.verilog import Block

OVERLAY, PE_ARRAY, NPE, MEMORY_SYSTEM = "overlay", "pe_array", "npe", "memory_system"
BLOCKS = (OVERLAY, PE_ARRAY, NPE, MEMORY_SYSTEM, "global_buffer", "control")
WITH_SLICES = (OVERLAY, PE_ARRAY)


def block_of(name: str, overlay: Overlay, *, primitive: bool) -> "Block":
    """Return the block called ``name``; SpecError where there is none, or where it has no DSP slices to choose."""
    if name not in BLOCKS:
        raise SpecError(f"rtl {name}: no such block; expected one of: {', '.join(BLOCKS)}")
    if name in WITH_SLICES:
        return _with_slices(name, overlay, primitive)
    if primitive:
        raise SpecError(f"rtl {name}: --primitive is for DSP slices, of which it has none; leave it out")
    return _without_slices(name, overlay)


def _with_slices(name: str, overlay: Overlay, primitive: bool) -> "Block":
    from skipopu.hdl.overlay import Overlay as Processor
    from skipopu.hdl.pe_array import PeArray

    if name == OVERLAY:
        return Processor(overlay=overlay, primitive=primitive)
    return PeArray(overlay=overlay, primitive=primitive)


def _without_slices(name: str, overlay: Overlay) -> "Block":
    from skipopu.hdl.control import Control
    from skipopu.hdl.global_buffer import GlobalBuffer
    from skipopu.hdl.memory_system import MemorySystem
    from skipopu.hdl.npe.npe import Npe

    makers: dict[str, Callable[..., Block]] = {
        NPE: Npe, MEMORY_SYSTEM: MemorySystem, "global_buffer": GlobalBuffer, "control": Control,
    }  # fmt: skip
    return makers[name](overlay=overlay)
