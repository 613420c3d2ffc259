"""How networks are validated: as they will be applied, and by the better way where two are possible."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.evaluation.validation import Validation, better_application
from cristae.inference.config import PredictConfig
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows
from cristae.metrics.tally import Tally
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.training.epoch_counts import EpochCounts
from cristae.training.feed import Worker

CLASSES, NORMALIZER = Classes(names=("background", "a")), Normalizer(0.0, 255.0)
WINDOWS = Windows("tiles", (4, 8, 8), 3)
AUTO = PredictConfig()


class Blur(nn.Conv3d):
    """A mean of 5 x 5 voxels of each slice, minus the mean grey value."""

    def __init__(self) -> None:
        super().__init__(1, 1, (1, 5, 5), padding=(0, 2, 2))
        self.weight.data.fill_(1 / 25)
        self.bias.data.fill_(-0.48)


def validation(*, shape=(20, 40, 40), local=True, labels=None, reach=(0, 2, 2), windows=WINDOWS) -> Validation:
    grey = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    truth = np.zeros(shape, np.uint8) if labels is None else labels
    volume = Volume("stack", image_of_array(grey), labels=(image_of_array(truth),))
    locality = Locality(local, "", reach, (1, 1, 1), 3)
    parts = [Part(volume, Box((1, 2, 3), shape))]
    return Validation(parts, CLASSES, {"stack": NORMALIZER}, locality, 0.5, torch.device("cpu"), 1, windows)


def applied(windows: Windows | None) -> np.ndarray:
    """What the network says of the whole volume when it is applied so: labels that this way finds perfectly."""
    given = validation()
    image = given.parts[0].volume.image
    predictor = Predictor([Member(Blur(), given.locality, NORMALIZER, CLASSES, 1, windows)])
    with predictor.predicting():
        return (predictor.probabilities(image, Box.of_shape(image.shape))[0] > 0.5).numpy().astype(np.uint8)


def tables_of(given: Validation, worker: Worker = Worker()) -> np.ndarray:
    """(T, K, K) counts of true and predicted class."""
    counts = EpochCounts(given.classes)
    given.count_into(counts, Blur(), worker)
    return counts.arrays()["tables"]


@pytest.mark.parametrize("windows", [None, WINDOWS])
def test_every_annotated_voxel_is_counted_once_and_rightly(windows):
    truth = applied(windows)
    given = validation(labels=truth, windows=windows)
    assert given.mean_iou(Blur()) == 1.0
    counted = tables_of(given)
    assert counted.sum() == given.parts[0].box.size
    halves = [tables_of(given, Worker(rank, 2)) for rank in range(2)]
    np.testing.assert_array_equal(halves[0] + halves[1], counted)
    assert all(half.sum() for half in halves)
    other = validation(labels=truth, windows=WINDOWS if windows is None else None)
    assert 0.2 < other.mean_iou(Blur()) < 0.999


@pytest.mark.parametrize("windows", [None, WINDOWS])
@pytest.mark.parametrize("exclusive", [True, False])
def test_counts_of_epochs_equal_those_of_the_final_scores(windows, exclusive):
    rng = np.random.default_rng(1)
    truth, valid = rng.integers(0, 2, (2, 20, 40, 40), dtype=np.uint8)
    given = validation(labels=truth, windows=windows)
    volume = replace(given.parts[0].volume, valid=image_of_array(valid))
    if not exclusive:
        classes = Classes(names=("a",), exclusive=False)
        given = replace(given, classes=classes)
    given = replace(given, parts=[replace(given.parts[0], volume=volume)])
    tally = Tally("stack", given.classes)
    for slab in given.predicted(Blur()):
        slab.count_into(tally)
    for ours, final in zip(tables_of(given), tally.pooled, strict=True):
        np.testing.assert_array_equal(ours, final.counts)
        assert ours.sum() == valid[1:, 2:, 3:].sum()
        assert (ours > 0).all()


@pytest.mark.parametrize(("made_by", "better"), [(None, "exact"), (WINDOWS, "tiles")])
def test_the_better_application_becomes_the_default(made_by, better):
    given = validation(labels=applied(made_by))
    chosen, facts = better_application(AUTO, Blur(), given, Progress())
    assert facts["better"] == better
    assert facts["val_miou"][better] == 1.0
    assert set(facts["val_miou"]) == {"exact", "tiles"}
    assert 0.2 < min(facts["val_miou"].values()) < 1
    assert chosen.windows == made_by
    assert chosen.mean_iou(Blur()) == 1.0


def test_of_equals_the_exact_one_is_taken():
    constant = nn.Conv3d(1, 1, 1)
    nn.init.zeros_(constant.weight)
    nn.init.constant_(constant.bias, -1.0)
    _, facts = better_application(AUTO, constant, validation(reach=(0, 0, 0)), Progress())
    assert facts["better"] == "exact"


def test_what_leaves_no_choice_is_not_compared(monkeypatch):
    monkeypatch.setattr(Validation, "mean_iou", lambda *_: pytest.fail("nothing to compare"))
    asked = PredictConfig(windows="tiles")
    for settings, given in (
        (asked, validation()),
        (AUTO, validation(local=False)),
        (AUTO, replace(validation(), locality=Locality(True, "", (0, 2, 2), (1, 1, 1), 2))),
    ):
        assert better_application(settings, Blur(), given, Progress()) == (given, {})


def test_an_exact_pass_that_costs_too_much_is_not_tried(monkeypatch):
    monkeypatch.setattr(Validation, "mean_iou", lambda *_: pytest.fail("not worth it"))
    given = validation(shape=(40, 200, 200), reach=(40, 200, 200))
    monkeypatch.setattr("cristae.evaluation.validation._EXACT_BYTES", 170 * 2**20)
    chosen, facts = better_application(AUTO, Blur(), given, Progress())
    assert chosen is given
    assert facts["better"] == "tiles"
    assert "times as many voxels" in facts["untried"]["exact"]
