"""Mean IoU over some classes, as Guay et al. score organelles inside labelled cells."""

import numpy as np
import pytest

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import ScoreError
from cristae.evaluation.agreement import AgreementOptions
from cristae.evaluation.scoring.settings import ScoreOptions
from cristae.metrics.confusion import Confusion
from cristae.metrics.overlap import mean_iou
from cristae.workflows.agree import agree
from cristae.workflows.evaluate import evaluate

FIVE = Classes(names=("background", "rest", "mito", "granule", "golgi"))
PLATELET = Classes(names=("background", "cell", "mito", "alpha", "vessel", "body", "core"))


def over(found, truth, names, classes=FIVE, **options):
    mask = options.pop("mask", None)
    options = ScoreOptions(over=names, scores=("overlap",), **options)
    rows = evaluate(image_of_array(found), image_of_array(truth), classes=classes, mask=mask, options=options)
    (row,) = (one for one in rows if (one.class_name, one.metric) == ("+".join(names), "mIoU"))
    return row


def ids(text):
    return np.array([[list(map(int, text.split()))]], np.uint8)


def test_means_over_some_classes_by_hand():
    """metrics 13.6: over {2, 3} 0.416667; over {2, 3, 4} the same, with two classes averaged: nobody has class 4."""
    truth, found = ids("0 0 0 0 1 1 1 2 2 3"), ids("0 0 0 1 1 1 2 2 3 3")
    row = over(found, truth, ("mito", "granule"))
    assert (row.value, row.n) == (pytest.approx(0.4166667), 2)
    row = over(found, truth, ("mito", "granule", "golgi"))
    assert (row.value, row.n) == (pytest.approx(0.4166667), 2)
    assert "without golgi, which neither has" in row.rule


def test_mean_over_all_three_classes_of_guay():
    """dense-cell fact 11: true [0,0,1,1,2,2], predicted [0,1,1,1,2,0] -> 1/3, 2/3, 1/2, mean 0.5."""
    classes = Classes(names=("background", "cell", "mito"))
    row = over(ids("0 1 1 1 2 0"), ids("0 0 1 1 2 2"), classes.names, classes)
    assert row.value == pytest.approx(0.5)


def test_organelles_inside_the_labelled_cell_only():
    """Guay's MIoU(org): classes 2 to 6, where the true label is not 0; what is predicted outside is no error."""
    rng = np.random.default_rng(0)
    truth, found = rng.integers(0, 7, (2, 3, 20, 20)).astype(np.uint8)
    row = over(found, truth, PLATELET.names[2:], PLATELET, mask=image_of_array((truth > 0).astype(np.uint8)))
    inside = truth > 0
    expected = mean_iou(Confusion.of(truth[inside], found[inside], 7), range(2, 7))
    assert (row.value, row.n) == (pytest.approx(expected.value), 5)
    whole = over(found, truth, PLATELET.names[2:], PLATELET)
    assert whole.value < row.value


def test_it_is_what_agree_gives_for_a_pair():
    rng = np.random.default_rng(1)
    truth, found = rng.integers(0, 7, (2, 3, 20, 20)).astype(np.uint8)
    names = PLATELET.names[2:]
    row = over(found, truth, names, PLATELET)
    pair = {"a": image_of_array(truth), "b": image_of_array(found)}
    scores = agree(pair, classes=PLATELET, options=AgreementOptions(over=names)).scores()
    (other,) = (one for one in scores if (one.class_name, one.metric) == (row.class_name, "mIoU"))
    assert row.value == other.value


@pytest.mark.slow
def test_it_has_an_interval_like_other_means():
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 5, (12, 16, 16)).astype(np.uint8)
    noise = rng.random(truth.shape) < rng.uniform(0.1, 0.5, 12)[:, None, None]
    found = np.where(noise, rng.integers(0, 5, truth.shape), truth).astype(np.uint8)
    row = over(found, truth, ("mito", "golgi"), unit="slice")
    assert row.low < row.value < row.high


@pytest.mark.parametrize(
    ("names", "options", "text"),
    [
        (("mito", "moon"), {}, "no class 'moon'"),
        (("mito", "mito"), {}, "twice"),
        (("mito",), {}, "several classes"),
        (("mito", "golgi"), {"scores": ("partition",)}, "no effect"),
    ],
)
def test_what_is_no_set_of_classes_is_refused(names, options, text):
    truth = ids("0 1 2 3")
    with pytest.raises(ScoreError, match=text):
        evaluate(
            image_of_array(truth), image_of_array(truth), classes=FIVE, options=ScoreOptions(over=names, **options)
        )
