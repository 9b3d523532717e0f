"""What is checked in stays short enough to read, names no machine, and leaves nothing for later."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE_LINES = 400
FUNCTION_LINES = 70
TEXT = {".py", ".toml", ".md", ".txt", ".json", ".jsonl", ".svg", ".ipynb", ".v", ".cpp", ".h", ".html", ""}
# patterns are put together here so that this file does not match itself
FOLDERS = "|".join(["home", "root", "work", "Users", "opt", "mnt", "tmp"])
MACHINE = re.compile(rf"(?<![\w.$}}])/({FOLDERS})/")
REGISTRY = re.compile("pypi" + r"\.org|python" + r"hosted|index" + "-url|download" + r"\.pytorch")
LATER = re.compile("|".join(rf"\b{a}{b}\b" for a, b in [("TO", "DO"), ("FIX", "ME"), ("XX", "X")]))
VAGUE = {"utils", "helpers", "manager", "misc"}


def checked_in() -> list[Path]:
    """Files that git tracks or would add."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    paths = [ROOT / name for name in sorted(set(done.stdout.split("\0"))) if name]
    return [p for p in paths if p.is_file() and not p.is_symlink()]


def texts() -> list[Path]:
    return [p for p in checked_in() if p.suffix in TEXT and p.name != "LICENSE"]


def pythons() -> list[Path]:
    return [p for p in checked_in() if p.suffix == ".py"]


def lines_matching(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    return [
        f"{p.relative_to(ROOT)}:{number}: {line.strip()[:80]}"
        for p in paths
        for number, line in enumerate(p.read_text(encoding="utf-8").splitlines(), 1)
        if pattern.search(line)
    ]


def long_functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield (name, lines) of functions that do not fit on a screen or two."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length >= FUNCTION_LINES:
                yield node.name, length


def test_no_file_names_a_machine_path() -> None:
    assert lines_matching(MACHINE, texts()) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_matching(REGISTRY, texts()) == []


def test_nothing_is_left_for_later() -> None:
    assert lines_matching(LATER, pythons()) == []


def test_files_are_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in pythons()}
    assert {name: n for name, n in lengths.items() if n >= FILE_LINES} == {}


def test_functions_are_short() -> None:
    found = {str(p.relative_to(ROOT)): list(long_functions(p.read_text(encoding="utf-8"))) for p in pythons()}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_names_say_what_is_inside() -> None:
    assert [str(p) for p in pythons() if p.stem in VAGUE or p.parent.name in VAGUE] == []


@pytest.mark.parametrize("path", ["home/x", "root/.cache", "tmp/t.trace", "work/main"])
def test_a_planted_path_is_found(path: str) -> None:
    assert MACHINE.search(f"open('/{path}/y')")
    assert not MACHINE.search(f"open('a/{path}/y')")


def test_a_planted_long_function_is_found() -> None:
    body = "\n".join(["    x = 1"] * FUNCTION_LINES)
    assert list(long_functions(f"def f():\n{body}\n")) == [("f", FUNCTION_LINES + 1)]


def test_a_planted_reminder_is_found() -> None:
    assert LATER.search("# " + "TO" + "DO: later")
    assert not LATER.search("mastodon")
