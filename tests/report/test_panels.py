"""What the panels of a slice show."""

import base64
import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Picture

from cristae.data.classes import Classes
from cristae.report.panels import (
    CONFUSED,
    FALSE,
    MISSED,
    UNKNOWN,
    choose_slices,
    error_ids,
    foreground_iou,
    scale_bar,
    slices_markup,
)
from cristae.report.preview import Preview

CLASSES = Classes(names=("background", "cell", "granule"))


def preview(z=0, truth=None, prediction=None, *, score=0.5, name=None, size=(50.0, 10.0, 10.0), shape=(6, 8)):
    truth = np.zeros(shape, np.uint8) if truth is None else np.array(truth, np.uint8)
    prediction = truth if prediction is None else np.array(prediction, np.uint8)
    scores = {"background": 1.0, "cell": score, "granule": math.nan} if name is None else {name: score}
    return Preview("v", z, name, scores, size, np.full(truth.shape, 90, np.uint8), truth, prediction)


def pictures(markup):
    """(Y, X, RGBA) arrays by the end of their id."""
    found = {}
    for part in str(markup).split("<image ")[1:]:
        data = part.split('href="data:image/png;base64,')[1].split('"')[0]
        name = part.split('id="')[1].split('"')[0]
        found[name] = np.asarray(Picture.open(io.BytesIO(base64.b64decode(data))).convert("RGBA"))
    return found


def rgb(color):
    return [int(color[i : i + 2], 16) for i in (1, 3, 5)]


def test_every_kind_of_error_has_its_id():
    truth = np.array([0, 1, 1, 0, 1, 2, 255, 255], np.uint8)
    prediction = np.array([0, 1, 0, 1, 2, 1, 0, 1], np.uint8)
    assert error_ids(truth, prediction).tolist() == [0, 0, 1, 2, 3, 3, 4, 4]


def test_pictures_have_the_class_colours_and_are_clear_elsewhere():
    one = preview(truth=[[0, 1, 2, 255, 1, 0]] * 6, prediction=[[0, 1, 2, 1, 2, 1]] * 6)
    layers = pictures(slices_markup([("worst", one)], CLASSES))
    truth, prediction, error = (layers[f"s0-{name}"][0] for name in ("truth", "prediction", "error"))
    cell, granule = rgb(CLASSES.color_of("cell")), rgb(CLASSES.color_of("granule"))
    assert truth[:, 3].tolist() == [0, 255, 255, 255, 255, 0]
    assert truth[1, :3].tolist() == cell
    assert truth[2, :3].tolist() == granule
    assert truth[3, :3].tolist() == rgb(UNKNOWN)
    assert prediction[4, :3].tolist() == granule
    assert error[:, 3].tolist() == [0, 0, 0, 255, 255, 255]
    assert [error[i, :3].tolist() for i in (3, 4, 5)] == [rgb(UNKNOWN), rgb(CONFUSED), rgb(FALSE)]
    assert (layers["s0-grey"][..., 0] == 90).all()


def test_one_overlapping_class_is_shown_against_the_rest():
    masks = Classes(names=("membrane", "mito"), exclusive=False)
    markup = slices_markup([("", preview(truth=[[0, 1, 1]] * 3, prediction=[[0, 0, 1]] * 3, name="mito"))], masks)
    layers = pictures(markup)
    assert layers["s0-truth"][0, 1, :3].tolist() == rgb(masks.color_of("mito"))
    assert layers["s0-error"][0, 1].tolist() == [*rgb(MISSED), 255]
    assert "wrong class" not in markup


def test_large_slices_are_made_smaller_and_say_so():
    one = preview(truth=np.ones((1500, 3000)), size=None)
    markup = slices_markup([("", one)], CLASSES)
    assert pictures(markup)["s0-truth"].shape == (500, 1000, 4)
    assert "3000 x 1500 pixels, shown at 1/3 of its size" in markup
    assert "voxel size unknown: no scale bar" in markup
    assert 'class="bar"' not in markup


def test_worst_median_and_best_are_shown_first_and_at_most_six():
    previews = [
        preview(z, score=score) for z, score in enumerate([0.9, 0.1, 0.5, math.nan, 0.3, 0.7, 0.6, 0.2, 0.8, 0.4])
    ]
    chosen = choose_slices(previews)
    values = [foreground_iou(one) for _, one in chosen]
    assert len(chosen) == 6
    assert values == sorted(values)
    named = {tag: foreground_iou(one) for tag, one in chosen if tag}
    assert named == {"worst": 0.1, "median": 0.5, "best": 0.9}


@pytest.mark.parametrize(("count", "tags"), [(0, []), (1, ["only slice"]), (2, ["worst", "best"])])
def test_few_slices(count, tags):
    assert [tag for tag, _ in choose_slices([preview(z, score=z / 4) for z in range(count)])] == tags


def test_slices_without_foreground_are_shown_only_when_nothing_else_is():
    empty = [preview(z, score=math.nan) for z in range(9)]
    assert len(choose_slices(empty)) == 6
    assert [one.z for _, one in choose_slices([*empty, preview(20)])] == [20]


@given(st.integers(2, 5000), st.floats(1e-3, 1e5))
def test_a_scale_bar_has_a_round_length_that_fits(width, pixel_nm):
    bar = scale_bar(width, pixel_nm)
    number, unit = bar.text.split()
    length = float(number) * (1000 if unit == "µm" else 1)
    assert bar.share == pytest.approx(100 * length / (width * pixel_nm), abs=0.01, rel=1e-3)
    assert 9.9 <= bar.share <= 25.01
    digits = f"{length:.0e}"[0]
    assert digits in "125"


def test_the_scale_bar_of_a_shrunken_slice_counts_larger_pixels():
    bar = scale_bar(1000, 10)
    assert (bar.text, bar.share) == ("2 µm", 20)
    markup = slices_markup([("", preview(truth=np.zeros((100, 2000)), size=(50.0, 5.0, 5.0)))], CLASSES)
    assert '<div class="bar" style="width:20.0%"><span>2 µm</span></div>' in markup


def test_the_magnifier_starts_where_most_errors_are():
    truth, prediction = np.zeros((200, 400), np.uint8), np.zeros((200, 400), np.uint8)
    prediction[150:160, 300:310] = 1
    markup = str(slices_markup([("", preview(truth=truth, prediction=prediction))], CLASSES))
    x, y, side, _ = map(int, markup.split('class="zoom" viewBox="')[1].split('"')[0].split())
    assert side == 80
    assert x <= 300 < 310 <= x + side
    assert y <= 150 < 160 <= y + side
