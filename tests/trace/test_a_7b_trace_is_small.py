"""128 + 1024 tokens at the shape of Llama-2-7B fit in 2 MB, whatever the family."""

from pathlib import Path

import pytest

from skipopu.trace import presets, synthesize, write_trace
from skipopu.trace.arrays import ARRAYS

MOST_BYTES = 2_000_000


@pytest.mark.parametrize("family", presets())
def test_the_file_is_at_most_two_megabytes(family: str, tmp_path: Path) -> None:
    trace = synthesize(family, "llama2-7b", prompt=128, decode=1024)
    write_trace(trace, tmp_path / "t.trace")
    assert trace.tokens == 1152
    assert (tmp_path / "t.trace").stat().st_size <= MOST_BYTES


def test_rows_take_one_bit_each() -> None:
    arrays = synthesize("skipgpt", "llama2-7b", prompt=128, decode=1024).arrays
    assert sum(arrays[f"rows_{kind}"].nbytes for kind in ("q", "kv", "ffn")) == 3 * 32 * 1152 // 8


def test_nothing_that_follows_is_stored() -> None:
    """GEMM shapes and source layers are derived: no array of the schema holds them."""
    assert not [name for name in ARRAYS if "gemm" in name or "src" in name or "source_layer" in name]
