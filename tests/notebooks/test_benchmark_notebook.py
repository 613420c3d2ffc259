"""The notebook is run in a kernel of its own, as a person runs it: the fields of its forms are filled in."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import pytest

import cristae

pytest.importorskip("ipykernel", reason="notebooks are run by ipykernel, which is not installed here")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "benchmark.ipynb"
FIELD = r"^{name} = (.+?)  # @param "
TINY = {
    "synthetic_shape": "8, 64, 64", "classes": "alpha granule", "unet": False, "seget": True, "emnet": False,
    "resnet": True, "fcn8s": False, "folds": 2, "minutes": 0.001, "patches": 4,
}  # fmt: skip
VOXEL_NM = (40.0, 10.0, 10.0)
"""Of the synthetic volume."""


def filled_in(**values: object) -> Any:
    """The notebook with these values in the fields of its forms."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    for name, value in values.items():
        field = re.compile(FIELD.format(name=name), flags=re.MULTILINE)
        cells = [cell for cell in notebook.cells if cell.cell_type == "code" and field.search(cell.source)]
        assert len(cells) == 1, f"there is one field '{name}'"
        (cell,) = cells
        cell.source = field.sub(lambda found: found[0].replace(found[1], repr(value), 1), cell.source)  # noqa: B023
    return notebook


def run(notebook: Any, folder: Path, *, until: str | None = None) -> None:
    """Run its cells in a fresh kernel that works in a folder."""
    if until is not None:
        last = next(number for number, cell in enumerate(notebook.cells) if cell.id == until)
        notebook.cells = notebook.cells[: last + 1]
    nbclient.NotebookClient(
        notebook, timeout=None, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()


def said(notebook: Any, cell_id: str) -> str:
    """What a cell has printed."""
    cell = next(cell for cell in notebook.cells if cell.id == cell_id)
    return "".join(one.text for one in cell.outputs if one.output_type == "stream" and one.name == "stdout")


def shown(notebook: Any, cell_id: str, kind: str) -> list[str]:
    """What a cell has displayed of this kind."""
    cell = next(cell for cell in notebook.cells if cell.id == cell_id)
    return [one.data[kind] for one in cell.outputs if one.output_type == "display_data" and kind in one.data]


@pytest.fixture(scope="module", autouse=True)
def places(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Where kernels keep what is theirs."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
            patch.setenv(name, str(tmp_path_factory.mktemp(name.lower())))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notebook")


@pytest.fixture(scope="module")
def done(folder: Path) -> Any:
    """The notebook, run with the synthetic volume and tiny settings."""
    notebook = filled_in(**TINY)
    run(notebook, folder)
    return notebook


def test_networks_are_ranked(done: Any, folder: Path) -> None:
    (table,) = shown(done, "page", "text/markdown")
    rows = [[part.strip() for part in line.split("|")] for line in table.splitlines()[2:]]
    written = json.loads((folder / "which-network" / "first" / "results" / "ranking.json").read_text())
    ranking = [row for row in written if (row["metric"], row["class"]) == ("Jaccard", "all")]
    assert {row[1] for row in rows} == {"SegET", "ResNet"}
    assert [row[:3] for row in rows] == [["1 to 2", row["label"], f"{row['mean']:.3f}"] for row in ranking]
    assert all(row[3:] == ["more folds are needed", "validation"] for row in rows), "of two folds there is no interval"


def test_the_pages_are_shown_in_the_notebook(done: Any, folder: Path) -> None:
    work = folder / "which-network"
    for cell, page in (("page", work / "first" / "report.html"), ("predict", work / "segmentation-report.html")):
        (frame,) = shown(done, cell, "text/html")
        (content,) = re.findall(r'<iframe srcdoc="([^"]*)"', frame)
        assert html.unescape(content) == page.read_text(encoding="utf-8")


def test_the_volume_is_segmented_with_its_voxel_size(done: Any, folder: Path) -> None:
    work = folder / "which-network"
    prediction = cristae.open_prediction(work / "segmentation.zarr")
    assert (prediction.labels[0].shape, prediction.voxel_size_nm) == ((8, 64, 64), VOXEL_NM)
    assert prediction.classes.names == ("background", "alpha granule")
    saved = cristae.open_image(work / "segmentation-segmentation.tif")
    assert saved.voxel_size_nm == VOXEL_NM
    assert (saved.read() == prediction.labels[0].read()).all()


def test_progress_is_plain_lines(done: Any) -> None:
    begun = re.findall(r"^Job (\d) of 4: (.*)$", said(done, "run"), flags=re.MULTILINE)
    assert [number for number, _ in begun] == ["1", "2", "3", "4"]
    assert {key for _, key in begun} == {f"{cell}/fold-{fold}" for cell in ("seget", "resnet") for fold in (1, 2)}
    assert "\r" not in said(done, "run"), "no bars"


def test_the_recipe_is_of_the_chosen_class(done: Any, folder: Path) -> None:
    recipe = cristae.load_recipe(folder / "which-network" / "recipe.yaml")
    (volume,) = recipe.data.volumes
    assert volume.labels is not None
    assert volume.labels.kind == "masks"
    assert {name: mask.inside for name, mask in volume.labels.masks.items()} == {"alpha granule": "nonzero"}
    assert said(done, "recipe").rstrip().endswith("training can begin")


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        ({"data": "my files", "image": "no.tif"}, "MissingFileError", "no.tif: does not exist"),
        ({"data": "my files", "labels": "a.tif, b.tif"}, "ValueError", "1 classes, 2 label files: give one for each"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(values: dict[str, Any], name: str, message: str, tmp_path: Path) -> None:
    notebook = filled_in(**values)
    with pytest.raises(nbclient.exceptions.CellExecutionError) as told:
        run(notebook, tmp_path, until="data")
    assert told.value.ename == name
    assert told.value.evalue.startswith(message)
    (error,) = [one for cell in notebook.cells for one in cell.get("outputs", ()) if one.output_type == "error"]
    assert "Traceback" not in "".join(error.traceback)


def test_the_committed_notebook_holds_no_outputs_and_fits_on_screens() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert all(cell.source.startswith(f"# @title {n}. ") for n, cell in enumerate(cells, start=1))
    assert max(len(cell.source.splitlines()) for cell in cells) <= 40
