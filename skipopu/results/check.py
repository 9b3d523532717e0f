"""One audited statement, and the error of a run that breaks one."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A statement about a finished run; ``detail`` holds both numbers, whether it passed or not."""

    name: str
    passed: bool
    detail: str


class AuditError(RuntimeError):
    """A run whose numbers contradict one another; the message names the first failing check."""


def equal(name: str, left: str, a: int, right: str, b: int) -> Check:
    """State that ``a`` (described by ``left``) equals ``b`` (described by ``right``)."""
    return Check(name, a == b, f"{left} {a:,} {'=' if a == b else '≠'} {right} {b:,}")


def at_most(name: str, left: str, a: float, right: str, b: float) -> Check:
    """State that ``a`` (described by ``left``) does not exceed ``b`` (described by ``right``)."""
    return Check(name, a <= b, f"{left} {a:,} {'≤' if a <= b else '>'} {right} {b:,}")


def enforce(checks: Sequence[Check]) -> None:
    """Raise AuditError when a check failed; the message counts the others that failed too."""
    failed = [check for check in checks if not check.passed]
    if failed:
        others = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise AuditError(
            f"audit: {failed[0].name}: {failed[0].detail}{others}; the simulated numbers are not usable"
        )
