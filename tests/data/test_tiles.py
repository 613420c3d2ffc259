"""EM-stellar's tiles: which there are, which are held out, and that the recipe has to say that they leak."""

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.description import DataConfig, Region, TileSplit
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.tiles import cut_tiles
from cristae.data.volume import Volume
from cristae.errors import VolumeError


def part(shape: tuple[int, int, int], name: str = "v", labelled: tuple[int, ...] | None = None) -> Part:
    image = image_of_array(np.zeros(shape, np.uint8), name=f"{name}.png")
    return Part(Volume(name=name, image=image, labels=(image,), labelled_slices=labelled), Box.of_shape(shape))


def starts(parts: tuple[Part, ...]) -> list[tuple[int, int, int]]:
    return [one.box.start for one in parts]


def only(train: list[Part]) -> dict[str, tuple[Part, ...]]:
    return {"train": tuple(train), "validate": (), "test": ()}


def test_tiles_are_row_major_and_the_remainder_is_left_out() -> None:
    """EM-stellar, section 5.4: tiles side by side, remainder at right and bottom discarded; the first 15 % validate."""
    split = TileSplit(size=(64, 64), choose="first", leaky=True)
    found = cut_tiles(only([part((2, 200, 150))]), split)
    every = [(z, y, x) for z in (0, 1) for y in (0, 64, 128) for x in (0, 64)]
    assert starts(found["validate"]) == every[:1]  # 15 % of 12 is 1.8
    assert starts(found["train"]) == every[1:]
    assert found["test"] == ()
    assert {one.box.shape for one in (*found["train"], *found["validate"])} == {(1, 64, 64)}


def test_the_neuronal_set_has_320_tiles_split_80_10_10() -> None:
    """EM-stellar, section 5.9: 1024 x 1024 x 80 voxels in patches of 512 x 512."""
    split = TileSplit(size=(512, 512), validate_share=0.1, test_share=0.1, leaky=True)
    found = cut_tiles(only([part((80, 1024, 1024))]), split)
    assert {name: len(tiles) for name, tiles in found.items()} == {"train": 256, "validate": 32, "test": 32}
    every = {(one.box.start, name) for name, tiles in found.items() for one in tiles}
    assert len({start for start, _ in every}) == 320
    again = cut_tiles(only([part((80, 1024, 1024))]), split)
    other = cut_tiles(only([part((80, 1024, 1024))]), split.model_copy(update={"seed": 1}))
    assert starts(again["validate"]) == starts(found["validate"])
    assert starts(other["validate"]) != starts(found["validate"])
    assert starts(found["train"]) == sorted(starts(found["train"]))


def test_tiles_of_several_slices_and_of_labelled_slices_only() -> None:
    thick = cut_tiles(only([part((5, 8, 8))]), TileSplit(size=(2, 4, 4), validate_share=0.25, leaky=True))
    assert {one.box.start[0] for one in (*thick["train"], *thick["validate"])} == {0, 2}
    sparse = cut_tiles(
        only([part((9, 8, 8), labelled=(1, 7))]), TileSplit(size=(4, 4), validate_share=0.25, leaky=True)
    )
    assert {one.box.start[0] for one in (*sparse["train"], *sparse["validate"])} == {1, 7}


def test_tiles_that_cannot_be_shared_out_are_refused() -> None:
    with pytest.raises(
        VolumeError, match=r"a tile of 1 x 512 x 512 .* does not fit into 0:1,0:300,0:600 of 'w', 1 x 300"
    ):
        cut_tiles(only([part((1, 600, 600)), part((1, 300, 600), name="w")]), TileSplit(size=(512, 512), leaky=True))
    with pytest.raises(VolumeError, match="of 4 tiles, 0 to validate and 4 to train on; each needs one"):
        cut_tiles(only([part((1, 8, 8))]), TileSplit(size=(4, 4), leaky=True))
    with pytest.raises(VolumeError, match="of 2 tiles, 1 to validate, 0 to test and 1 to train on"):
        cut_tiles(only([part((2, 8, 8))]), TileSplit(size=(8, 8), validate_share=0.5, test_share=0.4, leaky=True))
    with pytest.raises(VolumeError, match=r"are 40000 in data\.train, more than 20000; choose larger"):
        cut_tiles(only([part((1, 200, 200))]), TileSplit(size=(1, 1), leaky=True))


def test_a_recipe_has_to_say_that_tiles_leak() -> None:
    with pytest.raises(ValueError, match="write `leaky: true` to say that you know, or name `validate` regions"):
        TileSplit(size=(512, 512))
    with pytest.raises(ValueError, match="leave nothing to train on"):
        TileSplit(size=(4, 4), validate_share=0.6, test_share=0.4, leaky=True)
    here = (Region(volume="v"),)
    with pytest.raises(ValueError, match="leave out `validate`, or `split`"):
        DataConfig(train=here, validate=here, split=TileSplit(size=(4, 4), leaky=True))
    with pytest.raises(ValueError, match="leave out `test`"):
        DataConfig(train=here, test=here, split=TileSplit(size=(4, 4), test_share=0.1, leaky=True))
