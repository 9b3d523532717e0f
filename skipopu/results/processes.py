"""Jobs that do not depend on one another, two at a time, each in a process of its own."""

import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import active_children, get_context
from typing import TypeVar

PROCESSES = 2
Job = TypeVar("Job")
Found = TypeVar("Found")


def in_processes(
    run: Callable[[Job], Found], jobs: Sequence[Job], progress: Callable[[int, int], None] | None = None
) -> list[Found]:
    """Return what ``run``, a function of a module, gives for each of ``jobs``, in their order.

    ``progress`` is called with (jobs done, jobs). What a job raises is raised here and ends the others.
    """
    spawn = get_context("spawn")
    with ProcessPoolExecutor(min(PROCESSES, len(jobs)), spawn, _end_silently) as pool:
        futures = [pool.submit(run, job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                if progress is not None:
                    progress(done, len(jobs))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise
        return [future.result() for future in futures]


def _end_silently() -> None:
    """An interrupt is told once, by the command's own process."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
