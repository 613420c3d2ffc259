"""`recipe new` looks at the files and writes a recipe that opens them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.errors import LabelError, MissingFileError, OutputExistsError, RecipeError
from cristae.recipe.recipe import Recipe
from cristae.workflows.recipes import check_recipe, new_recipe

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


def started(tmp_path: Path, **arguments: object) -> tuple[str, Recipe]:
    """The text of a starter recipe, and the recipe after its data were opened."""
    out = new_recipe(tmp_path / "new.yaml", **arguments)  # type: ignore[arg-type]
    return out.read_text(), check_recipe(out)


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
    image, labels = stack(tmp_path / "a.tif", grey(1, 200)), stack(tmp_path / "b.tif", labels_of(1, [0, 1], 200))
    _, recipe = started(tmp_path, image=image, labels=labels)
    assert [recipe.data.train[0].box, recipe.data.validate_[0].box] == ["0:1,0:130,:", "0:1,150:200,:"]


def test_many_values_are_objects(tmp_path: Path) -> None:
    ids = np.arange(10 * 64 * 64, dtype=np.uint16).reshape(10, 64, 64) // 100
    image, labels = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", ids)
    _, recipe = started(tmp_path, image=image, labels=labels)
    assert recipe.data.volumes[0].labels.kind == "instances"  # type: ignore[union-attr]


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
    with pytest.raises(LabelError, match="nothing to learn"):
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
    assert "training.batch_size: 8 is not a multiple of the 3 devices" in str(caught.value)
    assert "augment.1: " in str(caught.value)
    with pytest.raises(LabelError, match="255"):
        check_recipe(out, ["data.volumes.0.labels={kind: ids, path: b.tif}"])
    with pytest.raises(RecipeError, match=r"data\.validate: is empty"):
        check_recipe(out, ["data.validate=[]"])


def test_patches_suit_the_network_unless_the_images_are_small(tmp_path: Path) -> None:
    small = stack(tmp_path / "a.tif", grey(10)), stack(tmp_path / "b.tif", labels_of(10, [0, 255]))
    _, recipe = started(tmp_path, image=small[0], labels=small[1])
    assert recipe.sampling.size == (32, 32)
    large = stack(tmp_path / "c.tif", grey(10, 512)), stack(tmp_path / "d.tif", labels_of(10, [0, 255], 512))
    out = new_recipe(tmp_path / "large.yaml", image=large[0], labels=large[1])
    assert "size: null" in out.read_text()
    assert check_recipe(out).sampling.size == (256, 256)
    assert check_recipe(out, ["model.name=seget"]).sampling.size == (512, 512)
    assert check_recipe(out, ["model.name=unet_3d"]).sampling.size == (5, 296, 296)
