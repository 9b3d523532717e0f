"""Build Verilog with Verilator, run a cocotb bench on it, and bring back what the bench found.

A program is built once for its sources: it lies under the cache of skipopu, in a directory named after a hash of all
that goes into it. The Verilator is the one of the Python package; nothing of the environment of this process changes.
"""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import cocotb_tools.config
import cocotb_tools.runner
from numpy.typing import ArrayLike

from skipopu.hdl.cosim.bench import INPUTS, OUTPUTS, write_arrays
from skipopu.hdl.cosim.verilator import Verilator

# widths of generated Verilog give warnings; -O3 builds three times as long and runs no faster; a block is one file, for
# several would each need their headers compiled first, and only the overlay is worth compiling in parallel
FLAGS = ("-Wno-fatal", "-O3", "-CFLAGS", "-O1", "--output-split", "200000", "--output-split-cfuncs", "20000")
PORT = re.compile(r"^\s*(?:input|output)\b(?:\s+(?:reg|wire|signed)\b)*\s*(?:\[[^]]*\]\s*)?(\w+)", re.MULTILINE)
WAVES = "--trace-fst"
CONTROL = "`verilator_config\n"
PUBLIC = 'public_flat_rw -module "{}" -var "{}"\n'
MENTION = re.compile(r"%Error|\berror:|Error\b|Traceback|FAIL|No such file|not found")
SHOWN = 40  # lines of a log in an error message


class CosimError(RuntimeError):
    """Verilog that does not build, or a bench that failed; the message shows the lines of the log that say why."""


def build(
    sources: Mapping[str, str],
    top: str,
    directory: Path | None = None,
    *,
    probes: Sequence[tuple[str, str]] = (),
    waves: bool = False,
) -> Path:
    """Return the directory of the program for module ``top`` of ``sources`` (module name → Verilog text).

    It lies in ``directory`` (default: the cache of skipopu) and is reused where it is there already. A bench sees the
    ports of ``top`` and, of the modules below, the signals in ``probes`` (module, signal). With ``waves`` a run can
    record all signals. CosimError where it does not build.
    """
    ports = tuple((top, name) for name in PORT.findall(sources[top]))
    files = {f"{name}.v": text for name, text in sources.items()}
    files["visible.vlt"] = CONTROL + "".join(PUBLIC.format(*each) for each in (*ports, *probes))
    flags = (*FLAGS, *((WAVES,) if waves else ()))
    place = (directory or cache_directory()) / f"{top}-{_hash(files, flags)}"
    with _locked(place):
        if not place.exists():
            _build(files, top, place, flags)
    return place


def run(
    program: Path,
    top: str,
    test_module: str,
    work: Path,
    *,
    inputs: Mapping[str, ArrayLike] | None = None,
    testcase: str | None = None,
    waves: bool = False,
) -> Path:
    """Run the cocotb tests of ``test_module`` on the result of :func:`build`; return the file of their outputs.

    The bench reads ``inputs`` through :func:`skipopu.hdl.cosim.bench.inputs` and answers through ``write_outputs``.
    Log, waves (``dump.fst``) and results lie in ``work``. CosimError where a test fails or nothing was written.
    """
    work.mkdir(parents=True, exist_ok=True)
    inputs_file, outputs, log = work / "inputs.npz", work / "outputs.npz", work / "run.log"
    outputs.unlink(missing_ok=True)
    write_arrays(inputs_file, dict(inputs or {}))
    results = work.absolute() / "results.xml"
    simulator = Verilator(**{INPUTS: str(inputs_file.absolute()), OUTPUTS: str(outputs.absolute())})
    with _explained(f"{test_module} on {top}", log):
        simulator.test(
            test_module,
            top,
            hdl_toplevel_lang="verilog",
            build_dir=program,
            test_dir=work,
            results_xml=str(results),
            testcase=testcase,
            waves=waves,
            log_file=log.absolute(),
        )
        _check(results, outputs)
    return outputs


def cache_directory() -> Path:
    """Return where built programs are kept: under $XDG_CACHE_HOME/skipopu, else ~/.cache/skipopu."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "skipopu" / "verilator"


def _hash(files: Mapping[str, str], flags: tuple[str, ...]) -> str:
    """Name a program after everything that goes into it; the libraries bind it to this Python environment."""
    tools = (version("verilator"), version("cocotb"), str(cocotb_tools.config.libs_dir))
    digest = hashlib.sha256()
    for part in (*flags, *tools, *(text for pair in sorted(files.items()) for text in pair)):
        digest.update(part.encode() + b"\0")
    return digest.hexdigest()[:16]


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    """Let one process build while others that want the same program wait for it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(files: Mapping[str, str], top: str, place: Path, flags: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as aside:
        kept, made = Path(aside) / "kept", Path(aside) / "made"
        kept.mkdir()
        for name, text in files.items():
            (kept / name).write_text(text, encoding="utf-8")
        log = kept / "build.log"
        sources = [kept / name for name in files]
        with _explained(f"building {top}", log):
            Verilator().build(
                sources=sources,
                hdl_toplevel=top,
                build_args=flags,
                build_dir=made,
                waves=WAVES in flags,
                log_file=log,
            )
        (made / top).rename(kept / top)
        kept.rename(place)


def _check(results: Path, outputs: Path) -> None:
    tests, failed = cocotb_tools.runner.get_results(results)
    if failed or not tests:
        raise RuntimeError(f"{failed} of {tests} tests failed")
    if not outputs.exists():
        raise RuntimeError("the bench wrote no outputs")


@contextmanager
def _explained(what: str, log: Path) -> Iterator[None]:
    """Turn a failure of cocotb's runner, which may try to end the process, into CosimError with the log."""
    try:
        yield
    except (SystemExit, RuntimeError) as error:
        raise CosimError(f"{what}: {error}\n{_relevant(log)}") from None


def _relevant(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    first = next((number for number, line in enumerate(lines) if MENTION.search(line)), len(lines) - SHOWN)
    return "\n".join(lines[max(first, 0) :][:SHOWN])
