"""The verb `analyze`: what it opens, writes and refuses."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction
from typer.testing import CliRunner

import cristae
from cristae.analysis.config import AnalysisOptions
from cristae.cli.main import app
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.image import image_of_array
from cristae.errors import LabelError, MissingFileError, OutputExistsError, RunError, ScoreError, VoxelSizeError
from cristae.progress import Progress
from cristae.recipe.load import parse_recipe
from cristae.workflows.analyze import analyze

CELL = Classes(names=("background", "cell", "mito", "granule"))
SIZE = (50.0, 10.0, 10.0)
SHAPE = (6, 40, 44)


def labels_of_a_cell():
    labels = np.zeros(SHAPE, np.uint8)
    labels[:, 4:36, 4:40] = 1
    labels[1:4, 8:14, 8:14] = 2
    labels[2:4, 20:30, 10:14] = 2
    labels[1:5, 24:30, 30:34] = 3
    return labels


@pytest.fixture
def predicted(tmp_path):
    return write_prediction(tmp_path / "cell.zarr", labels_of_a_cell()[None], CELL)


def recipe_at(folder, data):
    text = f"name: r\ndata:\n{data}\nmodel: {{name: unet_bn}}\nloss: {{name: cross_entropy_dice}}\n"
    (folder / "recipe.yaml").write_text(text)
    return parse_recipe(text, "recipe.yaml").read_from(folder / "recipe.yaml")


GREY = """\
  classes: {names: [background, cell, mito, granule]}
  volumes:
    - name: other
      image: other.tif
      labels: {kind: values, path: other-labels.tif, values: {0: background, 60: cell, 120: mito, 180: granule}}
"""


def rows_of(path: Path):
    return list(csv.DictReader(path.read_text().splitlines()))


def run(*arguments):
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


def test_the_folder_of_a_prediction(predicted, tmp_path):
    out = tmp_path / "sizes"
    found = analyze(predicted, out=out, options=AnalysisOptions(keep_objects=True))
    assert sorted(path.name for path in out.iterdir()) == [
        "analysis.json",
        "classes.csv",
        "objects.csv",
        "objects.zarr",
        "report.html",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cell.zarr", "sizes"]
    classes = {row["class"]: row for row in rows_of(out / "classes.csv")}
    labels = labels_of_a_cell()
    cell_voxels = (labels > 0).sum()
    for name, number in (("cell", 1), ("mito", 2), ("granule", 3)):
        voxels = (labels == number).sum()
        assert int(classes[name]["voxels"]) == voxels
        assert float(classes[name]["volume_um3"]) == pytest.approx(voxels * 5e-6)
        assert float(classes[name]["fraction_of_cell"]) == pytest.approx(voxels / cell_voxels)
    assert classes["mito"]["objects"] == "2"
    mito = [row for row in rows_of(out / "objects.csv") if row["class"] == "mito"]
    assert [row["voxels"] for row in mito] == ["108", "80"]
    assert [mito[0][key] for key in ("z0", "y0", "x0", "z1", "y1", "x1")] == ["1", "8", "8", "4", "14", "14"]
    assert [float(mito[0][key]) for key in ("z_nm", "y_nm", "x_nm")] == [100.0, 105.0, 105.0]
    assert mito[0]["touches_border"] == "false"
    assert float(mito[0]["distance_to_membrane_nm"]) == 40.0
    about = json.loads((out / "analysis.json").read_text())
    assert about["voxel_size_nm"] == [50, 10, 10]
    assert about["cells"] == [{"cell": 1, "voxels": cell_voxels, "volume_um3": pytest.approx(cell_voxels * 5e-6)}]
    assert about["rules"]["cell"] == "all voxels that are not background, as one cell"
    ids = open_image(f"{out}/objects.zarr:/labels/mito")
    assert ids.voxel_size_nm == SIZE
    np.testing.assert_array_equal(ids.read() > 0, labels == 2)
    assert ids.read()[2, 25, 12] == 2
    assert found.path == out
    assert found.fraction("mito", "granule") == pytest.approx((labels > 1).sum() / cell_voxels)


def test_the_same_bytes_again(predicted, tmp_path):
    for name in ("first", "second"):
        analyze(predicted, out=tmp_path / name, options=AnalysisOptions(split=("mito",)))
    for file in ("classes.csv", "objects.csv", "analysis.json", "report.html"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()


def test_hand_worked_fractions(tmp_path):
    labels = np.array([1, 1, 1, 1, 1, 1, 2, 2, 2, 3, 2, 2, 2], np.uint8).reshape(1, 1, 13)
    mask = (np.arange(13) < 10).astype(np.uint8).reshape(1, 1, 13)
    found = analyze(image_of_array(labels, voxel_size_nm=SIZE), classes=CELL, cell=image_of_array(mask))
    assert found.path is None
    assert found.fraction("mito") == pytest.approx(0.3)
    assert found.fraction("granule") == pytest.approx(0.1)
    assert found.fraction("mito", "granule") == pytest.approx(0.4)
    with pytest.raises(ScoreError, match="class nothing was not measured"):
        found.fraction("nothing")


def test_labels_with_a_recipe(tmp_path):
    """A file with the recipe's grey values, the same as class ids, and a volume of the recipe by its name."""
    labels = labels_of_a_cell()
    recipe = recipe_at(tmp_path, GREY)
    for name, values in (("grey.tif", labels * 60), ("ids.tif", labels), ("other-labels.tif", labels * 60)):
        tifffile.imwrite(tmp_path / name, values, photometric="minisblack")
    tifffile.imwrite(tmp_path / "other.tif", labels, photometric="minisblack")
    sources = (tmp_path / "grey.tif", tmp_path / "ids.tif", "other")
    results = [analyze(source, recipe=recipe, options=AnalysisOptions(voxel_size_nm=SIZE)) for source in sources]
    for result in results:
        assert [row.voxels for row in result.classes] == [(labels == number).sum() for number in (1, 2, 3)]
    assert results[0].objects == results[1].objects == results[2].objects


