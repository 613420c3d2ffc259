"""`recipe new` looks at the files and writes a recipe that opens them."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from cristae.data.box import Box
from cristae.data.formats import write_image
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale
from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.errors import LabelError, MissingFileError, OutputExistsError, RecipeError
from cristae.progress import Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.proposal.options import ProposalOptions
from cristae.recipe.recipe import Recipe
from cristae.workflows.new_recipe import new_recipe as propose_recipe
from cristae.workflows.recipes import check_recipe

UNMEASURED = ProposalOptions(measure=False)
"""How long a training takes is no matter of these tests."""
new_recipe = partial(propose_recipe, options=UNMEASURED)
RNG = np.random.default_rng(0)


def stack(path: Path, voxels: np.ndarray, voxel_size_nm: tuple[float, float, float] | None = None) -> str:
    write_image(image_of_array(voxels, voxel_size_nm=voxel_size_nm), path)
    return str(path)


def grey(depth: int, side: int = 64) -> np.ndarray:
    return RNG.integers(0, 255, (depth, side, side), dtype=np.uint8)


def labels_of(depth: int, values: list[int], side: int = 64) -> np.ndarray:
    voxels = np.full((depth, side, side), values[0], np.uint8)
    for place, value in enumerate(values[1:], start=1):
        voxels[:, 8 * place : 8 * place + 6, 10:50] = value
    return voxels


class Warnings(Progress):
    """Progress that keeps what it should warn of."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warn(self, message: str) -> None:
        self.said.append(message)


def started(tmp_path: Path, **arguments: object) -> tuple[str, Recipe]:
    """The text of a starter recipe, and the recipe after its data were opened."""
    out = new_recipe(tmp_path / "new.yaml", **arguments)  # type: ignore[arg-type]
    return out.read_text(), check_recipe(out)


def folder(path: Path, slices: Iterable[np.ndarray | Image.Image], ending: str = "png", **options: object) -> str:
    """A folder of slices s_0, s_1, ..."""
    path.mkdir()
    for z, one in enumerate(slices):
        picture = one if isinstance(one, Image.Image) else Image.fromarray(one)
        picture.save(path / f"s_{z}.{ending}", **options)  # type: ignore[arg-type]
    return str(path)


def test_ids_keep_their_order_and_the_split_has_a_gap(tmp_path: Path) -> None:
    image = stack(tmp_path / "cell.tif", grey(20), (40.0, 6.0, 6.0))
    labels = stack(tmp_path / "labels.tif", labels_of(20, [0, 1, 2]))
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert recipe.name == "cell"
    assert recipe.data.classes is not None
    assert recipe.data.classes.names == ("background", "class-1", "class-2")
    assert (recipe.data.train[0].slices, recipe.data.validate_[0].slices) == ("0:14", "16:20")
    assert "voxel size from the file: [40, 6, 6] nm" in text
    assert "value 1, 5.86% of the labelled voxels" in text
    assert "image: cell.tif" in text


def test_a_mask_becomes_background_and_foreground(tmp_path: Path) -> None:
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", labels_of(10, [0, 255]))
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert recipe.data.volumes[0].labels.values == {"0": "background", "255": "foreground"}  # type: ignore[union-attr]
    assert "# voxel_size_nm: [50, 4, 4]" in text


def test_without_a_zero_the_commonest_value_is_the_background(tmp_path: Path) -> None:
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", labels_of(10, [159, 32, 96]))
    _, recipe = started(tmp_path, image=image, labels=labels)
    values = recipe.data.volumes[0].labels.values  # type: ignore[union-attr]
    assert values == {"159": "background", "32": "class-32", "96": "class-96"}


