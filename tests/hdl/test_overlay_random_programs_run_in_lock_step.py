"""Random programs on random overlays: RTL = simulator in every instruction and cycle, = functional machine in bytes.

A case that differs is made smaller while it still does, and stays as a file beside the test's temporary ones; the
message has the command that runs it again.
"""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from overlay_programs import OVERLAYS, overlay_settings, seeds

from skipopu.hdl.cosim.bench import Arrays
from skipopu.hdl.cosim.overlay import cosimulate
from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl, Work
from skipopu.hdl.cosim.overlay_seed import Seed, read_seed
from skipopu.hdl.cosim.overlay_shrink import shrink
from skipopu.program.context import Context
from skipopu.program.image import Image
from skipopu.spec.board import Board
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

PROGRAMS = 20  # an overlay
STALLED = 4  # of them again, under random stalls

pytestmark = pytest.mark.slow
unshrunk = settings(  # hypothesis would run the RTL hundreds of times to make a case smaller; `shrink` takes 40
    phases=(Phase.generate,), suppress_health_check=list(HealthCheck)
)


def compiled(seed: Seed) -> Case:
    """The case; what the compiler refuses is not one."""
    try:
        return seed.case()
    except SpecError:
        assume(False)
        raise


def agree(seed: Seed, rtl: OverlayRtl, kept: Path, stall_seed: int | None = None) -> None:
    found = cosimulate(compiled(seed), rtl=rtl, stall_seed=stall_seed)
    if found.differences:
        small = shrink(seed, lambda each: differs(each, rtl, stall_seed))
        path = kept / f"case-{small.seed}.json"
        small.write(path)
        stalls = "" if stall_seed is None else f" --stall-seed {stall_seed}"
        lines = "\n".join(map(str, found.differences))
        pytest.fail(f"skipopu cosim overlay --case {path}{stalls}\nof the case before it shrank:\n{lines}")


def differs(seed: Seed, rtl: OverlayRtl, stall_seed: int | None) -> bool:
    try:
        return bool(cosimulate(seed.case(), rtl=rtl, stall_seed=stall_seed).differences)
    except SpecError:
        return False


@pytest.mark.parametrize("number", range(OVERLAYS))
def test_random_programs(number: int, tmp_path: Path) -> None:
    chosen = overlay_settings(number)
    rtl = OverlayRtl(Overlay.load("tiny", chosen))

    @settings(unshrunk, max_examples=PROGRAMS)
    @given(seeds(chosen))
    def in_lock_step(seed: Seed) -> None:
        agree(seed, rtl, tmp_path)

    @settings(unshrunk, max_examples=STALLED)
    @given(seeds(chosen))
    def under_stalls(seed: Seed) -> None:
        agree(seed, rtl, tmp_path, stall_seed=seed.seed)

    in_lock_step()
    under_stalls()


class AnotherWeight(OverlayRtl):
    """Models of two layers or more find another weight in memory than the one that everybody else knows."""

    def run(self, image: Image, c: Context, board: Board, work: Work, stall_seed: int | None = None) -> Arrays:
        other, first = image.copy(), c.memory.matrices[-1, "lm_head"].offset
        if c.trace.layers > 1:
            other.hbm[0].write(first, other.hbm[0].read(first, 1) ^ np.uint8(1))
        return super().run(other, c, board, work, stall_seed)


def test_a_difference_shrinks_and_is_kept(tmp_path: Path) -> None:
    seed = Seed(seed=1, layers=2, prompt=7, decode=2)
    with pytest.raises(pytest.fail.Exception, match=r"cosim overlay --case \S+json"):
        agree(seed, AnotherWeight(Overlay.load("tiny")), tmp_path)
    small = read_seed(next(tmp_path.glob("*.json")))
    assert (small.layers, small.decode, small.prompt) == (2, 0, 1)
    assert cosimulate(small.case(), rtl=OverlayRtl(Overlay.load("tiny"))).differences == ()
