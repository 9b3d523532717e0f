"""A field that came later stands in a file only where it is used: files without it read and keep their hash."""

from pathlib import Path

from small_traces import plain

from skipopu.trace import LayerShape, Router, read_trace, write_trace
from skipopu.trace.record import canonical, decode, encode
from skipopu.trace.schema import header_table

OLD = {
    "layer": 2, "segment": "", "hidden_size": None, "intermediate_size": 48, "attention_heads": None,
    "kv_heads": None, "rank": 16, "sparsity": "dense",
}  # fmt: skip


def test_a_layer_shape_of_an_old_file_reads_and_writes_as_it_was() -> None:
    shape = decode(LayerShape, OLD, "layer_shape")
    assert shape == LayerShape(2, intermediate_size=48, rank=16)
    assert encode(shape) == OLD


def test_one_that_is_used_survives_the_disk(tmp_path: Path) -> None:
    shapes = (LayerShape(0, ranks=(4, 2, 2, 4, 6, 6, 6)),)
    trace = plain([3], layer_shapes=shapes, router=Router(), kv_policy="dense")
    write_trace(trace, tmp_path / "t.trace")
    assert read_trace(tmp_path / "t.trace").header.layer_shapes == shapes
    assert '"ranks":[4,2,2,4,6,6,6]' in canonical(header_table(trace.header))


def test_one_that_is_not_used_leaves_no_mark() -> None:
    trace = plain([3], layer_shapes=(LayerShape(0, rank=4),), router=Router(), kv_policy="dense")
    assert "ranks" not in canonical(header_table(trace.header))
