"""A function of arrays in a network's place."""

import numpy as np
import torch
from scipy import ndimage

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.inference.arrays import ArrayModel
from cristae.inference.blocks import plan_blocks
from cristae.inference.predictor import Member, Predictor
from cristae.preprocess.normalize import Normalizer


def smoothed(grey, wanted):
    """Two maps that look one voxel far in z and three in y and x, mirrored at the borders."""
    assert grey.dtype == np.float32
    wide = ndimage.uniform_filter(grey, (3, 7, 7), mode="mirror")[wanted.slices]
    return np.stack([wide, 1 - wide])


def test_blocks_equal_the_whole_and_nothing_is_applied(noise):
    image, classes = noise(5, 30, 41), Classes(names=("background", "a"))
    model = ArrayModel(
        lambda grey, wanted: smoothed(grey, wanted)[: classes.n_logits], reach=(1, 3, 3), bytes_per_vox=16
    )
    predictor = Predictor([Member(model, model.locality, Normalizer(0.0, 255.0), classes)], precision="bf16")
    grey = predictor.members[0].normalizer.apply(torch.from_numpy(image.read().astype(np.float32))).numpy()
    expected = smoothed(grey, Box.of_shape(grey.shape))
    found = np.full((1, *image.shape), np.nan, np.float32)
    with predictor.predicting():
        for block in plan_blocks(Box.of_shape(image.shape), (2, 16, 11)):
            found[(0, *block.core.slices)] = predictor.probabilities(image, block.core)[0]
    assert np.abs(found - expected[:1]).max() < 1e-6
    masks = Classes(names=("background", "a"), exclusive=False)
    both = ArrayModel(smoothed, reach=(1, 3, 3), bytes_per_vox=16)
    two = Predictor([Member(both, both.locality, Normalizer(0.0, 255.0), masks)])
    with two.predicting():
        assert np.abs(two.probabilities(image, Box.of_shape(image.shape)).numpy() - expected).max() < 1e-6
