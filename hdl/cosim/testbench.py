"""Testbench: a block in Verilator with the cocotb bench round it, and how long building and running took."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from skipopu.hdl.cosim.bench import Arrays, read_arrays
from skipopu.hdl.cosim.runner import build, run
from skipopu.hdl.verilog import Block, emit


class Testbench:
    """A built block. ``module`` is the bench's; waves go to the directory ``waves`` if there is one.

    ``probes`` are signals of modules below that the bench sees too, (module, signal). CosimError where the
    block does not build or the bench fails.
    """

    __test__ = False  # pytest: not a class of tests

    def __init__(
        self, block: Block, module: str, *, waves: Path | None = None, probes: Sequence[tuple[str, str]] = ()
    ) -> None:
        began = time.perf_counter()
        self._top, self._module, self._waves = block.module, module, waves
        self._program = build(emit(block), self._top, probes=probes, waves=waves is not None)
        self._built = time.perf_counter()
        self.build_seconds = self._built - began

    @property
    def run_seconds(self) -> float:
        """Since the block was built: stimulus, models and comparison count as well as the run."""
        return time.perf_counter() - self._built

    def outputs(self, inputs: Mapping[str, ArrayLike]) -> Arrays:
        """Run the bench on ``inputs`` and return what it leaves."""
        with tempfile.TemporaryDirectory(prefix="skipopu-") as aside:
            place, waves = self._waves or Path(aside), self._waves is not None
            return read_arrays(run(self._program, self._top, self._module, place, inputs=inputs, waves=waves))
