"""The overlay's RTL: built once, run on any program; what a run leaves is a table of arrays."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.lib.wiring import In, Out

from skipopu.hdl.cosim.axi_memory_contents import PORT_SHIFT
from skipopu.hdl.cosim.axi_memory_state import stall_names
from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.ddr_memory_state import ddr_stall_names
from skipopu.hdl.cosim.overlay_contents import beats_of, dense
from skipopu.hdl.cosim.overlay_probes import PROBES
from skipopu.hdl.cosim.overlay_registers import reads, writes
from skipopu.hdl.cosim.shell import Shell, flag_names
from skipopu.hdl.cosim.stalls import Pattern, patterns
from skipopu.hdl.cosim.testbench import Testbench
from skipopu.hdl.overlay import Overlay as Hardware
from skipopu.hdl.verilog import Block
from skipopu.program.context import Context
from skipopu.program.image import Image
from skipopu.program.isa import INSTRUCTION_BYTES
from skipopu.spec.board import Board
from skipopu.spec.overlay import BOUNDARY, DDR_BEAT_BYTES, DDR_CHANNELS, FP16_BYTES, HBM_BEAT_BYTES, Overlay

BENCH = "skipopu.hdl.cosim.overlay_bench"
NEVER = np.ones(1, np.uint8)  # a stream that does not stall


@dataclass(frozen=True)
class Work:
    """A run: how long the program is, what it may write and ask for, how long it may be silent."""

    instructions: int
    hbm_beats: int  # written to one port
    bursts: int  # of both memories
    patience: int  # cycles without a retirement


class OverlayRtl:
    """The hardware of an overlay; ``hardware`` replaces it. Waves go to the directory ``waves``."""

    def __init__(self, overlay: Overlay, *, hardware: Block | None = None, waves: Path | None = None) -> None:
        self.overlay, self._block = overlay, hardware or Hardware(overlay=overlay)
        self._testbench = Testbench(Shell(block=self._block), BENCH, waves=waves, probes=PROBES)

    @property
    def seconds(self) -> tuple[float, float]:
        """To build, and since then."""
        return self._testbench.build_seconds, self._testbench.run_seconds

    def run(self, image: Image, c: Context, board: Board, work: Work, stall_seed: int | None = None) -> Arrays:
        """Run the program that stands in ``image``; random stalls with a ``stall_seed``."""
        stalls = self._stalls(stall_seed)
        keys, beats = beats_of(image.hbm, HBM_BEAT_BYTES, PORT_SHIFT)
        given: dict[str, Any] = {
            "ratio": self.overlay.clock.hbm_ratio, "ports": self.overlay.dma.hbm_ports, "board": board.name,
            "flags_in": flag_names(self._block, In), "flags_out": flag_names(self._block, Out),
            "core_mhz": self.overlay.clock.core_mhz,
            "beats": work.hbm_beats, "bursts": work.bursts, "patience": work.patience,
            "hbm_keys": keys, "hbm_beats": beats,
            "ddr_contents": dense(image.ddr.channels, _beats(c, work.instructions), DDR_BEAT_BYTES),
            "writes": writes(self.overlay, image.settings, c.memory.ddr["program"], work.instructions),
            "reads": reads(self.overlay), "logits": _logits(c),
            **{f"stall_{name}": pattern for name, pattern in stalls.items()},
        }  # fmt: skip
        return self._testbench.outputs(given)

    def _stalls(self, seed: int | None) -> dict[str, Pattern]:
        names = (*stall_names(self.overlay.dma.hbm_ports), *ddr_stall_names())
        return dict.fromkeys(names, NEVER) if seed is None else patterns(np.random.default_rng(seed), names)


def _beats(c: Context, instructions: int) -> int:
    """Beats of a DDR4 channel, up to the end of the program: it comes last."""
    end = c.memory.ddr["program"] // DDR_CHANNELS + instructions * INSTRUCTION_BYTES
    return -(-end // BOUNDARY) * BOUNDARY // DDR_BEAT_BYTES


def _logits(c: Context) -> tuple[int, int]:
    """Bytes of a channel where the logits lie: first, and behind the last."""
    size = c.shape.dimensions.vocabulary * FP16_BYTES
    first, word = c.memory.ddr["logits"] // DDR_CHANNELS, DDR_BEAT_BYTES * DDR_CHANNELS
    return first, first - (-size // word) * DDR_BEAT_BYTES
