"""What a voxel can be: ids, foreground and logits with and without a background, borders, and masks that leave gaps."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from pydantic import ValidationError

from cristae.data.box import Box
from cristae.data.classes import BACKGROUND_COLOR, PALETTE, Classes, joined_borders
from cristae.data.open import open_data
from cristae.data.public import find_set
from cristae.recipe.load import parse_recipe

KINDS = [
    # classes, foreground ids, logits, softmax, background, empty id
    (Classes(names=("none", "a")), (1,), 1, False, "none", 0),
    (Classes(names=("none", "a", "b")), (1, 2), 3, True, "none", 0),
    (Classes(names=("a", "b"), background=False), (0, 1), 2, True, None, None),
    (Classes(names=("a", "b", "c"), background=False), (0, 1, 2), 3, True, None, None),
    (Classes(names=("a", "b"), exclusive=False), (1, 2), 2, False, None, 0),
    (Classes(names=("a",), exclusive=False), (1,), 1, False, None, 0),
]


@pytest.mark.parametrize(("classes", "ids", "logits", "softmax", "background", "empty"), KINDS)
def test_every_kind_of_scheme(classes, ids, logits, softmax, background, empty):
    assert classes.foreground_ids == ids
    assert tuple(classes.id_of(name) for name in classes.foreground) == ids
    assert (classes.n_logits, classes.softmax) == (logits, softmax)
    assert (classes.background_name, classes.empty_id) == (background, empty)
    assert Classes.model_validate(classes.model_dump(mode="json")) == classes


def test_a_background_is_part_of_what_ids_mean_and_colours_and_borders_are_not():
    plain = Classes(names=("a", "b", "c"))
    assert plain.scheme == Classes(names=plain.names, colors={"a": "#ffffff"}, borders=("b",)).scheme
    others = [Classes(names=plain.names, background=False), Classes(names=plain.names, exclusive=False)]
    assert len({plain.scheme, *(one.scheme for one in others)}) == 3
    assert [plain.listed, *(one.listed for one in others)] == [
        "a, b, c",
        "a, b, c; no background",
        "a, b, c; overlapping",
    ]


def test_only_a_background_is_black():
    assert Classes(names=("a", "b")).color_of("a") == BACKGROUND_COLOR
    assert [Classes(names=("a", "b"), background=False).color_of(name) for name in "ab"] == list(PALETTE[:2])


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"names": ["a"], "background": False}, "two or more"),
        ({"names": ["a", "b"], "exclusive": False, "background": False}, "leave `background` out"),
        ({"names": ["none", "a"], "borders": ["membrane"]}, "borders: 'membrane' is not one of the classes a"),
        ({"names": ["none", "a"], "borders": ["none"]}, "borders: 'none' is not one of the classes a"),
        ({"names": ["none", "a"], "borders": ["a", "a"]}, "named twice"),
    ],
)
def test_schemes_that_cannot_be(fields, words):
    with pytest.raises(ValidationError, match=words):
        Classes.model_validate(fields)


def test_borders_of_several_schemes_are_joined_where_any_states_them():
    unstated, none, stated = (Classes(names=("none", "a"), borders=given) for given in (None, (), ("a",)))
    assert joined_borders([unstated, unstated]) is None
    assert joined_borders([unstated, none]) == ()
    assert joined_borders([none, stated]) == ("a",)


def test_public_sets_say_which_classes_are_borders_and_where_there_is_no_background():
    stated = {
        f"{name}/{task}": (found.classes.background, found.classes.borders)
        for name in ("drosophila-vnc", "isbi2012", "flyem-medulla-fibsem", "platelet-em")
        for task, found in find_set(name).tasks.items()
    }
    assert stated == {
        "drosophila-vnc/five-class": (False, ("membrane",)),
        "drosophila-vnc/nine-class": (False, None),
        "drosophila-vnc/membrane": (True, ("membrane",)),
        "drosophila-vnc/mitochondria": (True, ()),
        "drosophila-vnc/synapse": (True, ()),
        "isbi2012/membrane": (True, ("membrane",)),
        "isbi2012/organelles": (True, ("membrane",)),
        "flyem-medulla-fibsem/boundary": (True, ("boundary",)),
        "flyem-medulla-fibsem/neurons": (True, ()),
        "platelet-em/seven-class": (True, None),
    }


def labels_from_masks(folder: Path, background: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Ids and validity of masks that leave the last columns to none of the classes."""
    tifffile.imwrite(folder / "image.tif", np.full((1, 2, 5), 9, np.uint8))
    for name, inside in (("a", [1, 1, 0, 0, 0]), ("b", [0, 1, 1, 0, 0])):
        tifffile.imwrite(folder / f"{name}.tif", np.array([[inside] * 2], np.uint8), photometric="minisblack")
    names = "[none, a, b]" if background else "[a, b]"
    text = (
        f"name: r\ndata:\n  classes: {{names: {names}, background: {str(background).lower()}}}\n"
        "  volumes: [{name: v, image: image.tif, labels: {kind: masks, masks: {a: {path: a.tif}, b: {path: b.tif}}}}]\n"
        "model: {name: unet_bn}\n"
    )
    recipe = parse_recipe(text, "r.yaml").read_from(folder / "r.yaml")
    (volume,) = open_data(recipe.data, recipe.folder).volumes
    box = Box.of_shape(volume.image.shape)
    valid = None if volume.valid is None else volume.valid.read(box)[0, 0]
    return volume.labels[0].read(box)[0, 0], valid


def test_what_no_mask_covers_is_background_or_does_not_count(tmp_path: Path) -> None:
    ids, valid = labels_from_masks(tmp_path, background=True)
    assert (ids.tolist(), valid) == ([1, 2, 2, 0, 0], None)
    ids, valid = labels_from_masks(tmp_path, background=False)
    assert (ids[:3].tolist(), valid.tolist()) == ([0, 1, 1], [1, 1, 1, 0, 0])
