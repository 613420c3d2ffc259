"""Volumes and labels from files, as a recipe describes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, InstanceLabels, MappedLabels, VolumeConfig
from cristae.data.instances import boundary, boundary_within
from cristae.data.open import open_data, open_volume, resolve_data
from cristae.data.volume import Volume
from cristae.errors import LabelError, MissingFileError, VolumeError, VoxelSizeError

SHAPE = (6, 12, 14)
TWO = {"names": ["background", "thing"]}


@pytest.fixture
def grey(tmp_path: Path) -> Path:
    """A folder `raw` with six slices 000.png to 005.png."""
    rng = np.random.default_rng(1)
    write_slices(tmp_path / "raw", rng.integers(0, 255, SHAPE, np.uint8))
    return tmp_path


def write_slices(folder: Path, stack: np.ndarray, names: list[str] | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(stack):
        Pillow.fromarray(plane).save(folder / (names[z] if names else f"{z:03d}.png"))


def ids(shape: tuple[int, int, int] = SHAPE, classes: int = 2) -> np.ndarray:
    return np.random.default_rng(2).integers(0, classes, shape, np.uint8)


def describe(labels: dict[str, Any] | None, classes: dict[str, Any] = TWO, **fields: Any) -> DataConfig:
    volume = {"name": "v", "image": "raw", "labels": labels} | fields
    return DataConfig.model_validate({"classes": classes, "volumes": [volume]})


def open_one(folder: Path, labels: dict[str, Any] | None, classes: dict[str, Any] = TWO, **fields: Any) -> Volume:
    (volume,) = open_data(describe(labels, classes, **fields), folder).volumes
    return volume


def test_a_stack_with_ids(grey: Path) -> None:
    write_slices(grey / "lab", ids())
    volume = open_one(grey, {"kind": "ids", "path": "lab"}, voxel_size_nm=(40, 5, 5))
    assert volume.image.shape == SHAPE
    assert volume.voxel_size_nm == (40, 5, 5)
    assert volume.valid is None
    assert volume.labelled_slices is None
    assert volume.labels[0].dtype == np.uint8
    assert np.array_equal(volume.labels[0].read(), ids())


def test_missing_label_files_are_unlabelled_slices(grey: Path) -> None:
    write_slices(grey / "lab", ids()[[1, 4]], ["001.png", "004.png"])
    volume = open_one(grey, {"kind": "ids", "path": "lab"})
    assert volume.labelled_slices == (1, 4)
    assert volume.valid is not None
    assert volume.valid.read().any(axis=(1, 2)).tolist() == [False, True, False, False, True, False]
    read = volume.labels[0].read()
    assert np.array_equal(read[[1, 4]], ids()[[1, 4]])
    assert not read[[0, 2, 3, 5]].any()


def test_a_short_label_stack_needs_its_slices(grey: Path) -> None:
    tifffile.imwrite(grey / "lab.tif", ids()[:2], photometric="minisblack")
    with pytest.raises(LabelError, match=r"2 x 12 x 14 voxels \(z, y, x\).*6 x 12 x 14.*\n.*slices: \[0"):
        open_one(grey, {"kind": "ids", "path": "lab.tif"})
    volume = open_one(grey, {"kind": "ids", "path": "lab.tif", "slices": [5, 2]})
    assert volume.labelled_slices == (2, 5)
    assert np.array_equal(volume.labels[0].read()[[5, 2]], ids()[:2])
    for slices, message in (([5], "lists 1 slices"), ([5, 6], r"names \[6\]"), ([5, 5], "twice")):
        with pytest.raises(LabelError, match=message):
            open_one(grey, {"kind": "ids", "path": "lab.tif", "slices": slices})


def test_label_files_for_one_stack_file_need_their_slices(grey: Path) -> None:
    tifffile.imwrite(grey / "raw.tif", ids(), photometric="minisblack")
    write_slices(grey / "lab", ids()[:1])
    with pytest.raises(LabelError, match=r"slices: \[0"):
        open_one(grey, {"kind": "ids", "path": "lab"}, image="raw.tif")
    volume = open_one(grey, {"kind": "ids", "path": "lab", "slices": [3]}, image="raw.tif")
    assert volume.labelled_slices == (3,)


def test_sizes_that_differ_are_shown_both(grey: Path) -> None:
    write_slices(grey / "lab", ids((6, 12, 13)))
    with pytest.raises(LabelError, match=r"12 x 13 voxels \(y, x\), but its image .* is 12 x 14"):
        open_one(grey, {"kind": "ids", "path": "lab"})


def test_a_label_file_without_its_image(grey: Path) -> None:
    write_slices(grey / "lab", ids()[:1], ["009.png"])
    with pytest.raises(LabelError, match=r"'009\.png' has no image"):
        open_one(grey, {"kind": "ids", "path": "lab"})


def test_an_unknown_value_names_file_slice_and_field(grey: Path) -> None:
    stack = ids()
    stack[4, 3, 3] = 9
    write_slices(grey / "lab", stack)
    volume = open_one(grey, {"kind": "ids", "path": "lab"})
    volume.labels[0].read(Box((0, 0, 0), (4, 12, 14)))
    with pytest.raises(LabelError, match=r"004\.png holds value 9 \(1 voxel\) in slice 4.*\n.*data\.volumes\.v\.lab"):
        volume.labels[0].read()


def test_a_mask_where_ids_were_promised_can_be_pasted(grey: Path) -> None:
    write_slices(grey / "lab", ids() * 255)
    volume = open_one(grey, {"kind": "ids", "path": "lab"})
    with pytest.raises(LabelError, match="looks like a mask") as error:
        volume.labels[0].read()
    import yaml

    pasted = yaml.safe_load(str(error.value).split("Describe it as one:\n")[1])["labels"]
    fixed = open_one(grey, pasted)
    assert np.array_equal(fixed.labels[0].read(), ids())


def test_values_mapped_to_unlabelled_are_not_valid(grey: Path) -> None:
    stack = ids(classes=3) * 100
    write_slices(grey / "lab", stack)
    values = {0: "background", 100: "thing", "150-255": "unlabelled"}
    volume = open_one(grey, {"kind": "values", "path": "lab", "values": values})
    assert volume.valid is not None
    assert np.array_equal(volume.valid.read(), stack != 200)
    assert np.array_equal(volume.labels[0].read(), stack == 100)
    assert volume.labelled_slices is None


def test_a_valid_mask_adds_to_what_is_unlabelled(grey: Path) -> None:
    write_slices(grey / "lab", ids()[1:], [f"{z:03d}.png" for z in range(1, 6)])
    cell = np.zeros(SHAPE, np.uint8)
    cell[:, 2:9] = 255
    write_slices(grey / "cell", cell)
    volume = open_one(grey, {"kind": "ids", "path": "lab"}, valid={"path": "cell"})
    expected = cell > 0
    expected[0] = False
    assert volume.valid is not None
    assert np.array_equal(volume.valid.read(), expected)
    (grey / "cell/003.png").unlink()
    with pytest.raises(LabelError, match="valid mask of 'v': no file for slice 3"):
        open_one(grey, {"kind": "ids", "path": "lab"}, valid={"path": "cell"})


def test_exclusive_masks_are_drawn_in_order(grey: Path) -> None:
    first, second = ids() * 255, np.roll(ids(), 1, 2) * 255
    write_slices(grey / "a", first)
    write_slices(grey / "b", 255 - second)
    masks = {"b": {"path": "b", "inside": 0}, "a": {"path": "a"}}
    volume = open_one(grey, {"kind": "masks", "masks": masks}, {"names": ["background", "a", "b"]})
    expected = np.where(second > 0, 2, 0)
    expected[first > 0] = 1
    assert np.array_equal(volume.labels[0].read(), expected)


def test_overlapping_masks_stay_apart(grey: Path) -> None:
    first, second = ids() * 255, np.roll(ids(), 1, 2) * 255
    write_slices(grey / "a", first)
    write_slices(grey / "b", second)
    classes = {"names": ["b", "a"], "exclusive": False}
    volume = open_one(grey, {"kind": "masks", "masks": {"a": {"path": "a"}, "b": {"path": "b"}}}, classes)
    assert np.array_equal(volume.labels[0].read(), second > 0)
    assert np.array_equal(volume.labels[1].read(), first > 0)
    assert volume.valid is None


def test_masks_must_cover_all_classes_and_the_same_slices(grey: Path) -> None:
    write_slices(grey / "a", ids())
    write_slices(grey / "b", ids())
    classes = {"names": ["a", "b"], "exclusive": False}
    with pytest.raises(LabelError, match=r"one mask for each class"):
        open_one(grey, {"kind": "masks", "masks": {"a": {"path": "a"}}}, classes)
    (grey / "b/002.png").unlink()
    with pytest.raises(LabelError, match="mask 'b' of 'v': no file for slice 2"):
        open_one(grey, {"kind": "masks", "masks": {"a": {"path": "a"}, "b": {"path": "b"}}}, classes)


def test_one_bit_and_anti_aliased_masks_in_one_folder(grey: Path) -> None:
    soft = np.random.default_rng(3).integers(0, 255, SHAPE, np.uint8)
    write_slices(grey / "m", soft)
    Pillow.fromarray(soft[2] > 127).save(grey / "m/002.png")
    volume = open_one(grey, {"kind": "masks", "masks": {"thing": {"path": "m", "inside": "128-255"}}})
    assert np.array_equal(volume.labels[0].read(), soft > 127)


def test_values_give_overlapping_masks_too(grey: Path) -> None:
    stack = ids(classes=3)
    write_slices(grey / "lab", stack)
    values = {0: "background", 1: "a", 2: "b"}
    classes = {"names": ["a", "b"], "exclusive": False}
    volume = open_one(grey, {"kind": "values", "path": "lab", "values": values}, classes)
    assert np.array_equal(volume.labels[0].read(), stack == 1)
    assert np.array_equal(volume.labels[1].read(), stack == 2)


def write_objects(folder: Path) -> np.ndarray:
    found = np.random.default_rng(4).integers(0, 3, (3, 4, 5), np.uint32).repeat(2, 0).repeat(3, 1).repeat(3, 2)
    found = found[:, :, :14] * np.uint32(100_000)
    tifffile.imwrite(folder / "ids.tif", found, photometric="minisblack")
    return found


@pytest.mark.parametrize("zero", ["background", "unlabelled"])
@pytest.mark.parametrize("width", [None, 12.0])
def test_objects_become_a_boundary(grey: Path, zero: str, width: float | None) -> None:
    found = write_objects(grey)
    labels = {"kind": "instances", "path": "ids.tif", "to": "boundary", "class_name": "thing", "zero": zero}
    volume = open_one(grey, labels | {"width_nm": width}, voxel_size_nm=(50, 4, 4))
    known = found != 0 if zero == "unlabelled" else np.ones(SHAPE, bool)
    whole = boundary(found, known) if width is None else boundary_within(found, known, (50, 4, 4), width)
    assert np.array_equal(volume.labels[0].read(), whole & known)
    assert (volume.valid is None) == (zero == "background")
    if volume.valid is not None:
        assert np.array_equal(volume.valid.read(), known)


def test_objects_become_foreground(grey: Path) -> None:
    found = write_objects(grey)
    volume = open_one(grey, {"kind": "instances", "path": "ids.tif", "to": "foreground", "class_name": "thing"})
    assert np.array_equal(volume.labels[0].read(), found != 0)


def test_a_boundary_width_needs_a_voxel_size_it_can_resolve(grey: Path) -> None:
    write_objects(grey)
    labels = {"kind": "instances", "path": "ids.tif", "to": "boundary", "class_name": "thing", "width_nm": 12}
    with pytest.raises(VoxelSizeError, match="boundary of 12 nm needs the voxel size"):
        open_one(grey, labels)
    with pytest.raises(LabelError, match="thinner than a voxel"):
        open_one(grey, labels, voxel_size_nm=(20, 20, 20))
    with pytest.raises(LabelError, match="one class 'thing'"):
        open_one(grey, labels, {"names": ["background", "thing", "more"]}, voxel_size_nm=(4, 4, 4))


LAB = {"path": "lab", "match": "number"}
IN_ONE, IN_TWO = LAB | {"inside": 1}, LAB | {"inside": "1-2"}
OBJECTS = LAB | {"kind": "instances", "to": "boundary", "class_name": "b"}
EXCLUSIVE = {"names": ["none", "a", "b"]}
OVERLAPPING = {"names": ["a", "b"], "exclusive": False}
ONE = {"names": ["none", "b"]}
KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "ids": (LAB | {"kind": "ids"}, EXCLUSIVE),
    "values": (LAB | {"kind": "values", "values": {0: "none", 1: "unlabelled", 2: "b"}}, EXCLUSIVE),
    "masks": ({"kind": "masks", "masks": {"a": IN_ONE, "b": IN_TWO}}, OVERLAPPING),
    "drawn": ({"kind": "masks", "masks": {"b": IN_TWO, "a": IN_ONE}}, EXCLUSIVE),
    "touching": (OBJECTS | {"zero": "unlabelled"}, ONE),
    "width": (OBJECTS | {"width_nm": 33}, ONE),
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Volume, list[np.ndarray]]]:
    """A partly labelled stack opened with each kind of labels, and everything read whole."""
    folder = tmp_path_factory.mktemp("kinds")
    write_slices(folder / "raw", ids())
    blocky = ids((6, 4, 5), 3).repeat(3, 1).repeat(3, 2)[:, :, :14]
    write_slices(folder / "lab", blocky[[0, 1, 2, 4]], ["l0.png", "l1.png", "l2.png", "l4.png"])
    found = {}
    for kind, (labels, classes) in KINDS.items():
        volume = open_one(folder, labels, classes, voxel_size_nm=(30, 10, 8))
        found[kind] = volume, [image.read() for image in parts_of(volume)]
    return found


def parts_of(volume: Volume) -> list[Any]:
    return [*volume.labels, volume.valid]


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    start = tuple(draw(st.integers(0, size - 1)) for size in SHAPE)
    stop = tuple(draw(st.integers(a + 1, size)) for a, size in zip(start, SHAPE, strict=True))
    return Box(start, stop)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
@given(box=boxes())
@settings(max_examples=25, deadline=None)
def test_a_block_reads_like_the_same_place_of_the_whole(
    volumes: dict[str, tuple[Volume, list[np.ndarray]]], kind: str, box: Box
) -> None:
    volume, wholes = volumes[kind]
    for image, whole in zip(parts_of(volume), wholes, strict=True):
        block = image.read(box)
        assert block.dtype == np.uint8
        assert block.shape == box.shape
        assert np.array_equal(block, whole[box.slices])


def test_every_kind_reads_something(volumes: dict[str, tuple[Volume, list[np.ndarray]]]) -> None:
    for volume, wholes in volumes.values():
        assert volume.labelled_slices == (0, 1, 2, 4)
        for whole in wholes:
            assert 0 < whole.mean() < 2
        assert not any(whole[[3, 5]].any() for whole in wholes)


def test_unrelated_images_become_volumes_of_their_own(tmp_path: Path) -> None:
    sizes = {"A0": (5, 6), "B0": (7, 4), "A1": (5, 5)}
    for name, size in sizes.items():
        write_slices(tmp_path / "im", np.full((1, *size), 9, np.uint8), [f"{name}.png"])
    write_slices(tmp_path / "lab", np.ones((1, 5, 6), np.uint8), ["A0.png"])
    write_slices(tmp_path / "lab", np.ones((1, 7, 4), np.uint8), ["B0.png"])
    entry = {"name": "t", "image": "im", "kind": "images", "labels": {"kind": "ids", "path": "lab"}}
    data = {"classes": TWO, "volumes": [entry], "train": [{"volume": "t"}], "test": []}
    dataset = open_data(DataConfig.model_validate(data), tmp_path)
    by_name = {volume.name: volume for volume in dataset.volumes}
    assert {name: volume.image.shape for name, volume in by_name.items()} == {
        f"t/{name}": (1, *size) for name, size in sizes.items()
    }
    assert by_name["t/A0"].labelled_slices is None
    assert by_name["t/A1"].labelled_slices == ()
    assert by_name["t/A1"].valid is not None
    assert not by_name["t/A1"].valid.read().any()
    assert len(dataset.train) == 3


def test_images_of_one_name_in_two_folders_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_slices(tmp_path / folder, ids()[:1])
    with pytest.raises(VolumeError, match="two images are called '000'"):
        open_one(tmp_path, None, image="*/*.png", kind="images")


def test_stated_and_found_voxel_size_must_agree(grey: Path) -> None:
    def open_sized(size: tuple[float, float, float], **fields: Any) -> Volume:
        return open_one(grey, None, image="v.tif", voxel_size_nm=size, **fields)

    metadata = {"spacing": 0.04, "unit": "um", "axes": "ZYX"}
    tifffile.imwrite(grey / "v.tif", ids(), imagej=True, resolution=(1e3 / 5, 1e3 / 5), metadata=metadata)
    assert open_sized((40, 5, 5.004)).voxel_size_nm == (40, 5, 5.004)
    with pytest.raises(VoxelSizeError, match=r"40 x 5 x 6 nm \(z, y, x\) for 'v', but .*v\.tif says 40 x 5 x 5 nm"):
        open_sized((40, 5, 6))
    assert open_sized((40, 5, 6), trust_voxel_size=True).voxel_size_nm == (40, 5, 6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_infinity_in_an_image(tmp_path: Path, bad: float) -> None:
    stack = np.zeros(SHAPE, np.float32)
    stack[3, 2, 1] = bad
    tifffile.imwrite(tmp_path / "raw.tif", stack, photometric="minisblack")
    image = open_volume(tmp_path / "raw.tif").image
    image.read(Box((0, 0, 0), (3, 12, 14)))
    with pytest.raises(VolumeError, match=r"raw\.tif holds 1 voxels that are NaN or infinite, first in slice 3"):
        image.read()


def test_colour_images_are_refused_but_grey_saved_as_colour_is_grey(tmp_path: Path) -> None:
    plane = ids()[0] * 99
    Pillow.fromarray(np.stack([plane] * 3, -1)).save(tmp_path / "grey.png")
    Pillow.fromarray(np.stack([plane, plane, plane * 0], -1)).save(tmp_path / "color.png")
    image = open_volume(tmp_path / "grey.png").image
    assert image.colors == 1
    assert np.array_equal(image.read(), plane[None])
    with pytest.raises(VolumeError, match="is a colour image"):
        open_volume(tmp_path / "color.png").image.read()


def test_weights_are_read_as_float32_and_checked(grey: Path) -> None:
    write_slices(grey / "lab", ids())
    weight = np.random.default_rng(5).random(SHAPE)
    tifffile.imwrite(grey / "w.tif", weight, photometric="minisblack")
    volume = open_one(grey, {"path": "lab"} | {"kind": "ids"}, weight="w.tif")
    assert volume.weight is not None
    assert volume.weight.dtype == np.float32
    assert np.array_equal(volume.weight.read(), weight.astype(np.float32))
    weight[1, 1, 1] = -1
    tifffile.imwrite(grey / "bad.tif", weight, photometric="minisblack")
    broken = open_one(grey, {"kind": "ids", "path": "lab"}, weight="bad.tif").weight
    assert broken is not None
    with pytest.raises(VolumeError, match="finite numbers of 0 or more"):
        broken.read()


def test_open_volume_takes_a_label_path_or_a_description(grey: Path) -> None:
    write_slices(grey / "lab", ids())
    classes = Classes(names=("background", "thing"))
    for labels in (grey / "lab", str(grey / "lab"), IdLabels(path=str(grey / "lab"))):
        volume = open_volume(grey / "raw", labels=labels, classes=classes)
        assert volume.name == "raw"
        assert np.array_equal(volume.labels[0].read(), ids())
    mapped = MappedLabels(path=str(grey / "lab"), values={"0": "thing", "1": "background"})
    assert np.array_equal(open_volume(grey / "raw", labels=mapped, classes=classes).labels[0].read(), 1 - ids())
    with pytest.raises(LabelError, match="need `classes`"):
        open_volume(grey / "raw", labels=grey / "lab")
    with pytest.raises(MissingFileError):
        open_volume(grey / "nothing")


def test_two_volumes_of_one_name(grey: Path) -> None:
    volume = VolumeConfig(name="v", image="raw")
    data = DataConfig(classes=Classes(names=("a", "b")), volumes=(volume, volume))
    with pytest.raises(VolumeError, match="two volumes are called 'v'"):
        open_data(data, grey)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data.model_copy(update={"volumes": ()}), r"data\.volumes: is empty"),
        (lambda data: data.model_copy(update={"classes": None}), r"data\.classes: is missing"),
        (lambda data: data.model_copy(update={"set": "liver"}), "no public set 'liver'; known are axondeepseg-sem"),
        (lambda data: data.model_copy(update={"task": "t"}), r"name the set with data\.set"),
    ],
)
def test_incomplete_descriptions(grey: Path, change: Callable[[DataConfig], DataConfig], message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        resolve_data(change(describe(None)), grey)


def test_parts_of_a_recipe_are_opened_and_kept_apart(grey: Path) -> None:
    write_slices(grey / "lab", ids())
    data = describe({"kind": "ids", "path": "lab"}).model_dump(by_alias=True)
    data |= {"train": [{"volume": "v", "slices": "0:3"}], "validate": [{"volume": "v", "slices": [4, 5]}]}
    dataset = open_data(DataConfig.model_validate(data), grey)
    assert [part.box for part in dataset.train] == [Box((0, 0, 0), (3, 12, 14))]
    assert [part.box for part in dataset.validate] == [Box((4, 0, 0), (6, 12, 14))]
    assert dataset.warnings == ()
    data["test"] = [{"volume": "v", "box": "2:3,0:4,:"}]
    with pytest.raises(VolumeError, match=r"data\.train and data\.test overlap in 'v'.*slice 2"):
        open_data(DataConfig.model_validate(data), grey)


def two_volumes(first: str, second: str, labels: str = "lab.tif", **fields: Any) -> DataConfig:
    """Volume 'a' for training and volume 'b' for validation."""
    same = {"labels": {"kind": "ids", "path": labels}} | fields
    volumes = [{"name": "a", "image": first} | same, {"name": "b", "image": second} | same]
    data = {"classes": TWO, "volumes": volumes, "train": [{"volume": "a"}], "validate": [{"volume": "b"}]}
    return DataConfig.model_validate(data)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("raw", "./raw"),
        ("raw", "raw/*.png"),
        ("raw", "link"),
        ("raw.tif", "./raw.tif"),
        ("raw.h5", "raw.h5:/a"),
        ("raw.h5:a", "raw/../raw.h5:/a"),
    ],
)
def test_one_file_under_two_names_is_not_kept_apart(grey: Path, first: str, second: str) -> None:
    tifffile.imwrite(grey / "lab.tif", ids(), photometric="minisblack")
    (grey / "link").symlink_to(grey / "raw", target_is_directory=True)
    tifffile.imwrite(grey / "raw.tif", ids(), photometric="minisblack")
    with h5py.File(grey / "raw.h5", "w") as file:
        file["a"] = ids()
    with pytest.raises(VolumeError, match=r"overlap in 'a' and 'b', which are the same file.*slices 0 to 5"):
        open_data(two_volumes(first, second), grey)


def test_one_flat_image_under_two_names_is_not_kept_apart(grey: Path) -> None:
    write_slices(grey / "lab", ids())
    with pytest.raises(VolumeError, match=r"overlap in 'a/000' and 'b/000', which are the same file"):
        open_data(two_volumes("raw", "./raw", labels="lab", kind="images"), grey)


def test_two_arrays_of_one_file_are_two_volumes(grey: Path) -> None:
    tifffile.imwrite(grey / "lab.tif", ids(), photometric="minisblack")
    with h5py.File(grey / "raw.h5", "w") as file:
        file["a"], file["b"] = ids(), ids()
    assert len(open_data(two_volumes("raw.h5:/a", "raw.h5:/b"), grey).volumes) == 2


def test_nothing_is_read_before_it_is_needed(grey: Path) -> None:
    write_slices(grey / "lab", np.full(SHAPE, 9, np.uint8))
    volume = open_one(grey, {"kind": "ids", "path": "lab"})
    with pytest.raises(LabelError):
        volume.labels[0].read(Box((0, 0, 0), (1, 1, 1)))


def test_colours_of_objects_count_as_ids(tmp_path: Path) -> None:
    colors = np.zeros((6, 6, 4), np.uint8)
    colors[1:3, 1:5] = (200, 10, 10, 255)
    colors[3:5, 1:5] = (10, 200, 10, 255)
    Pillow.fromarray(colors).save(tmp_path / "objects.png")
    Pillow.fromarray(colors[..., 0]).save(tmp_path / "raw.png")
    labels = InstanceLabels(path=str(tmp_path / "objects.png"), to="boundary", class_name="edge", zero="unlabelled")
    volume = open_volume(tmp_path / "raw.png", labels=labels, classes=Classes(names=("background", "edge")))
    expected = np.zeros((1, 6, 6), np.uint8)
    expected[0, 2:4, 1:5] = 1
    assert np.array_equal(volume.labels[0].read(), expected)
