"""One name for the same bits: names the design has, and one temporary for one definition."""

from skipopu.hdl.readable.expression import Expression, rebuilt
from skipopu.hdl.readable.statements import Text, lines_of, temporary


def use_names(module: Text) -> None:
    """Where a named wire is a slice or a concatenation, use its name wherever the same bits are spelled out.

    A port of an instance (``pe__weight``) names the bits where the instance is connected, not in other logic; a field
    of a structure (``a__exponent``) is at home wherever the structure is.
    """
    fields: dict[Expression, Expression] = {}
    ports: dict[Expression, Expression] = {}
    for line in (each.lines[0] for each in module.statements if each.kind == "assign"):
        if line.target and line.target.op == "name" and line.value and line.value.op in ("slice", "concat"):
            owner = line.value.args[0].text
            at_home = "__" not in line.target.text or line.target.text.startswith(f"{owner}__")
            if not temporary(line.target.text) and line.target.width == line.value.width:
                (fields if at_home else ports).setdefault(line.value, line.target)
    for line in lines_of(module):
        if line.value:
            names = ports | fields if line.head.startswith(".") else fields
            line.value = _named(line.value, names, line.target)


def _named(value: Expression, names: dict[Expression, Expression], target: Expression | None) -> Expression:
    name = names.get(value)
    if name is not None:
        return value if name == target else name
    return rebuilt(value, tuple(_named(arg, names, target) for arg in value.args)) if value.args else value


def share(module: Text) -> None:
    """Where two temporaries have one definition, use the first; assignments are sorted already."""
    first: dict[tuple[int, Expression], Expression] = {}
    same: dict[Expression, Expression] = {}
    for statement in module.statements:
        for line in statement.lines:
            line.value = line.value and _named(line.value, same, line.target)
        target, value = statement.lines[0].target, statement.lines[0].value
        if statement.kind == "assign" and target and value and temporary(target.text):
            kept = first.setdefault((target.width, value), target)
            same |= {} if kept is target else {target: kept}
