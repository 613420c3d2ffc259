"""Truth, prediction, masks and cells lie at the same place in every verb that brings files together."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import cell, make_run, textured

from cristae.analysis.config import AnalysisOptions
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import Image, VoxelSize, image_of_array
from cristae.errors import CristaeError, ScoreError, VolumeError, VoxelSizeError
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.inference.prediction import open_prediction
from cristae.progress import Progress
from cristae.workflows.agree import agree
from cristae.workflows.analyze import analyze
from cristae.workflows.convert import convert
from cristae.workflows.evaluate import evaluate
from cristae.workflows.predict import predict

SHAPE = (4, 20, 24)
SIZE: VoxelSize = (40.0, 10.0, 10.0)
TWO = Classes(names=("background", "mito"))
IDS = np.zeros(SHAPE, np.uint8)
IDS[1:3, 4:12, 5:20] = 1


class Heard(Progress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, message: str) -> None:
        self.warned.append(message)


def placed(
    size: VoxelSize | None = SIZE, origin: VoxelSize | None = None, orientation: str | None = None, name: str = "a"
) -> Image:
    image = image_of_array(IDS, voxel_size_nm=size, name=name)
    return replace(image, origin_nm=origin, orientation=orientation)


Meet = Callable[[Image, Image, VoxelSize | None, Progress], object]
MEET: dict[str, Meet] = {
    "truth and prediction": lambda a, b, size, heard: evaluate(
        a, b, classes=TWO, options=ScoreOptions(voxel_size_nm=size), progress=heard
    ),
    "truth and mask": lambda a, b, size, heard: evaluate(
        placed(None), a, classes=TWO, mask=b, options=ScoreOptions(voxel_size_nm=size), progress=heard
    ),
    "annotators": lambda a, b, size, heard: agree({"a": a, "b": b}, classes=TWO, progress=heard),
    "annotators and mask": lambda a, b, size, heard: agree(
        {"a": a, "c": placed(None)}, classes=TWO, mask=b, progress=heard
    ),
    "labels and cell": lambda a, b, size, heard: analyze(
        a, AnalysisOptions(voxel_size_nm=size), classes=TWO, cell=b, progress=heard
    ),
    "labels and cell from elsewhere": lambda a, b, size, heard: analyze(
        a, AnalysisOptions(voxel_size_nm=size), classes=TWO, cell_from=b, progress=heard
    ),
}


def about_places(heard: Heard) -> list[str]:
    return [warning for warning in heard.warned if "begins at" in warning]


@pytest.mark.parametrize("meet", MEET)
def test_files_that_meet_have_one_place(meet: str) -> None:
    heard = Heard()
    MEET[meet](placed(origin=(0.0, 0.0, 0.0)), placed(origin=(19.0, 4.0, 0.0), name="b"), None, heard)
    MEET[meet](placed(), placed(None, name="b"), None, heard)
    MEET[meet](placed(orientation="RAS"), placed(name="b"), None, heard)
    assert not about_places(heard)
    MEET[meet](placed(origin=(0.0, 0.0, 0.0)), placed(origin=(400.0, 0.0, 0.0), name="b"), None, heard)
    (warning,) = about_places(heard)
    assert "10, 0, 0 voxels away" in warning
    with pytest.raises(VolumeError, match="one is flipped or turned"):
        MEET[meet](placed(orientation="RAS"), placed(orientation="LPS", name="b"), None, heard)


@pytest.mark.parametrize("meet", MEET)
@pytest.mark.parametrize(
    ("size", "word"),
    [
        ((0.04, 0.01, 0.01), "um and nm"),
        ((400.0, 100.0, 100.0), "angstrom and nm"),
        ((10.0, 10.0, 40.0), "x, y, z"),
        ((40.0, 11.0, 10.0), "40 x 11 x 10"),
    ],
)
def test_other_voxel_sizes_are_refused(meet: str, size: VoxelSize, word: str) -> None:
    with pytest.raises(VoxelSizeError, match=word) as caught:
        MEET[meet](placed(), placed(size, name="b"), None, Progress())
    assert "--voxel-size-nm" in str(caught.value)


def test_the_command_decides_where_a_file_slipped() -> None:
    heard = Heard()
    for meet in ("truth and prediction", "truth and mask", "labels and cell"):
        MEET[meet](placed(), placed((0.04, 0.01, 0.01), name="b"), SIZE, heard)
        assert "no likely voxel size; 40 x 10 x 10 nm is taken" in " ".join(heard.warned)
        heard.warned.clear()


def test_shapes_that_differ_tell_the_crop_by_its_origin(tmp_path: Path) -> None:
    whole = placed(origin=(0.0, 0.0, 0.0))
    part = replace(image_of_array(IDS[1:3, 5:15, 4:], voxel_size_nm=SIZE, name="part"), origin_nm=(40.0, 50.0, 40.0))
    hint = "covers the box 1:3,5:15,4:24"
    with pytest.raises(ScoreError, match=hint):
        evaluate(part, whole, classes=TWO)
    with pytest.raises(ScoreError, match=hint):
        evaluate(whole, whole, classes=TWO, mask=part)
    with pytest.raises(ScoreError, match=hint):
        agree({"a": whole, "b": part}, classes=TWO)
    turned = image_of_array(IDS.transpose(2, 1, 0).copy(), name="turned")
    with pytest.raises(ScoreError, match="in the order x, y, z"):
        evaluate(turned, whole, classes=TWO)


# Predictions


def test_a_prediction_of_a_part_lies_where_its_volume_does(tmp_path: Path) -> None:
    run, grey = make_run(tmp_path / "run"), textured()
    volume = cell(grey)
    for number, origin in enumerate((None, (400.0, 100.0, 100.0))):
        image = replace(volume.image, origin_nm=origin)
        part = predict([run], replace(volume, image=image), out=tmp_path / f"{number}.zarr", box="1:3,20:66,:")
        truth = replace(image_of_array((grey > 128).view(np.uint8), voxel_size_nm=SIZE), origin_nm=origin)
        heard = Heard()
        evaluate(part, truth, classes=TWO, progress=heard)
        analyze(part, cell=truth, progress=heard)
        assert not about_places(heard)
        evaluate(part, replace(truth, origin_nm=(9e4, 0.0, 0.0)), classes=TWO, progress=heard)
        assert len(about_places(heard)) == 1


def test_a_mask_of_another_place_is_refused_or_warned_of(tmp_path: Path) -> None:
    run, volume = make_run(tmp_path / "run"), cell()
    inside = np.ones(volume.image.shape, np.uint8)

    def masked(size: VoxelSize | None, origin: VoxelSize | None = None, voxels: np.ndarray = inside) -> Progress:
        name = f"{abs(hash((size, origin, voxels.shape)))}"
        mask = replace(image_of_array(voxels, voxel_size_nm=size), origin_nm=origin)
        write_image(mask, tmp_path / f"{name}.zarr")
        heard, image = Heard(), replace(volume.image, origin_nm=(400.0, 0.0, 0.0))
        placed_volume = replace(volume, image=image)
        predict([run], placed_volume, out=tmp_path / f"o{name}.zarr", mask=tmp_path / f"{name}.zarr", progress=heard)
        return heard

    assert not about_places(masked(SIZE, (400.0, 0.0, 0.0)))  # type: ignore[arg-type]
    assert len(about_places(masked(SIZE, (800.0, 0.0, 0.0)))) == 1  # type: ignore[arg-type]
    with pytest.raises(VoxelSizeError, match=r"the mask .*um and nm"):
        masked((0.04, 0.01, 0.01))
    with pytest.raises(VolumeError, match=r"covers the box 1:3,0:75,0:110 .* of the volume"):
        masked(SIZE, (440.0, 0.0, 0.0), inside[1:3])


FAR = {
    "um for nm": ((0.04, 0.01, 0.01), ("um and nm", "--voxel-size-nm (40 10 10")),
    "1 um": ((1e3, 1e3, 1e3), ("a factor of ", "--voxel-size-nm (40 10 10")),
    "nm for angstrom": ((400.0, 100.0, 100.0), ("angstrom and nm", "correct the one that is wrong")),
    "nine times": ((40.0, 95.0, 95.0), ("a factor of 8", "predict a volume like those")),
}


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("slip", FAR)
def test_voxels_far_from_the_runs_are_refused(tmp_path: Path, slip: str, ndim: int) -> None:
    model = "{name: unet_bn, widths: [4, 8]}" if ndim == 2 else "{name: unet_3d, base: 4, depth: 3}"
    patch, block = ((32, 32), "block_vox: [1, 32, 48]") if ndim == 2 else ((8, 32, 32), "block_vox: [8, 32, 48]")
    run = make_run(tmp_path / "run", model=model, patch_size=patch, predict=block)
    size, words = FAR[slip]
    with pytest.raises(VoxelSizeError, match="the run was trained at 40 x 10 x 10 nm") as caught:
        predict([run], cell(voxel_size_nm=size), out=tmp_path / "out.zarr")
    assert all(word in str(caught.value) for word in words)
    if "--voxel-size-nm (" in words[1]:
        heard = Heard()
        made = predict([run], cell(voxel_size_nm=size), out=tmp_path / "out.zarr", voxel_size_nm=SIZE, progress=heard)
        assert made.voxel_size_nm == SIZE
        assert any("no likely voxel size" in warning for warning in heard.warned)


def test_axes_and_slices_of_a_slip_are_refused_in_3d_and_a_run_may_have_slipped_too(tmp_path: Path) -> None:
    model, patch = "{name: unet_3d, base: 4, depth: 3}", (8, 32, 32)
    run = make_run(tmp_path / "run", model=model, patch_size=patch, predict="block_vox: [8, 32, 48]")
    for size, word in (((10.0, 10.0, 40.0), "x, y, z"), ((0.04, 10.0, 10.0), "along z")):
        with pytest.raises(VoxelSizeError, match=word):
            predict([run], cell(voxel_size_nm=size), out=tmp_path / "out.zarr")
    slipped = make_run(tmp_path / "slipped", voxel_size_nm=(0.04, 0.01, 0.01))
    with pytest.raises(VoxelSizeError, match="the run's is no likely one: correct `voxel_size_nm` in its recipe"):
        predict([slipped], cell(), out=tmp_path / "out.zarr")


def test_pyramid_levels_and_thicker_slices_are_resampled_as_before(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    for number, size in enumerate(((40.0, 20.0, 20.0), (400.0, 10.0, 10.0), (4.0, 10.0, 10.0))):
        predict([run], cell(textured((4, 40, 56)), voxel_size_nm=size), out=tmp_path / f"{number}.zarr")
        assert open_prediction(tmp_path / f"{number}.zarr").voxel_size_nm == size


def test_what_is_typed_is_no_slip(tmp_path: Path) -> None:
    write_image(placed(None), tmp_path / "a.tif")
    wrong = (0.04, 0.01, 0.01)
    run, unknown = make_run(tmp_path / "run"), cell(voxel_size_nm=None)
    verbs: list[Callable[[], object]] = [
        lambda: convert(tmp_path / "a.tif", tmp_path / "b.mrc", voxel_size_nm=wrong),
        lambda: evaluate(placed(None), placed(None), classes=TWO, options=ScoreOptions(voxel_size_nm=wrong)),
        lambda: analyze(placed(None), AnalysisOptions(voxel_size_nm=wrong), classes=TWO),
        lambda: predict([run], unknown, out=tmp_path / "o.zarr", voxel_size_nm=wrong),
    ]
    for verb in verbs:
        with pytest.raises(CristaeError, match=r"um was meant where nm is said, it is 40 x 10 x 10 nm"):
            verb()
