"""The DDR4 of the overlay's bench: contents as beats of its channels, and the bursts that write a region, in order."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skipopu.hdl.cosim.axi_memory_state import W
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_memory_state import EVENT, DdrMemory, ddr_stall_names, new_ddr_memory
from skipopu.spec.board import Board
from skipopu.spec.overlay import DDR_BEAT_BYTES, Clock, Overlay

DDR_CHANNEL, KIND, ADDRESS, BEATS = (EVENT.index(name) for name in ("channel", "kind", "address", "beats"))


def ddr_memory(a: Arrays) -> DdrMemory:
    """Return the memory of what `overlay_rtl` gives the bench; of the overlay it asks for its clock only."""
    clock = Clock(core_mhz=float(a["core_mhz"]), hbm_ratio=int(a["ratio"]))
    board, overlay = Board.load(str(a["board"])), replace(Overlay.load("tiny"), clock=clock)
    stalls = {name: a[f"stall_{name}"] for name in ddr_stall_names()}
    return new_ddr_memory(board, overlay, a["ddr_contents"], int(a["bursts"]), stalls)


@dataclass
class RegionWrites:
    """Beats that are written to a region, in the order in which their bursts end."""

    memory: DdrMemory
    first: int  # byte of every channel
    end: int
    seen: int = 0  # events of the memory
    places: list[tuple[int, int]] = field(default_factory=list)  # channel, byte address
    data: list[NDArray[np.uint64]] = field(default_factory=list)

    def look(self) -> None:
        """See what the memory has logged since the last time."""
        count = int(self.memory.total[0].events)
        while self.seen < count:
            event = self.memory.events[self.seen % len(self.memory.events)]
            self.seen += 1
            if event[KIND] == W and self.first <= event[ADDRESS] < self.end:
                self._keep(int(event[DDR_CHANNEL]), int(event[ADDRESS]), int(event[BEATS]))

    def _keep(self, channel: int, address: int, beats: int) -> None:
        first = address // DDR_BEAT_BYTES
        self.places += [(channel, address + n * DDR_BEAT_BYTES) for n in range(beats)]
        self.data += list(self.memory.contents[channel, first : first + beats].copy())

    def arrays(self) -> dict[str, Any]:
        """For the outputs of the bench."""
        words = self.memory.contents.shape[-1]
        return {
            "logit_places": np.array(self.places, np.int64).reshape(-1, 2),
            "logit_beats": np.array(self.data, np.uint64).reshape(-1, words),
        }  # fmt: skip
