"""The page of a benchmark: what it says of the tables of its folder, and the pictures of what methods dispute."""

import base64
import io
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.example_benchmark import Size, write_example

from cristae.errors import MissingFileError, RunError
from cristae.report.benchmark.convergence import convergence_section
from cristae.report.benchmark.drawing import Figures
from cristae.report.benchmark.files import TABLES, read_benchmark_files
from cristae.report.benchmark.page import benchmark_page
from cristae.report.benchmark.pictures import error_kinds, pictures_section
from cristae.report.benchmark.ranking import groups_of, places_text, ranking_section
from cristae.report.benchmark.slices import SHOWN, disagreeing_slices, dissent
from cristae.report.benchmark.verdict import facts_of, lead_of, open_to_best
from cristae.words import duration, listed
from cristae.workflows.report import report

SIZE = Size(cells=4, folds=3, slices=2, epochs=4, side=64)
HEADINGS = [
    *("Summary", "Ranking", "Pairs", "Cost and score", "All scores", "Convergence", "Learning curves"),
    *("How many labels", "Ensembles", "Trainings", "New samples", "Slices in dispute", "Tables", "Use it"),
    *("Not finished", "Data, splits and plan"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_example(tmp_path_factory.mktemp("benchmark") / "example", SIZE)
    report(folder)
    return folder


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def section(page: str, title: str) -> str:
    return re.split(r"<section ", page.split(f"<h2>{title}</h2>")[1])[0]


def rows(page: str, caption: str) -> list[list[str]]:
    """The texts of the table with this in its caption."""
    found = next(part for part in page.split("<table")[1:] if caption in part.split("</caption>")[0])
    body = found.split("<tbody>")[1].split("</tbody>")[0]
    return [re.findall(r"<t[hd][^>]*>([^<]*)</t[hd]>", row) for row in body.split("<tr>")[1:]]


def picture(page: str, name: str) -> np.ndarray:
    data = page.split(f'<image id="{name}"')[1].split("base64,")[1].split('"')[0]
    return np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))


def copy_of(folder: Path, place: Path) -> Path:
    """Without the cells, whose predictions are not read again."""
    copy = place / "copy"
    copy.mkdir()
    for name in ("benchmark.json", "plan.yaml"):
        shutil.copy(folder / name, copy)
    shutil.copytree(folder / "results", copy / "results")
    return copy


def change(folder: Path, table: str, changed) -> None:
    path = folder / "results" / f"{table}.json"
    path.write_text(json.dumps(changed(json.loads(path.read_text()))))


def test_all_parts_stand_in_their_order(page: str) -> None:
    assert re.findall(r"<h2>(.*?)</h2>", page) == HEADINGS


def test_the_same_files_make_the_same_bytes(folder: Path) -> None:
    again = benchmark_page(read_benchmark_files(folder))
    assert again.html == (folder / "report.html").read_text(encoding="utf-8")
    assert again.figures == {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}


def test_figures_are_kept_as_svg_and_png(folder: Path) -> None:
    kept = {path.name: path.read_bytes() for path in (folder / "figures").iterdir()}
    stems = {name.rsplit(".", 1)[0] for name in kept}
    assert {"ranking", "cost-gflop", "cost-training", "heat", "convergence", "curves-loss", "ensembles"} <= stems
    assert set(kept) == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    assert all(content.startswith(b"\x89PNG") for name, content in kept.items() if name.endswith("png"))
    assert all(b"<svg" in content[:1000] for name, content in kept.items() if name.endswith("svg"))


def test_the_page_asks_nothing_of_the_network(page: str) -> None:
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    assert links
    assert all(link.startswith(("#", "data:")) for link in links)


def test_names_inside_the_page_are_its_own_and_each_is_there(page: str) -> None:
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    asked = re.findall(r'href="#([^"]+)"', page) + re.findall(r'for="([^"]+)"', page)
    assert set(asked) <= set(names)


def test_tables_have_captions_and_drawings_have_labels(page: str) -> None:
    tables = re.findall(r"<table.*?</table>", page, flags=re.DOTALL)
    assert all("<caption>" in one for one in tables)
    drawings = [one for one in re.findall(r"<svg[^>]*>", page) if 'aria-hidden="true"' not in one]
    assert drawings
    assert all(re.search(r'role="img" aria-label="[^"]+"', one) or 'role="img"' in one for one in drawings)
    assert all(re.search(r'aria-label="[^"]+"', one) for one in drawings)


def test_sentences_stand_first_and_are_escaped(page: str) -> None:
    assert "rank correlation 0.86 &lt;over 14 methods&gt;." in section(page, "Summary")


