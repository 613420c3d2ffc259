"""What label values mean: the rows that are proposed, and what is asked."""

import re
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from cristae.data.image import image_of_array
from cristae.data.label_evidence import look_at
from cristae.errors import LabelError
from cristae.recipe.label_meaning import ClassMeaning, LabelMeaning, ObjectMeaning, meaning_of

YY, XX = np.mgrid[:96, :96]
DISC = (YY - 40) ** 2 + (XX - 45) ** 2 < 18**2
SPOT = (YY - 80) ** 2 + (XX - 80) ** 2 < 9**2
BAND = YY < 8
MARK64 = 2**64 - 1
TWO = {"0": "background", "1": "class-1", "2": "class-2"}


def meaning(area: np.ndarray, **fields: object) -> LabelMeaning:
    image = replace(image_of_array(area[None]), **fields)  # type: ignore[arg-type]
    return meaning_of(look_at([(0, image, 0)]))


def classes(area: np.ndarray, **fields: object) -> tuple[dict[str, str], str]:
    """Value to class name in the order of the recipe, and all questions."""
    found = meaning(area, **fields)
    assert isinstance(found, ClassMeaning)
    return {row.group.key: row.name for row in found.rows}, " / ".join(found.questions)


def painted(dtype: type, background: int, disc: int, spot: int | None = None, band: int | None = None) -> np.ndarray:
    area = np.full(YY.shape, background, dtype)
    area[DISC] = disc
    for where, value in ((SPOT, spot), (BAND, band)):
        if value is not None:
            area[where] = value
    return area


@pytest.mark.parametrize(
    ("area", "expected"),
    [
        (painted(np.uint8, 0, 1), {"0": "background", "1": "foreground"}),
        (painted(np.uint8, 0, 255), {"0": "background", "255": "foreground"}),
        (painted(np.uint8, 0, 128), {"0": "background", "128": "foreground"}),
        (painted(np.uint16, 0, 65535), {"0": "background", "65535": "foreground"}),
        (painted(np.float32, 0, 1), {"0": "background", "1": "foreground"}),
        (painted(np.float64, 0, 3), {"0": "background", "3": "foreground"}),
        (DISC, {"0": "background", "1": "foreground"}),
        (painted(np.uint8, 0, 1, 2), TWO),
        (painted(np.uint8, 0, 50, 100), {"0": "background", "50": "class-50", "100": "class-100"}),
        (painted(np.uint64, 0, 2**63 + 5), {"0": "background", str(2**63 + 5): "foreground"}),
        (painted(np.int16, 0, 1, 2, -1), TWO | {"-1": "unlabelled"}),
        (painted(np.int16, 0, 1, band=-1), {"0": "background", "1": "foreground", "-1": "unlabelled"}),
        (painted(np.int32, 0, 1, 2, -100), TWO | {"-100": "unlabelled"}),
        (painted(np.float32, 0, 1, 2, -1), TWO | {"-1": "unlabelled"}),
        (painted(np.uint64, 0, 1, 2, MARK64), TWO | {str(MARK64): "unlabelled"}),
        (painted(np.uint32, 0, 1, 2, 2**32 - 1), TWO | {"4294967295": "unlabelled"}),
    ],
)  # fmt: skip
def test_without_doubt_nothing_is_asked(area: np.ndarray, expected: dict[str, str]) -> None:
    assert classes(area) == (expected, "")


