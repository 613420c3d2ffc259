"""The page of a run: complete, self-contained, escaped, the same every time."""

import json
import re
from html.parser import HTMLParser

import pytest
from run_files import write_run

from cristae.errors import MissingFileError, OutputExistsError, RunError, ScoreError
from cristae.metrics.score import read_scores
from cristae.report.facts import rows_of
from cristae.report.figures import curve
from cristae.report.run_page import read_run, run_page
from cristae.workflows.report import report

VOID = {"meta", "link", "input", "image", "use", "rect", "path", "br"}


class Outline(HTMLParser):
    """Checks nesting and collects addresses and text."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses, self.text, self.ids = [], [], [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "xlink:href", "action")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(page):
    parsed = Outline()
    parsed.feed(page.read_text(encoding="utf-8"))
    assert parsed.open == []
    return parsed


def test_the_page_is_one_file_that_asks_for_nothing(run):
    parsed = outline(report(run))
    assert parsed.addresses
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    inner = [address[1:] for address in parsed.addresses if address.startswith("#")]
    assert set(inner) <= set(parsed.ids)
    assert len(parsed.ids) == len(set(parsed.ids))


def test_what_the_page_says_is_what_the_files_say(run):
    text = " ".join("".join(outline(report(run)).text).split())
    facts = ("discs", "1 h 02 min", "3.0 GiB", "2026-01-02", "weights kept from epoch 5", "slices 15:20", "3.11.9")
    assert [fact for fact in facts if fact not in text] == []
    for score in read_scores(run / "scores.csv"):
        if "pooled" in score.rule and score.metric in ("Jaccard", "F1", "PPV", "sensitivity", "mIoU"):
            assert f"{score.value:.4f}" in text
    assert "positive=granule <b>; pooled; n=voxels" in text
    for heading in ("Scores on the validation slices", "Learning", "Slices", "Data", "Settings"):
        assert heading in text
    assert "500 nm" not in text
    assert "200 nm" in text


def test_text_of_the_user_is_escaped(run):
    page = report(run).read_text(encoding="utf-8")
    assert "granule &lt;b&gt;" in page
    assert "granule <b>" not in page
    assert "<i>quickly" not in page


def test_the_same_run_gives_the_same_bytes(tmp_path):
    pages = [report(write_run(tmp_path / name)).read_bytes() for name in ("one", "two")]
    assert pages[0] == pages[1]


def test_a_runs_own_page_is_made_anew_and_other_files_are_kept(run, tmp_path):
    assert report(run) == report(run) == run / "report.html"
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(OutputExistsError):
        report(run, out=tmp_path / "mine.html")
    assert (tmp_path / "mine.html").read_text() == "mine"


def test_a_run_without_previews_scores_and_voxel_size_has_a_page(tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "recipe.yaml").write_text("name: bare\n")
    (bare / "summary.json").write_text("{}")
    assert "bare" in report(bare).read_text()
    text = report(write_run(tmp_path / "run", voxel_size_nm=None)).read_text()
    assert "voxel size unknown: no scale bar" in text


def test_class_shares_are_shown_where_the_run_kept_them(run):
    row = {"use": "train", "volume": "a", "box": "0:5,0:6,0:7", "shape": [5, 6, 7], "voxel_size_nm": [50, 10, 10]}
    (run / "summary.json").write_text(json.dumps({"data": [row | {"class_shares": {"cell": 0.25}}]}))
    text = report(run).read_text()
    assert "5 x 6 x 7" in text
    assert "cell 25.0 %" in text


def test_places_no_page_can_be_made_of(tmp_path):
    with pytest.raises(MissingFileError):
        report(tmp_path / "none")
    with pytest.raises(RunError, match="no page can be made"):
        report(tmp_path)
    (tmp_path / "t.csv").write_text("a\n1\n")
    with pytest.raises(ScoreError):
        report(tmp_path / "t.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]


def test_damaged_files_are_named(run):
    (run / "summary.json").write_text("{")
    with pytest.raises(RunError, match=r"summary\.json"):
        report(run)


def test_curves_leave_out_epochs_that_were_not_validated(run):
    page = report(run).read_text()
    svg = page[page.index('<div class="curves">') :]
    svg = svg[: svg.index("</svg>")]
    assert "Loss" in svg
    assert not re.findall(r' d="[^"]*\d\.\d{3}', svg)
    assert curve([{"epoch": "1", "v": "0.5"}, {"epoch": "2", "v": ""}, {"epoch": "3", "v": "nan"}], "v") == ([1], [0.5])


def test_facts_read_well():
    rows = rows_of({"a": {"b_seconds": 61, "c": None}, "d": [1, 2.5], "m_bytes": {"ram": 1 << 20}})
    assert rows == [
        {"Name": "a.b_seconds", "Value": "1 min 01 s"},
        {"Name": "d", "Value": "1, 2.5"},
        {"Name": "m_bytes.ram", "Value": "1 MiB"},
    ]


def test_how_a_3d_network_is_applied(run):
    facts = json.loads((run / "summary.json").read_text())
    scores = {"better": "farthest", "val_miou": {"farthest": 0.8125, "exact": None}}
    (run / "summary.json").write_text(json.dumps(facts | {"application": scores}))
    page = run_page(read_run(run))
    assert "validation mean IoU: farthest 0.8125, exact –" in page
    untried = {"better": "farthest", "val_miou": {}, "untried": {"exact": "an exact pass would see 20 times as many"}}
    (run / "summary.json").write_text(json.dumps(facts | {"application": untried}))
    assert "an exact pass would see 20 times as many" in run_page(read_run(run))
