"""Random programs on random overlays: RTL = simulator in every instruction and cycle, = functional machine in bytes.

A case that differs stays as a file beside the test's temporary ones; the message has the command that runs it again.
"""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from overlay_programs import OVERLAYS, overlay_settings, seeds

from skipopu.hdl.cosim.overlay import cosimulate
from skipopu.hdl.cosim.overlay_case import Case
from skipopu.hdl.cosim.overlay_rtl import OverlayRtl
from skipopu.hdl.cosim.overlay_seed import Seed
from skipopu.spec.error import SpecError
from skipopu.spec.overlay import Overlay

PROGRAMS = 20  # an overlay
STALLED = 4  # of them again, under random stalls

pytestmark = pytest.mark.slow
unshrunk = settings(  # to make a failing case smaller would run the RTL a hundred times; the file is the case
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
        path = kept / f"case-{seed.seed}.json"
        seed.write(path)
        stalls = "" if stall_seed is None else f" --stall-seed {stall_seed}"
        lines = "\n".join(map(str, found.differences))
        pytest.fail(f"skipopu cosim overlay --case {path}{stalls}\n{lines}")


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
