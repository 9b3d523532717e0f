"""Runs that do not end."""

from skipopu.program.status import Condition, status, text


class SimulationError(RuntimeError):
    """A run that failed a check of the machine; exit status 1."""


class DeadlockError(SimulationError):
    """Nothing moved for a long time; carries the blocked instructions and what each waits for."""

    def __init__(self, cycle: int, watchdog: int, blocked: list[str]) -> None:
        self.blocked = blocked
        said, waits = text(status(Condition.DEADLOCK, cycles=watchdog)), "; ".join(blocked)
        super().__init__(f"{said} before cycle {cycle}: {waits}")


class LimitError(SimulationError):
    """The run passed its cycle limit."""

    def __init__(self, limit: int, retired: int, total: int) -> None:
        done = f"{retired} of {total} instructions retired"
        super().__init__(f"max_cycles = {limit} reached with {done}; raise --max-cycles")