def facts(page: str) -> dict[str, list[str]]:
    parts = page.split('<dl class="facts">')[1].split("</dl>")[0].split("<div>")[1:]
    return {re.findall(r"<dt>(.*?)</dt>", one)[0]: re.findall(r"<dd[^>]*>(.*?)</dd>", one) for one in parts}


def test_the_first_screen_says_which_how_sure_and_at_what_cost(folder: Path, page: str) -> None:
    files = read_benchmark_files(folder)
    first, second = files.ranking[:2]
    said = facts(page)
    assert said["Best mean score"][0] == first["label"]
    assert f"{first['mean']:.3f}, 95 % {first['low']:.3f} to {first['high']:.3f}" in said["Best mean score"][1]
    assert said["How sure"] == [
        "Undecided", f"may be no better than {second['label']}; surely better than the other 2",
    ]  # fmt: skip
    seconds = np.mean([row["train_seconds"] for row in files.jobs_of(first["cell"])])
    assert said["Its cost"][0] == duration(seconds)
    assert "300 k parameters" in said["Its cost"][1]
    assert said["Cheaper, not surely worse"][0] == "None"
    assert said["Compared"] == [
        "4 methods", "3 folds, 8 of 9 trainings done, 1 failed, 1 made by other programs",
    ]  # fmt: skip


def test_the_cheapest_that_may_be_as_good_is_named(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    change(copy, "jobs", lambda rows: [
        {**row, "train_seconds": 100.0 if row["cell"] == "method-2" else 400.0} for row in rows
    ])  # fmt: skip
    files = read_benchmark_files(copy)
    assert open_to_best(files) == ["method-2"]
    found = {fact.label: fact for fact in facts_of(files)}["Cheaper, not surely worse"]
    assert found.value == "Network B, loss 1"
    assert found.note.startswith("1 min 40 s for one training, 25 % of that time; score ")


def test_a_best_that_is_told_from_all_is_sure(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    change(copy, "pairs", lambda rows: [{**row, "verdict": "better"} for row in rows])
    files = read_benchmark_files(copy)
    assert open_to_best(files) == []
    found = {fact.label: fact for fact in facts_of(files)}
    assert found["How sure"].value == "Sure"
    assert "Cheaper, not surely worse" not in found


def test_the_plan_says_what_was_asked(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    (copy / "plan.yaml").write_text("name: example\ndescription: Which network?\n")
    assert lead_of(read_benchmark_files(copy)).startswith("Which network? Compared by Jaccard (IoU) of mitochondria")
    (copy / "plan.yaml").write_text("{broken")
    assert lead_of(read_benchmark_files(copy)).startswith("Compared by")


def test_a_second_annotator_is_a_line_in_the_ranking(folder: Path, page: str, tmp_path: Path) -> None:
    files = read_benchmark_files(folder)
    assert files.annotator_score == 0.845
    reach = [row["label"] for row in files.ranking if row["mean"] >= 0.845]
    assert f"The mean of {listed(reach)} reaches that." in section(page, "Ranking")
    copy = copy_of(folder, tmp_path)
    change(copy, "annotators", lambda rows: [])
    without = ranking_section(read_benchmark_files(copy), Figures())
    assert without is not None
    assert "second annotator" not in without.body


def test_the_ranking_says_what_is_undecided(folder: Path, page: str) -> None:
    ranked = read_benchmark_files(folder).ranking
    text = section(page, "Ranking")
    assert "within a band it is undecided" in text
    found = rows(page, "of mitochondria. Press a heading to sort by it.")
    assert [row[:3] for row in found] == [[places_text(row), row["label"], f"{row['mean']:.4f}"] for row in ranked]
    assert [row[0] for row in found] == ["1 to 2", "1 to 2", "3 to 4", "3 to 4"]
    assert text.count("<title>") == len(ranked)


def test_without_any_verdict_the_whole_ranking_is_undecided(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    change(copy, "ranking", lambda rows: [{**row, "rank_low": 1, "rank_high": 4} for row in rows])
    files = read_benchmark_files(copy)
    assert [len(group) for group in groups_of(files.ranking)] == [4]
    made = ranking_section(files, Figures())
    assert made is not None
    assert "Undecided: these data do not cut the methods" in made.body


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 8)), min_size=1, max_size=8))
def test_groups_are_the_whole_ranking_cut_only_where_no_places_overlap(places: list[tuple[int, int]]) -> None:
    ranked = [{"rank_low": low, "rank_high": min(len(places), low + wide)} for low, wide in places]
    groups = groups_of(ranked)
    assert [row for group in groups for row in group] == ranked
    assert all(groups)
    edges = np.cumsum([len(group) for group in groups])[:-1]
    for edge in range(1, len(ranked)):
        apart = all(row["rank_high"] <= edge for row in ranked[:edge]) and all(
            row["rank_low"] > edge for row in ranked[edge:]
        )
        assert (edge in edges) == apart


