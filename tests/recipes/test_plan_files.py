"""Every plan of `recipes/plans` makes the cells of its paper's table, each a valid recipe."""

from pathlib import Path

import pytest

from cristae.benchmark.cells import cells_of
from cristae.benchmark.load import load_plan
from cristae.recipe.consistency import check_consistency

FOLDER = Path(__file__).parents[2] / "recipes"
FILES = sorted((FOLDER / "plans").glob("*.yaml"))
SEGET = ["FCN-8s", "SegNet", "U-Net", "DeepLabv3+", "SegET"]
STELLAR = [
    "U-Net", "U-Net BN", "PReLU-net", "VGG", "ResNet", "SegNet", "EM-net V1 2X", "EM-net V1 4X", "EM-net V1 BN",
    "EM-net V1 BN 2X", "EM-net V2", "EM-net V2 2X", "EM-net V2 4X", "CDeep3M",
]  # fmt: skip
CELLS: dict[str, list[str]] = {
    **{f"seget-{name}-networks": SEGET for name in ("synapse", "microtubules", "centriole", "granules", "golgi")},
    "seget-weights": [
        "none", "one weight for all patches", "B/F up to 1000", "B/F up to 2000", "B/F without a cap",
        "B/F in the Jaccard distance too",
    ],
    "dense-cell-ablations": ["2D-3D + 3x3x3", "no 3x3x3 convolutions", "no multi-loss", "no 3D pyramid"],
    "dense-cell-baselines": [
        "2D-3D + 3x3x3", "U-Net", "3D U-Net Thin", "3D U-Net Thick", "DeepLab + DRN", "DeepLab + ResNet101",
    ],
    "fib-sem-networks": ["U-Net, patch", "U-Net, + F", "EfficientUNet, patch", "EfficientUNet, + F"],
    "fib-sem-forests": [
        f"{features}, {trees}" for features in ("ilastik", "weka") for trees in (10, 50, 100, 200)
    ],
    "em-stellar-networks": STELLAR,
    "em-stellar-losses": ["cross-entropy", "Jaccard log", "focal", "Dice"],
    "em-stellar-criteria": ["loss", "accuracy", "AUC", "F1"],
    "em-stellar-batch-sizes": ["2", "4", "8", "16"],
    "emnet-cardiac-em-stellar": STELLAR,
    "emnet-cardiac-quick": ["U-Net", "SegET", "EM-net V1 2X", "ResNet", "FCN-8s"],
    "cdeep3m-mito-labels": ["cdeep3m-mito-labels"],
}  # fmt: skip
"""The rows of each table, and of each quick look at a public set."""


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_plan_file_makes_the_cells_of_its_table(path: Path) -> None:
    plan = load_plan(path)
    assert plan.name == path.stem
    assert (path.parent / plan.base).resolve().parent == FOLDER, "plans vary recipes that are there"
    cells = cells_of(plan)
    assert [cell.label for cell in cells] == CELLS[plan.name]
    for cell in cells:
        check_consistency(cell.recipe)


def test_the_readme_names_all_plans() -> None:
    assert {path.stem for path in FILES} == set(CELLS)
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert {name for name in CELLS if f"`plans/{name}.yaml`" in table} == set(CELLS)


def test_numbers_of_the_papers() -> None:
    """Parameters of the ablations and baselines of Guay et al., and trainings of Meyer et al."""
    plans = {path.stem: load_plan(path) for path in FILES}
    found = plans["fib-sem-networks"].instances
    assert (getattr(found, "number", None), getattr(found, "best", None)) == (15, 10)
    cells = {cell.label: cell.recipe for cell in cells_of(plans["dense-cell-baselines"])}
    assert {label: (recipe.training.epochs, recipe.sampling.size) for label, recipe in cells.items()} == {
        "2D-3D + 3x3x3": (40, (5, 296, 296)),
        "U-Net": (100, (388, 388)),
        "3D U-Net Thin": (100, (5, 296, 296)),
        "3D U-Net Thick": (100, (16, 180, 180)),
        "DeepLab + DRN": (200, (572, 572)),
        "DeepLab + ResNet101": (200, (572, 572)),
    }
