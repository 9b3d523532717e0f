"""Board: what an FPGA card offers an overlay, from a TOML file."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from skipopu.spec.hbm_switch import HbmSwitch
from skipopu.spec.leaf import Leaf, number
from skipopu.spec.load import build, find, override, read_toml
from skipopu.spec.memory import Memory


@dataclass(frozen=True)
class Resources:
    """Programmable logic of the whole device."""

    lut: int = number("LUT", 1, 10**8)
    ff: int = number("FF", 1, 10**8)
    dsp48e2: int = number("DSP48E2", 1, 10**6)
    bram36: int = number("BRAM36", 1, 10**6)
    uram: int = number("URAM288", 1, 10**6)


@dataclass(frozen=True)
class Sections:
    """The sections of a board file."""

    resources: Resources
    hbm: Memory
    hbm_switch: HbmSwitch
    ddr: Memory


@dataclass(frozen=True)
class Board:
    """A board with its provenance: ``provenance["hbm.timing.tRP"]`` is the leaf behind ``hbm.timing.tRP``."""

    name: str
    resources: Resources
    hbm: Memory
    hbm_switch: HbmSwitch
    ddr: Memory
    provenance: Mapping[str, Leaf] = field(compare=False, repr=False)

    def __post_init__(self) -> None:
        self.hbm.check(f"board {self.name}: hbm")
        self.hbm_switch.check(f"board {self.name}: hbm_switch", self.hbm)
        self.ddr.check(f"board {self.name}: ddr")

    @property
    def local_hbm(self) -> Memory:
        """The HBM as ports see it that each use their own pseudo-channel only.

        With the switch disabled this is ``hbm``. Enabled, it adds its ticks and nothing else: such ports share none
        of its links or outputs.
        """
        switch = self.hbm_switch
        if not switch.enabled:
            return self.hbm
        return self.hbm.delayed(switch.local_request_ticks, switch.local_response_ticks)

    @classmethod
    def load(cls, name: str, settings: tuple[str, ...] = ()) -> "Board":
        """Load a shipped board by name (``u280``) or a TOML path, with ``key=value`` settings.

        Raises SpecError where a key, value, unit or source is missing, unknown or out of bounds.
        """
        path = find("board", name)
        sections, leaves = build(Sections, read_toml(path), path.name)
        if settings:
            sections, leaves = build(Sections, override(leaves, settings), path.name)
        return cls(path.stem, sections.resources, sections.hbm, sections.hbm_switch, sections.ddr, leaves)
