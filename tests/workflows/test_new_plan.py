"""The starter plan beside a proposed recipe: what it compares, in which folds, and that it can be planned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_data import write_discs
from typer.testing import CliRunner

import cristae
from cristae.benchmark.cells import cells_of
from cristae.benchmark.fair import PlannedCell, plan_cells
from cristae.benchmark.load import load_plan
from cristae.cli.main import app
from cristae.errors import OutputExistsError
from cristae.progress import Progress
from cristae.recipe.proposal.options import ProposalOptions
from cristae.workflows.new_recipe import new_recipe

UNMEASURED = ProposalOptions(measure=False)


def planned(path: Path) -> tuple[PlannedCell, ...]:
    """All that a benchmark does before its first training."""
    plan = load_plan(path)
    return plan_cells(plan, cells_of(plan), Progress())[0]


@pytest.mark.slow
@pytest.mark.slow
def test_slices_are_compared_alone_and_in_folds(tmp_path: Path) -> None:
    write_discs(tmp_path)
    place = tmp_path / "plans" / "plan.yaml"
    place.parent.mkdir()
    image, labels = str(tmp_path / "image"), str(tmp_path / "labels")
    out = new_recipe(tmp_path / "discs.yaml", image=image, labels=labels, plan=place, options=UNMEASURED)
    plan = load_plan(place)
    assert (plan.name, plan.recipe) == (f"{cristae.load_recipe(out).name}-networks", "../discs.yaml")
    cells = planned(place)
    assert [one.cell.label for one in cells] == ["U-Net", "SegET", "EM-net V1 2X", "ResNet"]
    assert cells[0].cell.recipe.model == cristae.load_recipe(out).model, "the first is the recipe's own"
    assert plan.folds is not None
    assert {len(one.study.members) for one in cells} == {plan.folds.count}
    assert plan.folds.by == "slices"
    with pytest.raises(OutputExistsError, match=r"plan\.yaml"):
        new_recipe(tmp_path / "other.yaml", image=image, labels=labels, plan=place, options=UNMEASURED)
    assert not (tmp_path / "other.yaml").exists()


def test_boxes_are_compared_with_slices(tmp_path: Path) -> None:
    labels = np.zeros((30, 48, 48), np.uint8)
    labels[:, 8:24, 8:40], labels[10:20, 30:40, 10:40] = 1, 1
    grey = (80 + 100 * labels + np.linspace(0, 60, 48)).astype(np.uint8)
    cristae.write_image(cristae.image_of_array(grey, voxel_size_nm=(8, 8, 8)), tmp_path / "grey.tif")
    cristae.write_image(cristae.image_of_array(labels), tmp_path / "ids.tif")
    options = ProposalOptions(measure=False, minutes=240)
    image, truth = str(tmp_path / "grey.tif"), str(tmp_path / "ids.tif")
    new_recipe(tmp_path / "a.yaml", image=image, labels=truth, plan=tmp_path / "plan.yaml", options=options)
    cells = planned(tmp_path / "plan.yaml")
    assert [(one.cell.label, one.cell.recipe.network.ndim) for one in cells] == [
        ("residual U-Net, 3D", 3),
        ("U-Net, 3D", 3),
        ("U-Net, slice by slice", 2),
    ]


def test_without_data_or_labels_a_plan_is_valid_all_the_same(tmp_path: Path) -> None:
    write_discs(tmp_path)
    arguments = ["recipe", "new", "--image", str(tmp_path / "image"), "--no-measure"]
    files = ["--out", str(tmp_path / "new.yaml"), "--plan", str(tmp_path / "plan.yaml")]
    found = CliRunner().invoke(app, [*arguments, *files])
    assert found.exit_code == 0, found.output
    plan = load_plan(tmp_path / "plan.yaml")
    assert plan.folds is not None
    assert plan.folds.count == "auto"
    assert next(iter(plan.cells)) == "U-Net"
