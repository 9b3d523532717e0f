"""Verilog of the whole ``tiny`` overlay: a digest a module lies beside the test, so that no change goes unnoticed.

A change that is meant: ``python tests/hdl/test_the_overlay_of_tiny_is_as_it_was.py`` writes the table anew.
"""

import hashlib
from pathlib import Path

from skipopu.hdl.emission import emitted
from skipopu.hdl.overlay import Overlay as Processor
from skipopu.spec.overlay import Overlay

GOLDEN = Path(__file__).parent / "golden" / "overlay_of_tiny.txt"
DIGITS = 16
RENEW = f"if this is meant, renew {GOLDEN.name}: python {Path(__file__).name} in tests/hdl"


def table() -> dict[str, str]:
    """Module → lines and digest of its Verilog."""
    texts = emitted(Processor(overlay=Overlay.load("tiny")))
    return {name: f"{text.count(chr(10)):5} {_digest(text)}" for name, text in sorted(texts.items())}


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:DIGITS]


def _golden() -> dict[str, str]:
    rows = (line.rpartition("  ") for line in GOLDEN.read_text(encoding="utf-8").splitlines())
    return {name: row for row, _, name in rows}


def test_every_module_reads_as_it_did() -> None:
    found, expected = table(), _golden()
    changed = sorted(name for name in found.keys() & expected.keys() if found[name] != expected[name])
    new, gone = sorted(found.keys() - expected.keys()), sorted(expected.keys() - found.keys())
    assert (changed, new, gone) == ([], [], []), RENEW


if __name__ == "__main__":
    GOLDEN.write_text("".join(f"{row}  {name}\n" for name, row in table().items()), encoding="utf-8")
