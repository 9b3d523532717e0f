"""Makes the modules beside the tests importable, here and in the simulator that cocotb starts."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from skipopu.hdl import verilog


@pytest.fixture
def converted_anew() -> Iterator[None]:
    """Blocks are converted once a process: not across a planted fault."""
    _forget()
    yield
    _forget()


def _forget() -> None:
    verilog._converted.cache_clear()
    verilog._written.clear()
