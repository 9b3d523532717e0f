"""Provenance holds every parameter and changes with every input, and with nothing else."""

import json
from dataclasses import replace

import pytest

from skipopu.results.provenance import provenance, sources_sha256
from skipopu.spec.overlay import Overlay


@pytest.fixture(scope="module")
def p(case):
    return provenance(case.trace, case.overlay, case.board)


def test_every_leaf_is_there_with_its_source(case, p):
    inputs = {"overlay": case.overlay, "board": case.board, "shape": case.trace.header.shape}
    for kind, part in inputs.items():
        assert set(p["parameters"][kind]) == set(part.provenance)
        for key, leaf in part.provenance.items():
            shown = p["parameters"][kind][key]
            assert (shown["value"], shown["unit"]) == (leaf.value, leaf.unit)
            assert (shown["source"], shown["confidence"]) == (leaf.source, leaf.confidence)


def test_a_setting_changes_its_leaf_and_the_hash(case, p):
    wide = Overlay.load("tiny", ("pe_array.columns=32",))
    q = provenance(case.trace, wide, case.board)
    assert q["sha256"]["overlay"] != p["sha256"]["overlay"]
    assert q["parameters"]["overlay"]["pe_array.columns"]["source"] == "--set pe_array.columns=32"
    assert {k: v for k, v in q["sha256"].items() if k != "overlay"} == {
        k: v for k, v in p["sha256"].items() if k != "overlay"
    }


def test_neither_paths_nor_times(p):
    text = json.dumps(p)
    assert __file__.rsplit("/tests/", 1)[0] not in text
    assert "date" not in text.lower().replace("update", "")


def test_the_hash_of_the_sources_sees_names_and_contents(tmp_path):
    def digest(**files):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        (folder / "inner").mkdir(parents=True)
        for name, content in files.items():
            (folder / "inner" / name.replace("_", ".")).write_text(content)
        return sources_sha256(folder)

    one = digest(a_py="x = 1")
    assert digest(a_py="x = 1") == one
    assert digest(a_py="x = 1", a_txt="not a source") == one
    assert len({one, digest(a_py="x = 2"), digest(b_py="x = 1"), digest(a_py="x = 1", b_toml="")}) == 4


def test_linked_folders_count(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "sim").symlink_to(tmp_path / "outside")
    before = sources_sha256(tmp_path / "package")
    (tmp_path / "outside" / "run.py").write_text("")
    assert sources_sha256(tmp_path / "package") != before


def test_the_name_of_the_trace_does_not_matter(case, p):
    assert replace(case).trace.sha256 == p["sha256"]["trace"]