def test_a_few_label_files_are_paired_by_number(tmp_path: Path) -> None:
    for folder, name in (("stack", "raw"), ("drawn", "seg")):
        (tmp_path / folder).mkdir()
        for z in range(12):
            if folder == "stack" or z in (1, 4, 9):
                voxels = grey(1)[0] if folder == "stack" else labels_of(1, [0, 255])[0]
                Image.fromarray(voxels).save(tmp_path / folder / f"{name}_{z:02}.png")
    text, recipe = started(tmp_path, image=str(tmp_path / "stack"), labels=str(tmp_path / "drawn"))
    assert "3 of 12 slices have labels" in text
    assert recipe.data.volumes[0].labels.match == "number"  # type: ignore[union-attr]
    assert (recipe.data.train[0].slices, recipe.data.validate_[0].slices) == ((1, 4), "9:10")


def test_the_rule_of_the_names_is_written_with_an_example(tmp_path: Path) -> None:
    for folder, name in (("stack", "case_{:03}_0000"), ("drawn", "case_{:03}")):
        (tmp_path / folder).mkdir()
        for z in range(10):
            if folder == "stack" or z in (1, 4, 7):
                voxels = grey(1)[0] if folder == "stack" else labels_of(1, [0, 1])[0]
                Image.fromarray(voxels).save(tmp_path / folder / f"{name.format(z)}.png")
    text, recipe = started(tmp_path, image=str(tmp_path / "stack"), labels=str(tmp_path / "drawn"))
    assert "match: part  # how label files find their image file: 'case_001.png' is for 'case_001_0000'" in text
    assert (recipe.data.train[0].slices, recipe.data.validate_[0].slices) == ((1, 4), "7:8")
    (tmp_path / "drawn" / "case_007.png").rename(tmp_path / "drawn" / "last.png")
    with pytest.raises(LabelError, match=r"(?s)^labels: .*No rule surely pairs.*'case_000_0000\.png' for the label of"):
        new_recipe(tmp_path / "other.yaml", image=str(tmp_path / "stack"), labels=str(tmp_path / "drawn"))


def test_a_short_label_stack_needs_its_slices_and_takes_them(tmp_path: Path) -> None:
    image, labels = stack(tmp_path / "a.tif", grey(12)), stack(tmp_path / "b.tif", labels_of(3, [0, 1]))
    with pytest.raises(LabelError, match="--label-slices"):
        new_recipe(tmp_path / "new.yaml", image=image, labels=labels)
    assert not (tmp_path / "new.yaml").exists()
    _, recipe = started(tmp_path, image=image, labels=labels, label_slices=[0, 5, 11])
    assert recipe.data.volumes[0].labels.slices == (0, 5, 11)  # type: ignore[union-attr]
    assert open_data(recipe.data, tmp_path).volumes[0].labelled_slices == (0, 5, 11)


def test_empty_slices_of_a_full_label_stack_are_not_taken_for_annotation(tmp_path: Path) -> None:
    voxels = labels_of(20, [0, 1])
    voxels[[z for z in range(20) if z not in (3, 8, 13)]] = 0
    image, labels = stack(tmp_path / "a.tif", grey(20)), stack(tmp_path / "b.tif", voxels)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert "Only 3 of them hold anything but background" in text
    assert (recipe.data.train[0].slices, recipe.data.validate_[0].slices) == ((3, 8), "13:14")


def test_one_slice_is_split_into_an_upper_and_a_lower_part(tmp_path: Path) -> None:
    voxels = np.zeros((1, 200, 200), np.uint8)
    voxels[:, 20:180:10, 20:180] = 1
    image, labels = stack(tmp_path / "a.tif", grey(1, 200)), stack(tmp_path / "b.tif", voxels)
    _, recipe = started(tmp_path, image=image, labels=labels)
    assert [recipe.data.train[0].box, recipe.data.validate_[0].box] == ["0:1,0:130,:", "0:1,150:200,:"]


def test_many_values_are_objects(tmp_path: Path) -> None:
    ids = np.arange(10 * 64, dtype=np.uint16).reshape(10, 8, 8).repeat(8, axis=1).repeat(8, axis=2)
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", ids)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert recipe.data.volumes[0].labels.kind == "instances"  # type: ignore[union-attr]
    assert (
        "# To tell apart objects that touch: `interior_and_boundary` or `affinities`.\n        to: foreground" in text
    )


