"""What a person sees: lines and tables of plain text, a progress bar on a terminal."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

Progress = Callable[[int, int], None]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as text in aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def say(line: str) -> None:
    """Print one line on standard output."""
    sys.stdout.write(line + "\n")


@contextmanager
def progress(label: str) -> Iterator[Progress | None]:
    """Yield a callable (done, all) that draws a bar on standard error; None where that is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