@pytest.mark.parametrize(
    ("area", "expected", "asked"),
    [
        (painted(np.uint8, 255, 0), {"255": "background", "0": "foreground"}, "is 255 really the background, and 0"),
        (painted(np.uint8, 1, 2), {"1": "background", "2": "foreground"}, "0 does not occur; is 1, the commonest"),
        (painted(np.uint8, 3, 1, 2), {"3": "background", "1": "class-1", "2": "class-2"}, "is 3, the commonest"),
        ((XX < 40) * np.uint8(255), {"0": "background", "255": "foreground"}, "Both values cover about half"),
        (np.where(XX < 40, 0, np.where(SPOT, 2, 1)).astype(np.uint8), TWO,
         r"is 0 \(42%\) really the background\? 1 is commoner \(56%\)"),
        (painted(np.uint8, 0, 1, 2, 255), TWO | {"255": "unlabelled"},
         "does 255 mean 'not annotated'"),
        (painted(np.uint8, 0, 1, band=255), {"0": "background", "1": "foreground", "255": "unlabelled"}, "does 255"),
        (painted(np.uint16, 0, 1, 2, 65535), TWO | {"65535": "unlabelled"},
         "does 65535 mean"),
        (painted(np.int16, -1, 1), {"-1": "background", "1": "foreground"}, "does -1 mean 'not annotated'"),
        (painted(np.uint64, MARK64, 3, 4), {str(MARK64): "background", "3": "class-3", "4": "class-4"},
         "value 0 does not occur"),
        (painted(np.uint32, 0xFF000000, 0xFF0000FF, 0xFF00FF00),
         {"4278190080": "background", "4278190335": "class-4278190335", "4278255360": "class-4278255360"},
         "value 0 does not occur"),
    ],
)  # fmt: skip
def test_doubt_is_asked_about(area: np.ndarray, expected: dict[str, str], asked: str) -> None:
    rows, questions = classes(area)
    assert rows == expected
    assert re.search(asked, questions), questions
    assert " / " not in questions


PALETTES = {
    "index 0 red, 1 black": (painted(np.uint8, 1, 0), ("#ff0000", "#000000"), ["1", "0"], ""),
    "index 0 black": (painted(np.uint8, 0, 1), ("#000000", "#800000"), ["0", "1"], ""),
    "index 0 white": (painted(np.uint8, 0, 1), ("#ffffff", "#ff0000"), ["0", "1"], ""),
    "black last of three": (painted(np.uint8, 2, 0, 1), ("#ff0000", "#00ff00", "#000000"), ["2", "0", "1"], ""),
    "black drawn on white": (painted(np.uint8, 0, 1), ("#ffffff", "#000000"), ["0", "1"], "really the background"),
    "no black, no white": (painted(np.uint8, 0, 1), ("#0000ff", "#ff0000"), ["0", "1"], ""),
    "a rare black class": (painted(np.uint8, 0, 1, 2), ("#ffffff", "#ff0000", "#000000"), ["0", "1", "2"], ""),
    "a red half": ((XX >= 50).astype(np.uint8), ("#ff0000", "#000000"), ["1", "0"], "really the background"),
}


@pytest.mark.parametrize("name", PALETTES)
def test_a_palette_shows_the_background(name: str) -> None:
    area, palette, order, asked = PALETTES[name]
    rows, questions = classes(area, palette=palette)
    assert list(rows) == order
    assert rows[order[0]] == "background"
    assert asked in questions
    assert bool(asked) == bool(questions)


def test_names_of_the_file_are_the_names_of_the_classes() -> None:
    details = {"label 1": "Mitochondria", "label 2": "ER/Golgi", "label 3": "void"}
    rows, questions = classes(painted(np.uint8, 0, 1, 2, 3), details=details)
    assert rows == {"0": "background", "1": "Mitochondria", "2": "ER Golgi", "3": "unlabelled"}
    assert questions == ""
    named = {"label 1": "exterior", "label 2": "cell", "label 7": "cell"}
    rows, questions = classes(painted(np.uint8, 1, 2, 7), details=named)
    assert rows == {"1": "exterior", "2": "cell", "7": "cell-7"}
    assert questions == ""


def colored(background: tuple[int, ...], disc: tuple[int, ...], band: tuple[int, ...] | None = None) -> np.ndarray:
    area = np.empty((*YY.shape, len(background)), np.uint8)
    area[:] = background
    area[DISC] = disc
    if band is not None:
        area[BAND] = band
    return area


