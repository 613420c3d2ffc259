"""Which grey values of a new volume are called far: what costs much, not what images of one microscope differ in."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from cristae.data.open import open_data
from cristae.data.public import find_set
from cristae.preprocess import FixedRange, Local, MinMax, Percentiles, ZScore
from cristae.preprocess.form import fit, range_again
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.shift import COMPARED, FAR, distance

SETS = ("cdeep3m-mito", "drosophila-vnc", "emnet-cardiac", "flyem-medulla-fibsem", "isbi2012")
PERCENTILES = Percentiles()
COSTLY = {
    "brighter by 40": lambda grey: grey + 40,
    "darker by 40": lambda grey: grey - 40,
    "half the contrast": lambda grey: (grey - 128) / 2 + 128,
    "gamma 2": lambda grey: 255 * (grey / 255) ** 2,
}
"""Each takes more than 0.5 of IoU from networks with `scope: training`; see docs/results/brightness.md."""


def section(seed=0):
    """8-bit tissue with dark organelles and membranes, as float64."""
    rng = np.random.default_rng(seed)
    grey = rng.normal(135, 45, 40_000)
    dark = rng.random(40_000) < 0.25
    return np.where(dark, rng.normal(80, 30, 40_000), grey).clip(0, 255).round()


def histogram(grey):
    return IntensityHistogram.of(np.round(grey).astype(np.int32))


def warning(other, config=PERCENTILES, *, again=False):
    normalizer = config.complete(fit(config, histogram(section())))
    return distance(normalizer, histogram(other), range_again(config, histogram(other))).message("'cell'", again=again)


@pytest.mark.parametrize("config", [Percentiles(), MinMax(), ZScore(), ZScore(invert=True), FixedRange()])
@pytest.mark.parametrize("change", COSTLY)
def test_changes_that_cost_much_are_warned_of(config, change):
    assert warning(COSTLY[change](section(1)), config) is not None


@pytest.mark.parametrize("config", [Percentiles(), MinMax(), ZScore(), FixedRange(), Local()])
@pytest.mark.parametrize("other", [section(2), section(3) + 10, (section(4) - 128) * 1.1 + 128])
def test_what_images_of_one_microscope_differ_in_is_not(config, other):
    assert warning(other, config) is None


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (section(1) + 40, "its median grey is 0.1[5-9] training ranges above[;.].*--normalize volume"),
        (section(1) - 40, "its median grey is 0.1[5-9] training ranges below[;.].*--normalize volume"),
        ((section(1) - 128) / 2 + 128, "its contrast is 0.5 times the training data's[;.].*--normalize volume"),
        (255 * (section(1) / 255) ** 2, "its median grey is 0.2.* below.*another gamma.*histogram_matching"),
        (
            section(1) + 60 * (section(1) < 90),
            r"its dark greys \(5th percentile\) are 0.2 training ranges above[;.].*another gamma",
        ),
    ],
)
def test_messages_say_what_is_far_by_how_much_and_the_cure(other, words):
    found = warning(other)
    assert found is not None
    assert re.search(words, found), found


def test_a_range_found_again_is_warned_of_only_where_the_shape_differs():
    """A gamma is no new range: `--normalize volume` does not mend it, and loses as much."""
    for change in ("brighter by 40", "darker by 40", "half the contrast"):
        assert warning(COSTLY[change](section(1)), again=True) is None
    found = warning(COSTLY["gamma 2"](section(1)), again=True)
    assert found is not None
    assert re.search("even within its own range, its median grey is .* below.*histogram_matching", found)
    assert "--normalize volume" not in found, "it is in use already"


def test_a_fixed_range_cannot_be_found_again():
    found = warning(section(1) + 40, FixedRange())
    assert found is not None
    assert "--normalize volume" not in found
    assert "percentiles, scope: volume" in found


def test_a_local_contrast_does_not_mind_brightness_unless_it_is_cut_off():
    """Grey values are clipped at -0.5 and 1.5 before the window is taken; within, brightness and contrast vanish."""
    for change in ("brighter by 40", "darker by 40", "half the contrast"):
        assert warning(COSTLY[change](section(1)), Local()) is None
    found = warning(section(1) + 300, Local())
    assert found is not None
    assert re.search("% of its voxels lie outside the training range.*--normalize volume", found)


def test_differences_worked_by_hand():
    """Training data 0 to 100, range 0.5 to 99.5 %: 0 to 99 or 100. A volume of 20 to 120 is 20 higher everywhere; its
    own range takes that away."""
    training = fit(Percentiles(), IntensityHistogram.of(np.arange(0, 101, dtype=np.int32)))
    volume = IntensityHistogram.of(np.arange(20, 121, dtype=np.int32))
    own = range_again(Percentiles(), volume)
    assert own == (20, 120)
    shift = distance(training, volume, own)
    assert shift.differences == pytest.approx([0.2] * len(COMPARED))
    assert shift.remaining == pytest.approx([0] * len(COMPARED), abs=1e-9)
    assert shift.median == pytest.approx(0.2)
    assert range_again(FixedRange(), volume) is None
    assert range_again(Percentiles(), IntensityHistogram.of(np.full(9, 7))) is None, "one value has no range"


def test_runs_that_know_two_ends_only_compare_medians():
    normalizer = Normalizer(low=0, high=255)
    assert distance(normalizer, histogram(section())).message() is None
    assert "median grey is" in str(distance(normalizer, histogram(section() + 60)).message())


@pytest.mark.data
@pytest.mark.skipif(not os.environ.get("CRISTAE_DATA"), reason="CRISTAE_DATA does not name a folder of public sets")
@pytest.mark.parametrize("name", SETS)
def test_held_out_images_are_near_and_costly_changes_far(name):
    folder = Path(os.environ["CRISTAE_DATA"]) / name
    if not folder.is_dir():
        pytest.skip(f"CRISTAE_DATA has no {name}")
    opened = open_data(find_set(name).find_task(None)[1], folder)
    train = [part.volume.image.read(part.box).ravel() for part in opened.train]
    normalizer = fit(Percentiles(), histogram(np.concatenate(train)))
    held_out = [part.volume.image.read(part.box) for part in opened.validate]
    for grey in held_out:
        shift = distance(normalizer, histogram(grey))
        assert shift.message() is None
        assert max(map(abs, shift.differences)) < FAR
    together = np.concatenate([grey.ravel() for grey in held_out]).astype(np.float64)
    for name, change in COSTLY.items():
        assert distance(normalizer, histogram(change(together))).message() is not None, name
