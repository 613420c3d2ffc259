"""The best ensemble of a benchmark: what it is chosen by, what it is scored on, and that it predicts."""

from __future__ import annotations

import shutil
from pathlib import Path
from statistics import fmean

import numpy as np
import pytest
import yaml
from PIL import Image as Picture
from training_data import write_discs

from cristae.benchmark.chosen import write_best
from cristae.benchmark.ensemble_choice import choose_cells, criterion_of
from cristae.benchmark.ensemble_members import EnsembleMembers, MemberFold, ensemble_members
from cristae.benchmark.load import load_plan
from cristae.benchmark.run import benchmark
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.inference.prediction import Prediction, open_prediction
from cristae.progress import Progress
from cristae.recipe.benchmark_tables import read_json
from cristae.recipe.ensemble_file import flat_members, open_ensemble
from cristae.recipe.study import open_study
from cristae.workflows.predict import predict

PLAN = """\
name: widths
recipe: recipe.yaml
set: {sampling.per_epoch: 8, sampling.size: [16, 16]}
vary:
  model.widths: {narrow: [2, 4], wide: [4, 8]}
folds: {count: 2, by: slices}
budget: {epochs: 1}
rank_by: {metric: Jaccard, class: disc}
"""
CLASSES = Classes(names=("background", "disc"))
SHAPE = (12, 8, 8)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    write_discs(folder, epochs=1)
    (folder / "plan.yaml").write_text(PLAN)
    return benchmark(load_plan(folder / "plan.yaml"), out=folder / "done")