def test_the_mask_of_the_volume_fits_a_prediction_of_its_part(tmp_path):
    labels, box = labels_of_a_cell(), Box((1, 5, 3), (6, 35, 44))
    part = np.ascontiguousarray(labels[box.slices])
    write_prediction(tmp_path / "part.zarr", part[None], CELL, box=box, volume_shape=SHAPE)
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :20, :30] = 4
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric="minisblack")
    found = analyze(tmp_path / "part.zarr", cell=tmp_path / "mask.tif")
    inside = labels[box.slices][mask[box.slices] > 0]
    assert [one.cell for one in found.cells] == [4]
    assert found.cells[0].voxels == inside.size
    assert found.fraction("mito") == pytest.approx((inside == 2).sum() / inside.size)


def test_a_cell_from_elsewhere(predicted, tmp_path):
    labels = labels_of_a_cell()
    known = np.zeros(SHAPE, np.uint16)
    known[:, 10:30, 10:20], known[0, 0, 0] = 3, 8
    tifffile.imwrite(tmp_path / "known.tif", known, photometric="minisblack")
    found = analyze(predicted, cell_from=tmp_path / "known.tif", options=AnalysisOptions(margin_nm=30))
    assert [(one.cell, one.voxels) for one in found.cells] == [(3, found.cells[0].voxels), (8, 0)]
    grown = np.zeros(SHAPE, bool)
    for y, x in np.ndindex(7, 7):
        if (y - 3) ** 2 + (x - 3) ** 2 <= 9:
            grown[:, 7 + y : 27 + y, 7 + x : 17 + x] = True
    assert found.cells[0].voxels == (grown & (labels > 0)).sum()
    assert all(np.isnan(row.fraction_of_cell) for row in found.classes if row.cell == 8)
    with pytest.raises(ScoreError, match="there are 2 cells"):
        found.fraction("mito")


def test_a_map_without_any_class_has_no_fractions(tmp_path):
    found = analyze(image_of_array(np.zeros(SHAPE, np.uint8), voxel_size_nm=SIZE), classes=CELL)
    assert found.cells[0].voxels == 0
    assert all(np.isnan(row.fraction_of_cell) for row in found.classes)