def test_colours_are_mapped_by_their_code(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for z in range(4):
            voxels = grey(1)[0]
            if folder == "labels":
                voxels = np.zeros((64, 64, 3), np.uint8)
                voxels[10:20] = (0, 40, 255)
            Image.fromarray(voxels).save(tmp_path / folder / f"{z}.png")
    _, recipe = started(tmp_path, image=str(tmp_path / "images"), labels=str(tmp_path / "labels"))
    values = recipe.data.volumes[0].labels.values  # type: ignore[union-attr]
    assert values == {"#000000": "background", "#0028ff": "foreground"}


def test_images_of_different_sizes_are_split_by_name(tmp_path: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        for number, side in enumerate((64, 70, 80)):
            voxels = grey(1, side)[0] if folder == "images" else labels_of(1, [0, 255], side)[0]
            Image.fromarray(voxels).save(tmp_path / folder / f"tile{number}.png")
    _, recipe = started(tmp_path, image=str(tmp_path / "images"), labels=str(tmp_path / "labels"))
    assert recipe.data.volumes[0].kind == "images"
    assert (recipe.data.train[0].images, recipe.data.validate_[0].images) == (("tile0", "tile1"), ("tile2",))


def test_without_labels_the_place_to_write_them_is_shown(tmp_path: Path) -> None:
    image = stack(tmp_path / "a.tif", grey(10))
    out = new_recipe(tmp_path / "new.yaml", image=image)
    assert "Write where your labels are" in out.read_text()
    with pytest.raises(MissingFileError, match=r"labels\.tif"):
        check_recipe(out)


def test_a_public_set_brings_its_own_split(tmp_path: Path) -> None:
    out = new_recipe(tmp_path / "new.yaml", set_name="isbi2012")
    assert "task: membrane  # one of: membrane, organelles" in out.read_text()


def test_refusals_write_nothing(tmp_path: Path) -> None:
    image = stack(tmp_path / "a.tif", grey(4))
    empty = stack(tmp_path / "b.tif", np.zeros((4, 64, 64), np.uint8))
    out = tmp_path / "new.yaml"
    with pytest.raises(LabelError, match="nothing to tell it from"):
        new_recipe(out, image=image, labels=empty)
    with pytest.raises(RecipeError, match="either an image"):
        new_recipe(out)
    with pytest.raises(LabelError, match="export both at the same size"):
        new_recipe(out, image=image, labels=stack(tmp_path / "c.tif", labels_of(4, [0, 1], 60)))
    assert not out.exists()
    out.write_text("mine")
    with pytest.raises(OutputExistsError):
        new_recipe(out, image=image)
    assert out.read_text() == "mine"


def test_check_tells_what_does_not_fit(tmp_path: Path) -> None:
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", labels_of(10, [0, 255]))
    out = new_recipe(tmp_path / "new.yaml", image=image, labels=labels)
    with pytest.raises(RecipeError) as caught:
        check_recipe(out, ["sampling.size=[32, 64]", "training.devices=3"])
    assert "training.batch_size: 16 is not a multiple of the 3 devices" in str(caught.value)
    assert "augment: augmentation 'rotate90'" in str(caught.value)
    with pytest.raises(LabelError, match="255"):
        check_recipe(out, ["data.volumes.0.labels={kind: ids, path: b.tif}"])
    with pytest.raises(RecipeError, match=r"data\.validate: is empty"):
        check_recipe(out, ["data.validate=[]"])


def test_patches_suit_the_network_unless_the_images_are_small(tmp_path: Path) -> None:
    small = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", labels_of(10, [0, 255]))
    _, recipe = started(tmp_path, image=small[0], labels=small[1])
    assert recipe.sampling.size == (64, 64)
    large = stack(tmp_path / "c.tif", grey(10, 512)), stack(tmp_path / "d.tif", labels_of(10, [0, 255], 512))
    out = new_recipe(tmp_path / "large.yaml", image=large[0], labels=large[1])
    assert check_recipe(out).sampling.size == (256, 256)


def values_of(recipe: Recipe) -> dict[str, str]:
    return dict(recipe.data.volumes[0].labels.values)  # type: ignore[union-attr]


def test_masks_from_jpeg_are_ranges_and_read_as_the_masks_they_were(tmp_path: Path) -> None:
    yy, xx = np.mgrid[:96, :96]
    masks = [(yy - 40 - z) ** 2 + (xx - 45) ** 2 < 100 for z in range(6)]
    image = folder(tmp_path / "image", [grey(1, 96)[0] for _ in masks])
    labels = folder(tmp_path / "labels", [mask * np.uint8(255) for mask in masks], "jpg", quality=80)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert values_of(recipe) == {"0-127": "background", "128-255": "foreground"}
    assert "JPEG changes values" in text
    found = open_data(recipe.data, tmp_path).volumes[0].labels[0].read()
    assert (found != np.stack(masks)).mean() < 1e-3


@pytest.mark.parametrize("quality", [30, 60, 95])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpegs_of_three_values_and_of_grey_as_colour(tmp_path: Path, quality: int, mode: str) -> None:
    voxels = labels_of(4, [0, 127, 255], 96)
    image = folder(tmp_path / "image", grey(4, 96))
    pictures = [Image.fromarray(area).convert(mode) for area in voxels]
    labels = folder(tmp_path / "labels", pictures, "jpg", quality=quality)
    _, recipe = started(tmp_path, image=image, labels=labels)
    lows = [int(key.split("-")[0]) for key in values_of(recipe)]
    assert lows == pytest.approx([0, 64, 192], abs=10)


def test_jpegs_of_small_ids_and_of_the_image_are_refused(tmp_path: Path) -> None:
    image = folder(tmp_path / "image", grey(4))
    ids = folder(tmp_path / "ids", labels_of(4, [0, 1, 2]), "jpg", quality=90)
    with pytest.raises(LabelError, match="compression changes such small numbers"):
        new_recipe(tmp_path / "new.yaml", image=image, labels=ids)
    copy = folder(tmp_path / "copy", grey(4), "jpg", quality=90)
    with pytest.raises(LabelError, match="looks like a grey image"):
        new_recipe(tmp_path / "new.yaml", image=image, labels=copy)
    with pytest.raises(LabelError, match=r"slice 0 of the labels equals slice 2 of .*: this is the image, not labels"):
        new_recipe(tmp_path / "new.yaml", image=image, labels=image)


def test_palettes_whose_first_colour_is_not_the_background(tmp_path: Path) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[10:20, 10:20] = 1
    pictures = [Image.fromarray(1 - mask, "P") for _ in range(6)]
    for picture in pictures:
        picture.putpalette([255, 0, 0, 0, 0, 0])
    image, labels = folder(tmp_path / "image", grey(6)), folder(tmp_path / "labels", pictures)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert values_of(recipe) == {"1": "background", "0": "foreground"}
    assert "value 0 (#ff0000), 2.44% of the labelled voxels" in text
    found = open_data(recipe.data, tmp_path).volumes[0].labels[0].read()
    assert np.array_equal(found, np.stack([mask] * 6))


def test_images_with_palettes_of_their_own_are_mapped_by_colour(tmp_path: Path) -> None:
    pictures = []
    for number, side in enumerate((64, 70, 80)):
        area = labels_of(1, [number % 2, 1 - number % 2], side)[0]
        picture = Image.fromarray(area, "P")
        picture.putpalette([255, 0, 0, 0, 0, 0] if number % 2 else [0, 0, 0, 255, 0, 0])
        pictures.append(picture)
    image = folder(tmp_path / "image", [grey(1, side)[0] for side in (64, 70, 80)])
    _, recipe = started(tmp_path, image=image, labels=folder(tmp_path / "labels", pictures))
    assert values_of(recipe) == {"#000000": "background", "#ff0000": "foreground"}
    for volume in open_data(recipe.data, tmp_path).volumes:
        assert volume.labels[0].read().sum() == 6 * 40


def test_what_was_not_annotated_is_unlabelled(tmp_path: Path) -> None:
    image, voxels = stack(tmp_path / "a.tif", grey(8)), labels_of(8, [0, 1, 2]).astype(np.int16)
    voxels[:, :, :6] = -1
    _, recipe = started(tmp_path, image=image, labels=stack(tmp_path / "b.tif", voxels))
    assert values_of(recipe)["-1"] == "unlabelled"
    valid = open_data(recipe.data, tmp_path).volumes[0].valid
    assert valid is not None
    assert np.array_equal(valid.read() == 1, voxels != -1)


@pytest.mark.parametrize(
    ("ids", "dtype"),
    [
        ((7, 2**63 + 5), np.uint64),
        ((2**64 - 1, 5, 9), np.uint64),
        ((-(2**62), -17, 3), np.int64),
        ((-1, 70000), np.int32),
    ],
)
def test_whatever_the_ids_the_recipe_can_be_checked(tmp_path: Path, ids: tuple[int, ...], dtype: type) -> None:
    voxels: np.ndarray = np.zeros((6, 64, 64), dtype)
    for place, value in enumerate(ids):
        voxels[1:5, 10 * place : 10 * place + 8, 8:50] = np.array(value, dtype)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["ids"] = voxels
    text, recipe = started(tmp_path, image=stack(tmp_path / "a.tif", grey(6)), labels=str(tmp_path / "b.h5"))
    assert ("# QUESTION: " in text) == (recipe.data.volumes[0].labels.kind == "instances")  # type: ignore[union-attr]
    opened = open_data(recipe.data, tmp_path).volumes[0]
    assert opened.labels[0].read().any()
    assert recipe.data.classes is not None
    assert recipe.data.classes.background_name == "background"


def test_validation_is_where_there_is_something(tmp_path: Path) -> None:
    voxels = labels_of(10, [0, 1])
    voxels[7:] = 0
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", voxels)
    out = new_recipe(tmp_path / "new.yaml", image=image, labels=labels)
    warnings = Warnings()
    recipe = check_recipe(out, progress=warnings)
    assert warnings.said == []
    assert (recipe.data.train[0].slices, recipe.data.validate_[0].slices) == ("3:10", "0:2")


def test_validation_in_the_middle_leaves_two_ranges_to_train_on(tmp_path: Path) -> None:
    voxels = labels_of(20, [0, 1, 2])
    voxels[:8][voxels[:8] == 2] = 0
    voxels[12:][voxels[12:] == 2] = 0
    image, labels = stack(tmp_path / "a.tif", grey(20)), stack(tmp_path / "b.tif", voxels)
    _, recipe = started(tmp_path, image=image, labels=labels)
    assert [region.slices for region in recipe.data.train] == ["0:9", "17:20"]
    assert [region.slices for region in recipe.data.validate_] == ["11:15"]


def test_a_class_of_one_slice_is_asked_about(tmp_path: Path) -> None:
    voxels = labels_of(10, [0, 1, 2])
    voxels[:9][voxels[:9] == 2] = 0
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", voxels)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert "# QUESTION: can more be labelled?" in text
    assert "'class-2' (only in 9)" in text
    assert recipe.data.train[0].slices != "0:7"


def test_images_with_a_rare_class_are_on_both_sides(tmp_path: Path) -> None:
    sides = (64, 70, 80, 90, 100)
    areas = [labels_of(1, [0, 1, 2] if place in (0, 2) else [0, 1], side)[0] for place, side in enumerate(sides)]
    image = folder(tmp_path / "image", [grey(1, side)[0] for side in sides])
    _, recipe = started(tmp_path, image=image, labels=folder(tmp_path / "labels", areas))
    assert (recipe.data.train[0].images, recipe.data.validate_[0].images) == (("s_0", "s_1", "s_3", "s_4"), ("s_2",))


def test_the_only_labelled_image_is_split_as_a_slice(tmp_path: Path) -> None:
    image = folder(tmp_path / "image", [grey(1, side)[0] for side in (64, 70, 80)])
    (tmp_path / "labels").mkdir()
    area = np.zeros((70, 70), np.uint8)
    area[5:65:8, 10:60] = 1
    Image.fromarray(area).save(tmp_path / "labels" / "s_1.png")
    text, recipe = started(tmp_path, image=image, labels=str(tmp_path / "labels"))
    assert "Of the 3 images in image, only this one has labels." in text
    assert (recipe.data.volumes[0].image, recipe.data.volumes[0].kind) == ("image/s_1.png", "volume")
    assert [recipe.data.train[0].box, recipe.data.validate_[0].box] == ["0:1,0:45,:", "0:1,52:70,:"]


def test_padding_is_offered_as_what_is_not_valid(tmp_path: Path) -> None:
    voxels = grey(6).clip(1, 255)
    voxels[:, :, :16] = 0
    image, labels = stack(tmp_path / "a.tif", voxels), stack(tmp_path / "b.tif", labels_of(6, [0, 1]))
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert "25% of the image is 0 in areas along the border (6 slices)" in text
    assert recipe.data.volumes[0].valid is None
    (tmp_path / "new.yaml").write_text(text.replace("# valid:", "valid:"))
    recipe = check_recipe(tmp_path / "new.yaml")
    valid = open_data(recipe.data, tmp_path).volumes[0].valid
    assert valid is not None
    assert np.array_equal(valid.read() == 1, voxels != 0)


def test_padding_of_unrelated_images_and_of_floats(tmp_path: Path) -> None:
    sides = (64, 72, 80)
    areas = [grey(1, side)[0].clip(1, 255) for side in sides]
    for area in areas:
        area[:16] = 0
    image = folder(tmp_path / "image", [Image.fromarray(area.astype(np.float32) / 255) for area in areas], "tif")
    labels = folder(tmp_path / "labels", [labels_of(1, [0, 1], side)[0] for side in sides])
    text, _ = started(tmp_path, image=image, labels=labels)
    (tmp_path / "new.yaml").write_text(text.replace("# valid:", "valid:"))
    for volume, area in zip(open_data(load_recipe(tmp_path / "new.yaml").data, tmp_path).volumes, areas, strict=True):
        assert volume.valid is not None
        assert np.array_equal(volume.valid.read()[0] == 1, area != 0)


def test_a_structure_in_one_of_many_slices_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cristae.data.label_evidence._SLICES", 4)
    monkeypatch.setattr("cristae.data.label_evidence._MOST_VOXELS", 0)
    voxels = np.zeros((12, 64, 64), np.uint8)
    voxels[5, 10:30, 10:50] = 1
    image, labels = stack(tmp_path / "a.tif", grey(12)), stack(tmp_path / "b.tif", voxels)
    text, recipe = started(tmp_path, image=image, labels=labels)
    assert [recipe.data.train[0].box, recipe.data.validate_[0].box] == ["5:6,22:64,:", "5:6,0:16,:"]
    assert "of the labelled voxels: foreground" in text
    assert "Only 1 of them holds anything but background and only this one is used" in text


def test_names_in_the_label_image_name_the_classes(tmp_path: Path) -> None:
    image = stack(tmp_path / "a.tif", grey(6))
    spec = ZarrSpec((6, 64, 64), np.dtype("uint8"), (1, 64, 64), (6, 64, 64), (40.0, 4.0, 4.0))
    ids = labels_of(6, [0, 3, 4])
    classes = [(0, "background", "#000000"), (3, "mito/chondria", "#e6194b"), (4, "label 4", "#00ff00")]
    create_multiscale(tmp_path / "b.zarr", spec, name="b", classes=classes).write(Box.of_shape(ids.shape), ids)
    _, recipe = started(tmp_path, image=image, labels=str(tmp_path / "b.zarr"))
    assert values_of(recipe) == {"0": "background", "3": "mito chondria", "4": "class-4"}
