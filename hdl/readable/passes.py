"""What makes the text readable; each pass keeps every value."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from skipopu.hdl.readable.expression import Expression
from skipopu.hdl.readable.folding import folded
from skipopu.hdl.readable.statements import Line, Statement, Text, lines_of, temporary

LINE = 100  # columns that folding may fill
INITIAL = re.compile(r"    (?P<memory>\w+)\[\d+\] = (?P<value>\S+);$")


def clock_registers(module: Text) -> None:
    """Put the process that computes a register's next value into the register's own clocked block."""
    used = _uses(module)
    processes = {next(iter(s.targets())): s for s in module.statements if s.kind == "process" and len(s.targets()) == 1}
    for flop in [s for s in module.statements if s.kind == "flop"]:
        register, value = flop.lines[1].target, flop.lines[1].value
        if register is None or value is None or value.op != "name" or not temporary(value.text):
            continue
        process = processes.get(value.text)
        if process and used[value.text] == 1:
            process.kind = "clocked"
            process.lines = _clocked(flop.lines[0].head, process.lines, register)
            module.statements.remove(flop)
            del module.signals[value.text]


def _clocked(header: str, lines: list[Line], register: Expression) -> list[Line]:
    body = [
        replace(each, target=_renamed(each.target, register), op="<=") if each.target else each for each in lines[1:]
    ]
    if str(body[0].target) == str(body[0].value):
        body = body[1:]  # holds its value unless told otherwise, as any register
    return [Line(f"{header} begin"), *body]


def _renamed(target: Expression, register: Expression) -> Expression:
    if target.op == "name":
        return register
    return replace(target, args=tuple(_renamed(arg, register) for arg in target.args))


def fold(module: Text) -> None:
    """Put the definition of a temporary that is used once in the place where it is used."""
    readers: dict[str, list[Line]] = {}
    for line in lines_of(module):
        for name in line.read_names():
            readers.setdefault(name, []).append(line)
    module.statements = [each for each in module.statements if not _folded_away(module, each, readers)]


def _folded_away(module: Text, definition: Statement, readers: dict[str, list[Line]]) -> bool:
    source = definition.lines[0]
    if definition.kind != "assign" or source.target is None or source.value is None:
        return False
    name, users = source.target.text, readers.get(source.target.text, [])
    if not temporary(name) or len(users) != 1:
        return False
    value = folded(users[0], name, source.value)
    if value is None or len(str(replace(users[0], value=value))) > LINE:
        return False
    users[0].value = value
    for each in source.value.names():
        readers[each] = [users[0] if line is source else line for line in readers[each]]
    del module.signals[name]
    return True


def drop_unread(module: Text) -> None:
    """Remove temporaries, and other names for bits that have one, where nothing reads them."""
    while True:
        used = _uses(module)
        unread = {
            name
            for name, signal in module.signals.items()
            if not used[name] and (signal.alias or temporary(name))
        }
        left = [each for each in module.statements if each.kind != "assign" or not each.targets() <= unread]
        if len(left) == len(module.statements):
            break
        module.statements = left
    driven = {name for each in module.statements for name in each.targets()}
    for name in unread - driven:
        del module.signals[name]


def sort_assignments(module: Text) -> None:
    """Write assignments first, and what an assignment reads before it."""
    definitions: dict[str, list[Statement]] = {}
    assignments = [each for each in module.statements if each.kind == "assign"]
    for each in assignments:
        for name in each.targets():
            definitions.setdefault(name, []).append(each)
    placed: dict[int, Statement] = {}
    for each in assignments:
        _place(each, definitions, placed, frozenset())
    module.statements = [*placed.values(), *(each for each in module.statements if each.kind != "assign")]


def _place(
    statement: Statement,
    definitions: Mapping[str, list[Statement]],
    placed: dict[int, Statement],
    above: frozenset[int],
) -> None:
    if id(statement) in placed or id(statement) in above:
        return
    for name in statement.lines[0].read_names():
        for source in definitions.get(name, ()):
            _place(source, definitions, placed, above | {id(statement)})
    placed[id(statement)] = statement


def group_registers(module: Text) -> None:
    """Put registers that only take a value under one clock edge."""
    grouped: list[Statement] = []
    for each in module.statements:
        header = f"{each.lines[0].head} begin"
        if each.kind == "flop" and grouped and grouped[-1].kind == "flops" and grouped[-1].lines[0].head == header:
            grouped[-1].lines.insert(-1, each.lines[1])
        elif each.kind == "flop":
            grouped.append(Statement("flops", [Line(header), each.lines[1], Line("  end")]))
        else:
            grouped.append(each)
    module.statements = grouped


def _uses(module: Text) -> Counter[str]:
    return Counter(name for line in lines_of(module) for name in line.read_names())


def fill_memories(module: Text) -> None:
    """Write equal initial words of a memory as a loop."""
    for each in module.statements:
        words = [INITIAL.match(line.head) for line in each.lines[1:-1]]
        first = words[0] if words else None
        if first and len(words) > 1 and all(word and word["value"] == first["value"] for word in words):
            index, memory = f"{first['memory']}_word", first["memory"]
            module.memories.append(f"  integer {index};")
            count = f"{index} = 0; {index} < {len(words)}; {index} = {index} + 1"
            word = f"{memory}[{index}] = {first['value']};"
            each.lines = [Line("  initial"), Line(f"    for ({count})"), Line(f"      {word}")]
