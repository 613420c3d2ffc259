"""Opening a segmentation: what values mean, and what is refused instead of being guessed."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from prediction_files import write_prediction

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.errors import LabelError, MissingFileError, ScoreError, VoxelSizeError
from cristae.evaluation.comparison import align
from cristae.evaluation.scoring.evaluation import predictions_in
from cristae.evaluation.scoring.settings import ScoreOptions, thresholds_of
from cristae.evaluation.segmentation import Meaning, Segmentation, open_segmentation, open_segmentations
from cristae.inference.prediction import open_prediction
from cristae.progress import Progress
from cristae.recipe.load import parse_recipe
from cristae.recipe.recipe import Recipe

BINARY = Classes(names=("background", "mito"))
SHAPE = (2, 6, 7)
VALUES = """\
name: r
data:
  classes: {names: [background, mito]}
  volumes:
    - name: anna
      image: anna.tif
      labels: {kind: values, path: anna.tif, values: {0: unlabelled, 1: background, 2: mito}}
    - name: bert
      image: bert.tif
      labels: {kind: values, path: bert.tif, values: {0: unlabelled, 1: background, 2: mito}}
model: {name: unet_bn}
"""


class Lines(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "r.yaml").write_text(VALUES)
    values = np.full(SHAPE, 1, np.uint8)
    values[:, 2:4, 2:5] = 2
    save(tmp_path / "anna.tif", values)
    values[0, 0, 0] = 0
    save(tmp_path / "bert.tif", values)
    return parse_recipe(VALUES, "r.yaml").read_from(tmp_path / "r.yaml")


def save(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, array, photometric="minisblack")


def test_an_annotation_holds_label_values_or_class_ids_and_its_values_decide(recipe: Recipe, tmp_path: Path) -> None:
    save(tmp_path / "values.tif", np.array([[[0, 1, 2, 2]]], np.uint8))
    one = open_segmentation(tmp_path / "values.tif", Meaning(recipe=recipe))
    assert one.labels[0].read().ravel().tolist()[1:] == [0, 1, 1]
    assert one.valid is not None
    assert one.valid.read().ravel().tolist() == [0, 1, 1, 1]
    save(tmp_path / "either.tif", np.array([[[0, 1, 1, 0]]], np.uint8))
    with pytest.raises(ScoreError, match="could be class ids or label values"):
        open_segmentation(tmp_path / "either.tif", Meaning(recipe=recipe))
    save(tmp_path / "neither.tif", np.array([[[0, 1, 7, 0]]], np.uint8))
    with pytest.raises(LabelError, match="7"):
        open_segmentation(tmp_path / "neither.tif", Meaning(recipe=recipe)).labels[0].read()


def test_class_ids_are_reported_where_the_recipe_has_other_values(tmp_path: Path) -> None:
    text = VALUES.replace("0: unlabelled, 1: background, 2: mito", "9: unlabelled, 0: background, 255: mito")
    (tmp_path / "r.yaml").write_text(text)
    other = parse_recipe(text, "r.yaml").read_from(tmp_path / "r.yaml")
    save(tmp_path / "ids.tif", np.array([[[0, 1, 1, 0]]], np.uint8))
    lines = Lines()
    one = open_segmentation(tmp_path / "ids.tif", Meaning(recipe=other), progress=lines)
    assert one.labels[0].read().ravel().tolist() == [0, 1, 1, 0]
    assert any("read as class ids" in line for line in lines.said)


def test_a_prediction_with_voxels_left_out_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    truth = open_segmentations("anna", Meaning(recipe=recipe), role="truth")[0]
    with pytest.raises(ScoreError, match=r"bert.*leaves voxels without a class.*cristae agree"):
        align(truth, open_segmentation("bert", Meaning(recipe=recipe), role="prediction"))
    save(tmp_path / "copy.tif", tifffile.imread(tmp_path / "bert.tif"))
    with pytest.raises(ScoreError, match="unlabelled"):
        open_segmentation(tmp_path / "copy.tif", Meaning(recipe=recipe), role="prediction")
    labels = image_of_array(np.zeros(SHAPE, np.uint8))
    masked = Volume("v", labels, (labels,), image_of_array(np.ones(SHAPE, np.uint8)))
    with pytest.raises(ScoreError, match="leaves voxels without a class"):
        align(truth, open_segmentation(masked, Meaning(classes=BINARY), role="prediction"))


def test_an_open_prediction_is_no_truth_either(tmp_path: Path) -> None:
    path = write_prediction(tmp_path / "p.zarr", np.zeros((1, *SHAPE), np.uint8), BINARY)
    for source in (path, open_prediction(path)):
        with pytest.raises(ScoreError, match=r"p\.zarr:/labels/segmentation"):
            open_segmentations(source, Meaning(classes=BINARY), role="truth")


def test_the_number_of_label_images_fits_the_classes() -> None:
    image = image_of_array(np.zeros(SHAPE, np.uint8))
    masks = Classes(names=("membrane", "mito"), exclusive=False)
    with pytest.raises(ScoreError, match=r"has 1 label images.*membrane, mito have 2"):
        Segmentation("v", image.path, masks, (image,))


def test_methods_keep_their_full_names_where_short_ones_would_be_equal(tmp_path: Path) -> None:
    for name in ("Truth", "unet", "unet.tif", "other.zarr"):
        (tmp_path / name).mkdir()
        for z in range(2):
            save(tmp_path / name / f"{z}.tif", np.zeros((4, 4), np.uint8))
    found = predictions_in(tmp_path, tmp_path / "Truth")
    assert {name: path.name for name, path in found.items()} == {
        "other": "other.zarr",
        "unet": "unet",
        "unet.tif": "unet.tif",
    }


def test_options_take_paths_as_text_and_refuse_what_is_no_voxel_size(tmp_path: Path) -> None:
    (tmp_path / "Truth").mkdir()
    with pytest.raises(ScoreError, match="no sub-folder"):
        predictions_in(str(tmp_path), tmp_path / "Truth")
    with pytest.raises(VoxelSizeError, match="three edges"):
        ScoreOptions(voxel_size_nm=(1, 2))  # type: ignore[arg-type]
    with pytest.raises(MissingFileError):
        thresholds_of(str(tmp_path / "none.csv"), "run")