class Heard(Progress):
    def __init__(self):
        self.warnings = []

    def warn(self, message):
        self.warnings.append(message)


def test_a_share_that_says_nothing_is_told():
    heard = Heard()
    labels = (labels_of_a_cell() == 2).astype(np.uint8)
    binary = Classes(names=("background", "mito"))
    found = analyze(image_of_array(labels, voxel_size_nm=SIZE), classes=binary, progress=heard)
    assert found.fraction("mito") == 1
    assert "Give the cell with --cell" in heard.warnings[0]


def test_what_is_refused(predicted, tmp_path):
    labels = labels_of_a_cell()
    tifffile.imwrite(tmp_path / "labels.tif", labels, photometric="minisblack")
    tifffile.imwrite(tmp_path / "small.tif", labels[:3], photometric="minisblack")
    tifffile.imwrite(tmp_path / "empty.tif", labels * 0, photometric="minisblack")
    running = write_prediction(tmp_path / "running.zarr", labels[None], CELL, status="running")
    nameless = write_prediction(tmp_path / "nameless.zarr", labels[None], CELL, voxel_size_nm=None)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "file").touch()
    before = sorted(tmp_path.iterdir())
    cases = [
        (VoxelSizeError, "--voxel-size-nm", [nameless], {}),
        (VoxelSizeError, "voxel sizes differ", [predicted, AnalysisOptions(voxel_size_nm=(1.0, 1.0, 1.0))], {}),
        (ScoreError, "what the values mean", [tmp_path / "labels.tif", AnalysisOptions(voxel_size_nm=SIZE)], {}),
        (ScoreError, r"shape \(3, 40, 44\)", [predicted], {"cell": tmp_path / "small.tif"}),
        (ScoreError, "is empty", [predicted], {"cell": tmp_path / "empty.tif"}),
        (ScoreError, "is empty", [predicted], {"cell_from": tmp_path / "empty.tif"}),
        (ScoreError, "give one of them", [predicted], {"cell": "a", "cell_from": "b"}),
        (LabelError, "no class 'mitos'", [predicted, AnalysisOptions(split=("mitos",))], {}),
        (LabelError, "no class 'background'", [predicted, AnalysisOptions(membrane="background")], {}),
        (RunError, "not finished", [running], {}),
        (RunError, "not finished", [f"{running}:/labels/segmentation"], {"classes": CELL}),
        (MissingFileError, "does not exist", [tmp_path / "nothing.tif"], {}),
        (OutputExistsError, "exists already", [predicted], {"out": tmp_path / "there"}),
    ]
    for kind, words, arguments, options in cases:
        with pytest.raises(kind, match=words):
            analyze(*arguments, **{"out": tmp_path / "sizes"} | options)
    assert sorted(tmp_path.iterdir()) == before


def test_an_interrupted_analysis_leaves_nothing(predicted, tmp_path):
    class Impatient(Progress):
        def task(self, title, total, *, unit="", done=0):
            if title.startswith("Measuring granule"):
                raise KeyboardInterrupt
            return super().task(title, total, unit=unit, done=done)

    with pytest.raises(KeyboardInterrupt):
        analyze(predicted, out=tmp_path / "new" / "sizes", progress=Impatient())
    assert [path.name for path in tmp_path.iterdir()] == ["cell.zarr"]


def test_the_command(predicted, tmp_path):
    shown = run(predicted, "--split", "mito", "--membrane", "cell", "--min-um3", "0.0005", "--out", tmp_path / "sizes")
    assert shown.exit_code == 0, shown.output
    assert "mito" in shown.stdout
    assert str(tmp_path / "sizes") in shown.stdout
    printed = json.loads(run(predicted, "--json").stdout)
    assert [row["class"] for row in printed["classes"]] == ["cell", "mito", "granule"]
    assert printed["objects"][0]["distance_to_membrane_nm"] is not None
    for wrong in (["--connectivity", "8"], ["--min-um3", "-1"], ["--keep-objects"], ["--split", "nothing"]):
        assert run(predicted, *wrong).exit_code == 2


def test_the_public_name():
    assert cristae.analyze is analyze