def test_verdicts_are_mirrored(page: str) -> None:
    matrix = rows(page, "Row against column")
    signs = [[text[:1] for text in row[1:]] for row in matrix]
    assert signs == [["", "?", "+", "+"], ["?", "", "+", "+"], ["-", "-", "", "?"], ["-", "-", "?", ""]]
    assert [row[2].split()[-1] for row in matrix[:1]] == [row[1].split()[-1] for row in matrix[1:2]]
    assert "2 of 6 pairs are undecided" in section(page, "Pairs")


def test_the_heat_map_has_raw_and_scaled_values(folder: Path, page: str) -> None:
    heat = {(row["metric"], row["cell"]): row for row in json.loads((folder / "results" / "heat.json").read_text())}
    order = read_benchmark_files(folder).order
    scaled, raw = rows(page, "Each score from the worst"), rows(page, "Values as they are")
    assert [row[1] for row in scaled] == [f"{heat['F1', cell]['scaled']:.2f}" for cell in order]
    assert [row[1] for row in raw] == [f"{heat['F1', cell]['value']:.4f}" for cell in order]
    assert "Variation of information ↓" in page


def test_costs_are_means_over_trainings_and_absent_for_imported_methods(page: str) -> None:
    table = {row[0]: row[1:] for row in rows(page, "Means over the trainings of a method")}
    assert table["Network A, loss 0"][:2] == ["300 k", "8.44"]
    assert set(table["Network D, loss 0"]) == {"–"}
    assert "energy: assumed: 10 W for each busy core" in page


def test_means_have_deviations_and_the_best_is_bold(folder: Path, page: str) -> None:
    first = read_benchmark_files(folder).ranking[0]
    assert rows(page, "mean ± standard deviation")[0][1] == f"{first['mean']:.4f} ± {first['deviation']:.4f}"
    assert f'best" data-key="{first["mean"]!r}"' in section(page, "Tables")


def test_what_failed_is_told_and_how_to_use_what_was_found(page: str) -> None:
    assert rows(page, "Trainings that are not in the results") == [
        ["Network C, loss 2", "3", "failed", "the loss became NaN in epoch 7; lower the learning rate"]
    ]
    used = section(page, "Use it")
    assert "--run example:best" in used
    assert "--run example:ensemble" in used