@pytest.mark.parametrize(
    ("area", "expected", "asked"),
    [
        (colored((0, 0, 0), (0, 40, 255)), {"#000000": "background", "#0028ff": "foreground"}, ""),
        (colored((255, 255, 255), (255, 0, 0)), {"#ffffff": "background", "#ff0000": "foreground"}, ""),
        (colored((9, 9, 99), (255, 0, 0)), {"#090963": "background", "#ff0000": "foreground"}, "no colour is black"),
        (colored((0, 0, 0, 0), (255, 0, 0, 255)), {"#00000000": "background", "#ff0000": "foreground"},
         "are transparent voxels background"),
        (colored((0, 0, 0, 255), (255, 0, 0, 255), (7, 7, 7, 0)),
         {"#000000": "background", "#ff0000": "foreground", "#00000000": "unlabelled"}, "do transparent voxels mean"),
    ],
)  # fmt: skip
def test_colours(area: np.ndarray, expected: dict[str, str], asked: str) -> None:
    rows, questions = classes(area, colors=area.shape[-1])
    assert rows == expected
    assert asked in questions
    assert bool(asked) == bool(questions)


def blended(*values: tuple[np.ndarray, int]) -> np.ndarray:
    """Areas drawn at four times the size and averaged."""
    big = np.zeros((384, 384))
    for where, value in values:
        big[where] = value
    small: np.ndarray = np.rint(big.reshape(96, 4, 96, 4).mean(axis=(1, 3))).astype(np.uint8)
    return small


BIG_Y, BIG_X = np.mgrid[:384, :384]
BIG_DISC = (BIG_Y - 160) ** 2 + (BIG_X - 180) ** 2 < 71**2
BIG_SPOT = (BIG_Y - 320) ** 2 + (BIG_X - 320) ** 2 < 37**2


def test_blended_edges_are_cut_half_way() -> None:
    rows, questions = classes(blended((BIG_DISC, 255)))
    assert (rows, questions) == ({"0-127": "background", "128-255": "foreground"}, "")
    rows, questions = classes(blended((BIG_DISC, 255), (BIG_SPOT, 100)))
    assert rows == {"0-50": "background", "51-177": "class-100", "178-255": "class-255"}
    assert "from before they were resampled" in questions
    sixteen = blended((BIG_DISC, 255)).astype(np.uint16) * 257
    assert classes(sixteen)[0] == {"0-32767": "background", "32768-65535": "foreground"}


def test_a_few_stray_values_are_no_classes() -> None:
    area = painted(np.uint8, 0, 255, 128)
    area[5, 5], area[40, 30] = 3, 130
    assert classes(area)[0] == {"0-64": "background", "65-191": "class-128", "192-255": "class-255"}


def test_a_thin_value_between_two_others_is_asked_about() -> None:
    area = painted(np.uint8, 0, 255)
    area[ndimage.binary_dilation(DISC) & ~DISC] = 128
    rows, questions = classes(area)
    assert rows["128"] == "class-128"
    assert "is 128 a class?" in questions


def test_strokes_are_asked_about() -> None:
    area = np.zeros(YY.shape, np.uint8)
    area[10:12, 5:60] = area[60:62, 5:60] = 1
    area[40:42, 38:52] = 2
    rows, questions = classes(area)
    assert rows == TWO
    assert "does 0 mean 'not annotated'" in questions


def test_thin_ids_are_classes() -> None:
    area = painted(np.uint8, 0, 2)
    area[ndimage.binary_dilation(DISC) & ~DISC] = 1
    assert classes(area) == (TWO, "")


def test_a_few_objects_are_asked_about_and_several_are_objects() -> None:
    few, several = np.zeros(YY.shape, np.uint8), np.zeros(YY.shape, np.uint8)
    for number in range(1, 10):
        several[number * 9 : number * 9 + 6, 10:40] = number
        few[number * 9 : number * 9 + 6, 10:40] = number if number < 6 else 0
    rows, questions = classes(few)
    assert len(rows) == 6
    assert "are 1 to 5 classes? Each is one connected part" in questions
    found = meaning(several)
    assert isinstance(found, ObjectMeaning)
    assert found.questions == (
        "are these 10 values ids of objects? For classes write `kind: values` and map each value",
    )


def grid(dtype: type, first: int = 1, step: int = 1) -> np.ndarray:
    """Thirty-six ids that fill everything."""
    return (np.arange(36).repeat(256).reshape(6, 6, 16, 16).swapaxes(1, 2).reshape(96, 96) * step + first).astype(dtype)


def spread(ids: np.ndarray, between: int, width: int = 4) -> np.ndarray:
    """The same ids with something between them."""
    area = ids.copy()
    area[(width > YY % 16) | (width > XX % 16)] = between
    return area


