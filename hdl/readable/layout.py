"""Writes a module out again: ports, declarations, statements."""

import textwrap
from collections.abc import Iterator, Sequence

from skipopu.hdl.readable.statements import Line, Signal, Text

COLUMNS = 110


def put_together(module: Text, ports: Sequence[str]) -> str:
    """Write the module: ports in the given order, then declarations, then statements."""
    header = ",\n".join(f"  {_declared(name, module.signals[name])}" for name in ports)
    lines = [f"module {module.name}(\n{header}\n);", *_declarations(module)]
    for before, after in zip([None, *module.statements], module.statements, strict=False):
        lines += [""] * (before is None or before.kind != "assign" or after.kind != "assign")
        lines += _case_items([wrapped for line in after.lines for wrapped in _wrapped(line)])
    return "\n".join([*lines, "endmodule", ""])


def _declarations(module: Text) -> Iterator[str]:
    inner = {name: signal for name, signal in module.signals.items() if not signal.direction}
    for name, signal in inner.items():
        yield from signal.attributes
        yield f"  {_declared(name, signal)}{f' = {signal.initial}' if signal.initial else ''};"
    yield from module.memories
    for name, signal in module.signals.items():
        if signal.direction and signal.initial:
            yield f"  initial {name} = {signal.initial};"


def _wrapped(line: Line) -> list[str]:
    text = str(line)
    if line.value is None or len(text) <= COLUMNS:
        return [text]
    deeper = line.indent + "    "
    return textwrap.wrap(text, COLUMNS, subsequent_indent=deeper, break_long_words=False, break_on_hyphens=False)


def _case_items(lines: Sequence[str]) -> Iterator[str]:
    """Put a case label and the one assignment it selects on one line."""
    waiting = ""
    for line in lines:
        if (line.endswith(":") and "'" in line) or line.strip() == "default:":
            waiting = line
        elif waiting:
            single = line.endswith(";")
            yield from ([f"{waiting} {line.strip().removeprefix('/* empty */')}"] if single else [waiting, line])
            waiting = ""
        else:
            yield line


def _declared(name: str, signal: Signal) -> str:
    kind = f"{signal.direction} reg" if signal.direction and signal.kind == "reg" else signal.direction or signal.kind
    bounds = f"[{signal.width - 1}:0] " if signal.width > 1 else ""
    return f"{kind} {bounds}{name}" + " " * name.startswith("\\")
