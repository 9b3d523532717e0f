"""Same inputs give the same bytes; an interrupt leaves what was there; nothing foreign is overwritten."""

import numpy as np
import pytest

from skipopu.results import directory, report, timeline
from skipopu.results.directory import FILES, check_writable, read_result, rewrite_report, write_result
from skipopu.spec.error import SpecError


@pytest.fixture(scope="module")
def written(case, dense, tmp_path_factory):
    place = tmp_path_factory.mktemp("results") / "out"
    write_result(place, case.result(), dense.result())
    return place


@pytest.fixture
def quick(monkeypatch):
    """Leave the report out where it is not what is tested."""
    monkeypatch.setattr(report, "report", lambda _: "<!DOCTYPE html>")


def content(place):
    return {path.name: path.read_bytes() for path in place.iterdir()}


def test_every_file_is_there(written):
    assert set(content(written)) == FILES


def test_two_writes_are_byte_identical(case, dense, written, tmp_path):
    write_result(tmp_path / "again", case.result(), dense.result())
    assert content(tmp_path / "again") == content(written)


def test_the_report_can_be_drawn_from_the_directory_alone(written):
    before = content(written)
    (written / "report.html").write_text("lost")
    assert rewrite_report(written) == written / "report.html"
    assert content(written) == before


def test_what_is_read_is_what_was_written(case, dense, written):
    record, expected = read_result(written), case.result().record(dense.result())
    assert record.summary == expected.summary
    assert record.provenance == expected.provenance
    assert record.checks == expected.checks
    assert record.dense == dense.result().summary
    assert (record.first_decode_step, record.first_decode_token, record.opcodes) == (1, 8, expected.opcodes)
    for name in ("q", "kv", "ffn"):
        np.testing.assert_array_equal(record.rows[name], case.trace.rows(name))
    for name, value in vars(case.run).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(record.run, name), value)
        elif name != "retired":
            assert getattr(record.run, name) == value
    for name, column in vars(case.run.retired).items():
        np.testing.assert_array_equal(getattr(record.run.retired, name), column)


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_an_interrupt_leaves_nothing(case, tmp_path, monkeypatch, error):
    def interrupted(path, record):
        path.write_text("half")
        raise error

    monkeypatch.setattr(timeline, "write", interrupted)
    with pytest.raises(error):
        write_result(tmp_path / "out", case.result())
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_keeps_the_result_that_was_there(case, tmp_path, monkeypatch, quick):
    write_result(tmp_path / "out", case.result())
    before = content(tmp_path / "out")

    def interrupted(path, table):
        raise KeyboardInterrupt

    monkeypatch.setattr(directory.events, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path / "out", case.result())
    assert content(tmp_path / "out") == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_earlier_result_is_replaced(case, dense, tmp_path, quick):
    write_result(tmp_path / "out", dense.result())
    write_result(tmp_path / "out", case.result())
    assert read_result(tmp_path / "out").summary == case.result().summary
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_empty_directory_and_missing_parents_are_fine(case, tmp_path, quick):
    (tmp_path / "empty").mkdir()
    for place in (tmp_path / "empty", tmp_path / "a" / "b"):
        write_result(place, case.result())
        assert set(content(place)) == FILES


def test_a_foreign_directory_is_refused(case, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(
        SpecError, match=r"holds 'notes.txt', which is not part of a result; give a new directory"
    ):
        write_result(tmp_path, case.result())
    assert content(tmp_path) == {"notes.txt": b"mine"}


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(SpecError, match=r"out: is a file; give a directory for the result"):
        check_writable(tmp_path / "out")
    with pytest.raises(SpecError, match=r"below: cannot be written \(.+\); give a writable directory"):
        check_writable(tmp_path / "out" / "below")


def test_a_directory_that_is_no_result_is_refused(tmp_path):
    with pytest.raises(SpecError, match=r"summary.json: no such file; .* is no result of skipopu sim"):
        read_result(tmp_path)


@pytest.mark.parametrize("name", ["run.safetensors", "events.parquet", "provenance.json", "summary.json"])
def test_a_damaged_file_is_named(written, tmp_path, name):
    for path, data in content(written).items():
        (tmp_path / path).write_bytes(data[: len(data) // 2] if path == name else data)
    with pytest.raises(SpecError, match=f"{name}: unreadable") as error:
        read_result(tmp_path)
    assert "\n" not in str(error.value)


def test_another_schema_is_refused(tmp_path):
    (tmp_path / "summary.json").write_text('{"schema": 99}')
    with pytest.raises(SpecError, match="not a result of schema 1"):
        read_result(tmp_path)
