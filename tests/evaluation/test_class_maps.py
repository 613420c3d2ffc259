"""Probability maps of all classes in one file: which channel is which class, and which class each voxel has."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import ChannelError, ScoreError
from cristae.evaluation.class_maps import class_maps_at
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.metrics.score import Score
from cristae.progress import Progress
from cristae.workflows.evaluate import evaluate

SHAPE = (4, 20, 24)
THREE = Classes(names=("background", "mito", "granule"))
BOTH = Classes(names=("mito", "membrane"), exclusive=False)
TRUTH = np.random.default_rng(0).integers(0, 3, SHAPE, np.uint8)


class Heard(Progress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def softmax(ids: np.ndarray = TRUTH, *, classes: int = 3, sure: float = 0.8) -> np.ndarray:
    """(Z, Y, X, K) probabilities whose largest is that of the ids."""
    rest = (1 - sure) / (classes - 1)
    return np.where(ids[..., None] == np.arange(classes), sure, rest).astype(np.float32)


def ilastik(path: Path, maps: np.ndarray, names: Sequence[str] = ()) -> Path:
    """As ilastik exports probabilities: zyxc with axis tags."""
    with h5py.File(path, "w") as file:
        data = file.create_dataset("exported_data", data=maps)
        axes: list[dict[str, Any]] = [
            {"key": key, "typeFlags": 2, "resolution": 0, "description": ""} for key in "zyxc"
        ]
        data.attrs["axistags"] = json.dumps({"axes": axes})
    return path


def f1(scores: Sequence[Score]) -> dict[str, float]:
    return {score.class_name: score.value for score in scores if score.metric == "F1"}


@pytest.mark.parametrize("with_background", [True, False])
@pytest.mark.parametrize("form", ["float32", "float64", "uint8", "uint16", "0 and 1"])
def test_the_most_probable_class_is_taken(tmp_path: Path, form: str, with_background: bool) -> None:
    maps = softmax(sure=1 if form == "0 and 1" else 0.8)
    full = {"uint8": 255, "uint16": 65535}.get(form, 1)
    stored = np.rint(maps * full).astype("u1" if form == "0 and 1" else form) if form[0] in "u0" else maps.astype(form)
    path = ilastik(tmp_path / "prob.h5", stored if with_background else stored[..., 1:])
    one = open_segmentation(path, Meaning(classes=THREE), role="prediction")
    assert np.array_equal(one.labels[0].read(), TRUTH)
    found = np.stack([image.read() for image in one.probabilities], -1).astype(np.float64)
    np.testing.assert_allclose(found / (255 if found.max() > 1 else 1), maps[..., 1:], atol=0.002)
    assert one.volume == "prob"


def test_equally_probable_classes_give_the_first(tmp_path: Path) -> None:
    path = ilastik(tmp_path / "prob.h5", np.full((*SHAPE, 3), 1 / 3, np.float32))
    assert not open_segmentation(path, Meaning(classes=THREE)).labels[0].read().any()
    path = ilastik(tmp_path / "fore.h5", np.full((*SHAPE, 2), 0.5, np.float32))
    assert (open_segmentation(path, Meaning(classes=THREE)).labels[0].read() == 1).all()


def test_scores_are_those_of_the_labels_and_of_the_maps(tmp_path: Path) -> None:
    guess = TRUTH.copy()
    guess[0, :5] = 1
    truth = image_of_array(TRUTH)
    path = ilastik(tmp_path / "prob.h5", softmax(guess))
    scores = evaluate(path, truth, classes=THREE)
    assert f1(scores) == f1(evaluate(image_of_array(guess), truth, classes=THREE))
    one = evaluate(
        f"{path}::channel=1", image_of_array((TRUTH == 1).view(np.uint8)), options=ScoreOptions(binarize=0.5)
    )
    ranked = {s.class_name: s.value for s in scores if s.metric == "AP"}
    assert ranked["mito"] == pytest.approx(next(s.value for s in one if s.metric == "AP"))
    assert {score.run for score in one} == {"prob"}
    merged = evaluate(path, truth, classes=THREE, options=ScoreOptions(merge={"cell": ("mito", "granule")}))
    expected = evaluate(
        image_of_array((guess > 0).view(np.uint8)),
        image_of_array((TRUTH > 0).view(np.uint8)),
        classes=Classes(names=("background", "cell")),
    )
    assert f1(merged) == f1(expected)
    assert 0.9 < next(s.value for s in merged if s.metric == "AUC-ROC") <= 1


def test_overlapping_classes_have_masks_of_their_own(tmp_path: Path) -> None:
    maps = np.random.default_rng(1).random((*SHAPE, 2)).astype(np.float32)
    one = open_segmentation(ilastik(tmp_path / "prob.h5", maps), Meaning(classes=BOTH))
    for place, labels in enumerate(one.labels):
        assert np.array_equal(labels.read(), maps[..., place] > 0.5)


def test_names_of_channels_decide_which_is_which(tmp_path: Path) -> None:
    path = named(tmp_path / "prob.zarr", softmax()[..., [2, 0, 1]], ("granule", "Background", "mito"))
    heard = Heard()
    one = open_segmentation(path, Meaning(classes=THREE), progress=heard)
    assert np.array_equal(one.labels[0].read(), TRUTH)
    assert "by their names: background, mito, granule" in heard.said[0]
    assert one.volume == "prob"


def test_other_names_leave_the_order_which_is_said(tmp_path: Path) -> None:
    for names in (("Label 1", "Label 2", "Label 3"), ("background", "x", "y")):
        heard = Heard()
        path = named(tmp_path / f"{names[1]}.zarr", softmax(), names)
        one = open_segmentation(path, Meaning(classes=THREE), progress=heard)
        assert np.array_equal(one.labels[0].read(), TRUTH)
        assert "in the order of the classes: background, mito, granule" in heard.said[0]


def test_names_at_other_places_are_refused(tmp_path: Path) -> None:
    path = named(tmp_path / "prob.zarr", softmax(), ("mito", "x", "y"))
    with pytest.raises(ScoreError, match=r"called mito, x, y, the classes background, mito, granule"):
        open_segmentation(path, Meaning(classes=THREE))


def named(path: Path, maps: np.ndarray, names: Sequence[str]) -> Path:
    """OME-Zarr 0.4 whose channels have names, as its rendering settings say."""
    import zarr

    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("0", data=np.moveaxis(maps, -1, 0), chunks=(1, 4, 20, 24))
    scale: list[Any] = [{"type": "scale", "scale": [1, 40, 4, 4]}]
    axes: list[Any] = [{"name": "c", "type": "channel"}] + [
        {"name": n, "type": "space", "unit": "nanometer"} for n in "zyx"
    ]
    datasets: list[Any] = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["omero"] = {"channels": [{"label": name, "color": "FFFFFF", "window": {}} for name in names]}
    return path


SPOILT = {
    "percent": (softmax() * 100, ScoreError, "divided by 100"),
    "NaN": (np.where(softmax() > 0.5, np.nan, softmax()).astype("f4"), ScoreError, "NaN"),
    "negative": (softmax() - 0.2, ScoreError, "outside 0 to 1"),
    "sigmoids": (np.full((*SHAPE, 3), 0.6, "f4"), ScoreError, "add up to 1.8, not 1"),
    "bytes to 100": (np.rint(softmax() * 100).astype("u1"), ScoreError, "not 1"),
    "ids": (np.repeat(TRUTH[..., None] * 90, 3, -1), ScoreError, "not 1"),
    "32-bit": ((softmax() * 1e6).astype("i4"), ScoreError, "0 to 65535 where it is 16-bit"),
    "four": (softmax(classes=4), ChannelError, "has 4 channels, but .* have 2 or 3"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_what_are_no_maps_of_the_classes_is_refused_in_words(tmp_path: Path, what: str) -> None:
    maps, kind, words = SPOILT[what]
    path = ilastik(tmp_path / "prob.h5", maps)
    with pytest.raises(kind, match=words) as caught:
        open_segmentation(path, Meaning(classes=THREE)).labels[0].read()
    assert "prob.h5" in str(caught.value)
    assert str(caught.value).count("::channel") <= 2


def test_overlapping_classes_need_a_channel_each(tmp_path: Path) -> None:
    path = ilastik(tmp_path / "prob.h5", softmax())
    with pytest.raises(ChannelError, match=r"has 3 channels, but .* mito, membrane have 2"):
        open_segmentation(path, Meaning(classes=BOTH))


def test_a_truth_is_never_read_from_probabilities(tmp_path: Path) -> None:
    path = ilastik(tmp_path / "prob.h5", softmax())
    with pytest.raises(ChannelError, match=r"::channel=0 to ::channel=2"):
        open_segmentation(path, Meaning(classes=THREE), role="truth")


def test_one_channel_or_one_that_is_named_is_no_set_of_maps(tmp_path: Path) -> None:
    path = ilastik(tmp_path / "prob.h5", softmax())
    assert class_maps_at(f"{path}::channel=1", THREE) is None
    assert class_maps_at(tmp_path / "nothing.h5", THREE) is None
    assert class_maps_at("a-volume-of-the-recipe", THREE) is None
    with pytest.raises(ChannelError, match="has no channel 3"):
        class_maps_at(f"{path}::channel=3", THREE)


def test_probabilities_given_as_labels_are_told_what_to_do(tmp_path: Path) -> None:
    path = ilastik(tmp_path / "prob.h5", softmax())
    for role in ("prediction", "annotation"):
        with pytest.raises(ScoreError, match=r"no whole number, so these are no labels; .*--binarize 0\.5"):
            open_segmentation(f"{path}::channel=1", Meaning(classes=THREE), role=role)
    whole = ilastik(tmp_path / "whole.h5", TRUTH[..., None].astype(np.float32))
    assert np.array_equal(open_segmentation(whole, Meaning(classes=THREE)).labels[0].read(), TRUTH)
    with pytest.raises(ScoreError, match="holds nan"):
        open_segmentation(ilastik(tmp_path / "nan.h5", TRUTH[..., None] * np.nan), Meaning(classes=THREE))
