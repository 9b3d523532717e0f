"""The report is well-formed HTML with everything inside, and says what the run says."""

import base64
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest

from skipopu.results import report as reports
from skipopu.results.published import beside, published
from skipopu.results.report import report

VOID = {"meta", "img", "br"}
LIMIT = 3_000_000  # bytes


class Reader(HTMLParser):
    """Collects tags, addresses and text, and checks that tags nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.addresses, self.text = [], [], [], ""

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [
            value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    return reader


@pytest.fixture(scope="module")
def html(case, dense):
    return report(case.result().record(dense.result()))


@pytest.fixture(scope="module")
def page(html):
    return read(html)


def pictures(page):
    return [base64.b64decode(a.removeprefix("data:image/svg+xml;base64,")).decode() for a in page.addresses]


def test_tags_nest_and_close(page):
    assert page.open == []
    assert page.tags.count("h1") == 1


def test_nothing_is_loaded_from_outside(html, page):
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert not re.search(r"url\(|@import", html)
    for picture in pictures(page):
        assert not re.search(r'(?:href|src)="(?!#|data:)', picture)


def test_the_size_stays_small(html):
    assert len(html.encode()) < LIMIT


def test_pictures_are_svg(page):
    assert len(pictures(page)) == 6
    for picture in pictures(page):
        assert ElementTree.fromstring(picture).tag == "{http://www.w3.org/2000/svg}svg"


def test_the_headline_stands_beside_the_dense_run(case, dense, page):
    assert "Against the same model dense" in page.text
    ratio = case.run.core_cycles / dense.run.core_cycles
    assert (
        f"core cycles (cycles){dense.run.core_cycles:,}{case.run.core_cycles:,}{ratio:.2f}×"
        in page.text.replace("\n", "")
    )


def test_every_parameter_and_check_is_listed(case, page):
    result = case.result()
    for key, leaf in {**case.overlay.provenance, **case.board.provenance}.items():
        assert key in page.text
        assert leaf.source in page.text
    for check in result.audit:
        assert check.name in page.text
        assert check.detail in page.text


def test_a_run_alone_and_a_run_without_decode_have_a_report(make_case):
    text = read(report(make_case(decode=0).result().record())).text
    assert "Against" not in text
    assert "decode rate" in text


def test_markup_in_names_is_text(case, monkeypatch):
    monkeypatch.setattr(reports, "_pictures", lambda _: [])
    record = case.result().record()
    summary = {**record.summary, "warnings": ["<script>alert(1)</script>"]}
    html = report(type(record)(**{**vars(record), "summary": summary}))
    assert "<script>" not in html
    assert "<script>alert(1)</script>" in read(html).text


def test_published_figures_stand_beside_simulated_ones(case, dense):
    record = case.result().record(dense.result())
    assert beside(record) == []  # a made-up shape has none
    summary = {**record.summary, "trace": {**record.summary["trace"], "shape": "llama2-7b"}}
    rows = beside(type(record)(**{**vars(record), "summary": summary}))
    assert [row.published.value for row in rows] == [408.7, 143.4]
    assert rows[0].simulated == dense.result().summary["kv"]["effective_bandwidth"] / 1e9
    assert rows[1].simulated == record.summary["decode"]["tokens_per_second"]
    assert all(figure.source and figure.caveat for figure in published())
