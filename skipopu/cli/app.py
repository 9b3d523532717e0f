"""The commands put together, and the one place that turns errors into a line and an exit status.

0: done. 1: a check failed, the run contradicts itself. 2: bad input, or interrupted; nothing was written.
"""

import os
import sys
from collections.abc import Sequence

import typer

from skipopu.cli.compare import compare
from skipopu.cli.cosim import cosim
from skipopu.cli.doctor import doctor
from skipopu.cli.families import families
from skipopu.cli.kv import kv
from skipopu.cli.report import report
from skipopu.cli.rtl import rtl
from skipopu.cli.sim import sim
from skipopu.cli.trace import trace
from skipopu.cli.verify import verify
from skipopu.spec.error import SpecError

DONE, FAILED_CHECK, BAD_INPUT = 0, 1, 2
INTERRUPTED = 130  # what typer returns for a KeyboardInterrupt that it caught
COMMANDS = (doctor, families, trace, sim, compare, report, kv, rtl, cosim, verify)

app = typer.Typer(
    help="Dynamic-computation LLMs on an FPGA overlay: routing traces, cycle-accurate simulation, reports.",
    add_completion=False,
    rich_markup_mode=None,
)

for function in COMMANDS:
    app.command()(function)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, by default that of the process, and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        command = typer.main.get_command(app)
        status = command.main(given or ["--help"], prog_name="skipopu", standalone_mode=False)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = INTERRUPTED
    except typer.TyperException as error:
        return refuse(_usage(error))
    except SpecError as error:
        return refuse(str(error))
    except (BrokenPipeError, SystemExit):  # typer turns the first into the second, and exits for nothing else
        _drop_output()
        return DONE
    except OSError as error:
        return refuse(f"{error.filename or 'input or output'}: {error.strerror}; give another place")
    except RuntimeError as error:
        if not _is_failed_check(error):
            raise
        return refuse(str(error), FAILED_CHECK)
    return refuse("interrupted; nothing was written") if status == INTERRUPTED else int(status or DONE)


def refuse(message: str, status: int = BAD_INPUT) -> int:
    """Print ``message`` as one line on standard error and return the exit status."""
    sys.stderr.write(f"skipopu: {' '.join(message.split())}\n")
    return status


def _usage(error: typer.TyperException) -> str:
    """What is wrong with the command line, and where to look up what would be valid."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "skipopu"
    valid = f"; commands: {', '.join(c.__name__ for c in COMMANDS)}" if path == "skipopu" else ""
    return f"{error.format_message().rstrip('.')}{valid}; see {path} --help"


def _drop_output() -> None:
    """The reader of our output has gone; what is left in the buffer must not fail again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_failed_check(error: RuntimeError) -> bool:
    from skipopu.results.check import AuditError
    from skipopu.sim.error import SimulationError

    return isinstance(error, AuditError | SimulationError)