def test_parts_without_tables_are_left_out(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    for name in TABLES:
        (copy / "results" / f"{name}.json").write_text("[]")
    (copy / "results" / "summary.json").unlink()
    text = benchmark_page(read_benchmark_files(copy)).html
    assert re.findall(r"<h2>(.*?)</h2>", text) == ["Data, splits and plan"]


def test_a_folder_without_results_is_refused(folder: Path, tmp_path: Path) -> None:
    shutil.copy(folder / "benchmark.json", tmp_path)
    with pytest.raises(RunError, match="no results yet"):
        report(tmp_path)
    with pytest.raises(MissingFileError):
        read_benchmark_files(tmp_path / "none")


def test_data_that_have_moved_leave_the_page_without_pictures(folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    shutil.copytree(folder / "cells", copy / "cells")
    for recipe in copy.rglob("recipe.yaml"):
        recipe.write_text(recipe.read_text().replace("/v1.tif", "/moved.tif"))
    made = pictures_section(read_benchmark_files(copy))
    assert made is not None
    assert "No pictures:" in made.body
    assert "moved.tif" in made.body


def test_the_most_disputed_slices_come_first(folder: Path) -> None:
    shown = disagreeing_slices(read_benchmark_files(folder))
    assert len(shown) == SHOWN
    values = [one.dissent for one in shown]
    assert values == sorted(values, reverse=True)
    for one in shown:
        assert [answer.cell for answer in one.answers] == [
            cell for cell in read_benchmark_files(folder).order if cell != "method-4"
        ]
        assert one.dissent == pytest.approx(dissent([answer.ids for answer in one.answers]).mean())


def test_overlays_show_right_false_and_missed_voxels(folder: Path, page: str) -> None:
    one = disagreeing_slices(read_benchmark_files(folder))[0]
    drawn = picture(page, "b0-e1")
    truth, found = one.truth != 0, one.answers[0].ids != 0
    seen = {name: (drawn[..., :3] == color).all(-1) & (drawn[..., 3] > 0) for name, color in (
        ("right", (255, 223, 61)), ("false", (36, 89, 214)))}  # fmt: skip
    np.testing.assert_array_equal(seen["right"], truth & found)
    np.testing.assert_array_equal(seen["false"], ~truth & found)
    np.testing.assert_array_equal(drawn[..., 3] == 0, ~truth & ~found)
    np.testing.assert_array_equal(picture(page, "b0-truth")[..., 3] != 0, truth)
    np.testing.assert_array_equal(picture(page, "b0-l1")[..., 3] != 0, found)
    assert picture(page, "b0-grey").shape == (64, 64, 4)


def test_a_second_annotator_stands_beside_the_truth(folder: Path, page: str) -> None:
    shown = disagreeing_slices(read_benchmark_files(folder))
    assert {one.volume for one in shown if one.second is not None} == {"v1"}
    place, one = next((place, one) for place, one in enumerate(shown) if one.second is not None)
    truth, second = one.truth != 0, one.second != 0
    np.testing.assert_array_equal(second, np.roll(truth, (2, -2), (0, 1)))
    np.testing.assert_array_equal(picture(page, f"b{place}-l0")[..., 3] != 0, second)
    drawn = picture(page, f"b{place}-e0")
    missed = (drawn[..., 3] > 0) & (drawn[..., 0] > drawn[..., 1] + 50) & (drawn[..., 1] < 60)
    np.testing.assert_array_equal(missed, truth & ~second)


class Kept(Figures):
    """Figures as they are before they are drawn."""

    def keep(self, name, figure, **options):
        self.drawn = {**getattr(self, "drawn", {}), name: figure}
        return super().keep(name, figure, **options)


def test_no_time_of_convergence_is_outside_the_drawing(folder: Path) -> None:
    files, figures = read_benchmark_files(folder), Kept()
    convergence_section(files, figures)
    panels = figures.drawn["convergence"].axes
    assert [axes.get_title("left") or axes.get_title() for axes in panels] == ["loss", "F1", "AUC-ROC"]
    for axes in panels:
        times = np.concatenate([line.get_xdata() for line in axes.lines])
        low, high = axes.get_xlim()
        assert low <= times.min()
        assert times.max() <= high


def test_cost_is_drawn_by_work_time_memory_and_energy(folder: Path) -> None:
    names = {path.stem for path in (folder / "figures").glob("cost-*.svg")}
    assert names == {f"cost-{what}" for what in ("gflop", "training", "prediction", "memory", "energy")}


@pytest.mark.slow
@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("cells", [1, 2])
def test_long_names_leave_room_for_the_drawings(cells: int, folder: Path, tmp_path: Path) -> None:
    copy = copy_of(folder, tmp_path)
    keep = [f"method-{number + 1}" for number in range(cells)]
    for name in TABLES:
        change(copy, name, lambda rows: [row for row in rows if row.get("cell", keep[0]) in keep])
    change(copy, "convergence", lambda rows: [row for row in rows if row["criterion"] == "loss"])
    known = json.loads((copy / "benchmark.json").read_text())
    known["cells"] = [
        {**cell, "label": "A network of many words, " * 2 + cell["label"]} for cell in known["cells"][:cells]
    ]
    (copy / "benchmark.json").write_text(json.dumps(known))
    made = benchmark_page(read_benchmark_files(copy))
    assert "ranking.svg" in made.figures


def test_drawings_follow_the_page_and_files_are_of_paper(folder: Path, page: str) -> None:
    text = (folder / "figures" / "ranking.svg").read_text()
    assert "var(" not in text
    drawn = section(page, "Ranking").split("</svg>")[0]
    assert "fill: var(--ink, #1b1f24)" in drawn
    assert "#1b1f24" not in drawn.replace("var(--ink, #1b1f24)", "")
    heat = section(page, "All scores").split('data-name="heat"')[1].split("</svg>")[0]
    assert "var(" not in heat


def test_errors_of_several_classes_are_told_apart() -> None:
    truth, found = np.array([[0, 1, 0, 1, 1, 255, 2]]), np.array([[0, 1, 1, 0, 2, 1, 2]])
    assert error_kinds(truth, found).tolist() == [[0, 1, 2, 3, 5, 6, 1]]
    assert error_kinds(truth, found, background=False).tolist() == [[1, 1, 5, 5, 5, 6, 1]]


@given(st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_dissent_is_the_part_of_methods_outside_the_majority(methods: int, seed: int) -> None:
    ids = np.random.default_rng(seed).integers(0, 3, (methods, 4, 4)).astype(np.uint8)
    expected = [[1 - max(np.bincount(ids[:, y, x])) / methods for x in range(4)] for y in range(4)]
    np.testing.assert_allclose(dissent(list(ids)), expected, atol=1e-12)