@pytest.mark.parametrize(
    ("area", "to", "background", "unlabelled", "asked"),
    [
        (spread(grid(np.uint16), 0), "foreground", [], None, ["are these 37 values ids"]),
        (grid(np.uint16), "boundary", [], None, ["are these 36 values", "0 does not occur, so that objects fill"]),
        (spread(grid(np.uint16, 2), 1), "foreground", ["1"], None, ["are these 37 values", r"occur; is 1 \("]),
        (spread(grid(np.uint8), 255, 6), "foreground", ["255"], None, ["are these 37 values", r"is 255 \(61%\)"]),
        (np.where(BAND, 255, spread(grid(np.uint8), 0)), "foreground", [], ["255"], ["does 255 mean", "37 values"]),
        (np.where(BAND, -1, spread(grid(np.int32), 0)), "foreground", [], ["-1"], ["are these 37 values"]),
        (np.where(BAND, np.uint64(2**64 - 3), grid(np.uint64, 1, 10**15)), "boundary", [], [str(2**64 - 3)],
         ["are these 36 values", "0 does not occur"]),
        (spread(grid(np.int64, -(2**61) - 5, 3), 0), "foreground", [], [], ["are these 37 values", "are ids below 0"]),
        (painted(np.uint64, 0, 7, 2**63 + 5), "foreground", [], None, ["are these 3 values ids"]),
    ],
)  # fmt: skip
def test_objects(
    area: np.ndarray, to: str, background: list[str], unlabelled: list[str] | None, asked: list[str]
) -> None:
    found = meaning(area)
    assert isinstance(found, ObjectMeaning)
    assert found.to == to
    assert [group.key for group in found.background] == background
    assert (None if found.unlabelled is None else [group.key for group in found.unlabelled]) == unlabelled
    assert len(found.questions) == len(asked)
    assert all(re.search(part, question) for part, question in zip(asked, found.questions, strict=True))


NOISE = np.random.default_rng(0).normal(128, 25, YY.shape).clip(0, 255)
DRAWN = np.stack([NOISE.astype(np.uint8)] * 3, -1)
DRAWN[DISC] = (255, 0, 0)
BRUSHED = np.zeros((*YY.shape, 4), np.uint8)
BRUSHED[..., 0], BRUSHED[..., 3] = 255, blended((BIG_DISC, 255))
SOFT = ndimage.gaussian_filter(DISC.astype(float), 6) * 255
BLENDED_COLOURS = np.stack(
    [blended((BIG_DISC, 255)), np.full(YY.shape, 40, np.uint8), np.zeros(YY.shape, np.uint8)], -1
)


@pytest.mark.parametrize(
    ("area", "message"),
    [
        (np.zeros(YY.shape, np.uint8), "every voxel of the labels has the value 0, so there is nothing"),
        (NOISE.astype(np.uint8), "of which hardly any fills an area: this looks like a grey image"),
        (ndimage.gaussian_filter(NOISE * 20, 2).astype(np.uint16), "looks like a grey image"),
        (NOISE.astype(np.uint8) * DISC, "looks like a grey image"),
        (SOFT.astype(np.uint8), "a probability map or a blurred mask, not like labels"),
        (DRAWN, r"drawn over the image: they hold \d+ shades of grey"),
        (BLENDED_COLOURS, r"edges of the labels are blended: 2 colours fill areas, \d+ lie between"),
        (BRUSHED, r"edges of the labels are blended: 2 colours fill areas"),
        (colored((0, 0, 0), (255, 0, 0)).astype(np.uint16) * 257, "colours need 8 bits a channel"),
    ],
)
def test_what_is_no_labels_is_refused(area: np.ndarray, message: str) -> None:
    with pytest.raises(LabelError, match=message):
        meaning(area, colors=area.shape[2] if area.ndim == 3 else 1)


def test_many_plain_colours_are_objects() -> None:
    ids = spread(grid(np.uint8, 1), 0)
    area = np.stack([ids * 5, ids * 7, ids * 3], -1)
    found = meaning(area, colors=3)
    assert isinstance(found, ObjectMeaning)
    assert (found.to, found.background, found.questions) == ("foreground", (), ())