def held_out(done: Path, cells: list[str]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of each fold the maps (cells, N) and the truth (N), read from the files."""
    found = []
    for fold in (1, 2):
        folders = [done / "cells" / cell / f"fold-{fold}" / "held-out" / "validation" for cell in cells]
        names = sorted(path.name for path in folders[0].iterdir())
        boxes = [open_prediction(folders[0] / name).box for name in names]
        truth = [
            np.asarray(Picture.open(done.parent / "labels" / f"{z:02d}.png")).ravel() > 0
            for box in boxes
            for z in range(box.start[0], box.stop[0])
        ]
        maps = [
            [open_prediction(folder / name).probabilities[0].read().ravel() for name in names] for folder in folders
        ]
        found.append((np.array([np.concatenate(one) for one in maps], float), np.concatenate(truth)))
    return found


def jaccard(maps: np.ndarray, truth: np.ndarray, weights: tuple[int, ...]) -> float:
    found = np.tensordot(weights, maps, 1) / sum(weights) > 127.5
    return float((found & truth).sum() / (found | truth).sum())


def greedy(maps: np.ndarray, truth: np.ndarray) -> tuple[int, ...]:
    """Twenty steps; the best of all prefixes, the shortest of equals."""
    weights, known = (0,) * len(maps), list[tuple[float, tuple[int, ...]]]()
    for _ in range(20):
        tries = [tuple(w + (k == place) for k, w in enumerate(weights)) for place in range(len(maps))]
        values = [jaccard(maps, truth, one) for one in tries]
        weights = tries[int(np.argmax(values))]
        known.append((max(values), weights))
    return max(known, key=lambda one: (one[0], -sum(one[1])))[1]


def test_ensembles_of_folds_are_chosen_by_the_others(done: Path) -> None:
    rows = {(row["rule"], row["k"]): row for row in read_json(done / "results" / "ensembles.json")}
    ranking = [row for row in read_json(done / "results" / "ranking.json") if row["metric"] == "Jaccard"]
    cells = [row["cell"] for row in ranking if row["class"] == "disc"]
    first, second = held_out(done, cells)
    (chosen,) = [row for row in rows.values() if row["chosen"]]
    left_out = [jaccard(*first, greedy(*second)), jaccard(*second, greedy(*first))]
    assert chosen["value"] == pytest.approx(fmean(left_out), abs=1e-12)
    singles = [
        [jaccard(*fold, tuple(int(k == place) for k in range(2))) for place in range(2)] for fold in (first, second)
    ]
    by_other = [singles[0][int(np.argmax(singles[1]))], singles[1][int(np.argmax(singles[0]))]]
    assert rows["top-k", 1]["value"] == pytest.approx(fmean(by_other), abs=1e-12)
    both = fmean([jaccard(*first, (1, 1)), jaccard(*second, (1, 1))])
    assert rows["top-k", 2]["value"] == pytest.approx(both, abs=1e-12)
    assert chosen["against"] == cells[0]
    assert chosen["against_value"] == pytest.approx(ranking[cells.index(cells[0])]["mean"], abs=1e-12)
    weights = greedy(np.concatenate([first[0], second[0]], axis=1), np.concatenate([first[1], second[1]]))
    named = dict(zip(chosen["members"].split(", "), map(int, chosen["weights"].split(", ")), strict=True))
    assert tuple(named.get(cell, 0) for cell in cells) == weights
    file = yaml.safe_load((done / "ensemble.yaml").read_text())["members"]
    shares = {cell: [one.get("weight") for one in file if one["run"].split("/")[1] == cell] for cell in named}
    expected = {cell: [None if len(set(named.values())) == 1 else w] * 2 for cell, w in named.items()}
    assert shares == expected


def test_the_ensemble_predicts_and_the_page_names_it(done: Path, tmp_path: Path) -> None:
    members = flat_members([f"{done}:ensemble"])
    assert all(member.held_out for member in members)
    found = predict([f"{done}:ensemble"], done.parent / "image", out=tmp_path / "p.zarr", box="0:1,0:32,0:32",
                    voxel_size_nm=(50, 10, 10))  # fmt: skip
    assert len(found.attributes["runs"]) == len(members)
    (sentence,) = [row["text"] for row in read_json(done / "results" / "summary.json") if row["about"] == "ensemble"]
    page = (done / "report.html").read_text()
    assert sentence.split(" (")[0] in page
    assert "Each fold is scored with the members that the other folds choose" in page
    assert not (done / ".ensembles").exists()


def test_cells_that_cannot_predict_together_are_no_members(done: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(done / "cells", tmp_path / "cells")

    class Said(Progress):
        lines: list[str] = []  # of this test alone

        def say(self, message: str) -> None:
            self.lines.append(message)

    studies = {name: open_study(copy / name) for name in ("narrow", "wide")}
    found = ensemble_members(studies, Said())
    assert found is not None
    assert found.cells == ("narrow", "wide")
    assert Said.lines == []
    shutil.rmtree(copy / "wide" / "fold-1" / "held-out" / "validation")
    assert ensemble_members(studies, Said()) is None
    assert Said.lines[0].startswith("wide: is no member of ensembles with narrow: ")
    assert "there is no prediction here" in Said.lines[0]
    for recipe in copy.glob("wide/fold-*/recipe.yaml"):
        recipe.write_text(recipe.read_text().replace("threshold: 0.5", "threshold: 0.25"))
    assert ensemble_members(studies, Said()) is None
    assert "differ in predict.threshold" in Said.lines[1]


def test_the_best_cell_keeps_the_steps_that_its_ensemble_chose(done: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(done / "cells" / "wide", tmp_path / "wide")
    file = copy / "ensemble.yaml"
    file.write_text(file.read_text() + "postprocess: [{name: remove_small, min_size_vox: 7}]\n")
    write_best(tmp_path, open_study(copy))
    steps = open_ensemble(tmp_path / "best.yaml").members[0].postprocess or ()
    assert [step.model_dump()["min_size_vox"] for step in steps] == [7]


def members(truth: np.ndarray, maps: np.ndarray, folds: dict[int | None, dict[str, list[int]]]) -> EnsembleMembers:
    """In memory: each fold holds out slices of one stack; every cell says the same of a slice in all folds."""
    volume = Volume("stack", image_of_array(truth, name="stack"), (image_of_array(truth, name="stack"),))

    def fold_of(number: int | None, slices: dict[str, list[int]]) -> MemberFold:
        parts = {
            split: tuple(Part(volume, Box((z, 0, 0), (z + 1, *SHAPE[1:]))) for z in slices.get(split, ()))
            for split in ("validation", "test")
        }
        said = {
            split: tuple(tuple(_prediction(one, part.box) for part in own) for one in maps)
            for split, own in parts.items()
        }
        return MemberFold(number, parts, said)  # type: ignore[arg-type]

    cells = tuple("abcdef"[: len(maps)])
    return EnsembleMembers(cells, (), CLASSES, 0.5, tuple(fold_of(*one) for one in folds.items()))


def _prediction(maps: np.ndarray, box: Box) -> Prediction:
    return Prediction(Path("p.zarr"), (), (image_of_array(maps[box.slices]),), CLASSES, None, box, {})


A, B, C = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]
NESTED = {
    1: {"test": A, "validation": B},
    2: {"test": B, "validation": C},
    3: {"test": C, "validation": A},
}
FIXED = {1: {"test": [10, 11], "validation": [0, 1, 2]}, 2: {"test": [10, 11], "validation": [3, 4, 5]}}
ALONE = {None: {"validation": list(range(10))}}
ONE_SLICE = {None: {"validation": [3]}}


@pytest.mark.parametrize(
    ("folds", "split", "changed", "unmoved", "words"),
    [
        (NESTED, "test", A, [0], "validation regions"),
        (NESTED, "test", C, [2], "validation regions"),
        (FIXED, "test", [10, 11], [0, 1], "validation regions"),
        (NESTED, "validation", B, [0], "other folds"),
        (ALONE, "validation", [2, 3], [0], "other slices"),
        (ONE_SLICE, "validation", [9], [0], "same slices"),
    ],
)
def test_no_choice_sees_what_it_is_scored_on(
    folds: dict, split: str, changed: list[int], unmoved: list[int], words: str, tmp_path: Path
) -> None:
    """Where the truth is made what the worst member says, choices that are scored there stay, and all others change."""
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, SHAPE).astype(np.uint8)
    maps = np.array(
        [np.where(rng.random(SHAPE) < share, truth, 1 - truth) * 155 + 50 for share in (0.8, 0.7, 0.6, 0.5)]
    )
    turned = truth.copy()
    turned[changed] = maps[3, changed] > 127
    found = []
    for place, one in enumerate((truth, turned)):
        (tmp_path / str(place)).mkdir()
        own = members(one, maps.astype(np.uint8), folds)
        chosen = choose_cells(own, split, criterion_of(CLASSES, "Jaccard", "disc"), tmp_path / str(place))  # type: ignore[arg-type]
        assert chosen.chosen_on == words
        parts = [fold.parts[split][0] for fold in own.folds]  # type: ignore[index]
        z = changed[0] if words == "other slices" else 0
        found.append([at(part, z or part.box.start[0]) for at, part in zip(chosen.at, parts, strict=True)])
    same = [before == after for before, after in zip(*found, strict=True)]
    assert [place for place, one in enumerate(same) if one] == unmoved


def test_what_is_ranked_is_what_members_are_chosen_by() -> None:
    counts = np.array([[[50, 5], [10, 35]]])
    assert float(criterion_of(CLASSES, "Jaccard", "all")(counts)) == pytest.approx(35 / 50)
    assert float(criterion_of(CLASSES, "sensitivity_slice_mean", "disc")(counts)) == pytest.approx(35 / 45)
    assert float(criterion_of(CLASSES, "V_rand_fixed", "disc")(counts)) == pytest.approx(70 / 85)
    assert float(criterion_of(CLASSES, "mIoU", "all")(counts)) == pytest.approx((50 / 65 + 35 / 50) / 2)
    assert float(criterion_of(CLASSES, "overall_accuracy", "all")(counts)) == pytest.approx(0.85)
