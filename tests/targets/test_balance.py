"""Weights by the frequency of classes, against the numbers of the papers and by hand."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from cristae.targets import BatchBalance, ClassBalance


class Part:
    """Labels (K, Z, Y, X) in memory."""

    def __init__(self, labels: np.ndarray, class_counts: list[int]) -> None:
        self.labels, self.class_counts = labels, np.array(class_counts, np.int64)

    def label_blocks(self) -> Iterator[np.ndarray]:
        half = self.labels.shape[2] // 2
        yield self.labels[:, :, :half]
        yield self.labels[:, :, half:]


def test_class_balance_of_the_dense_cell_paper() -> None:
    labels = np.array([[0, 0, 0, 1], [0, 0, 1, 2]], np.uint8)
    config = ClassBalance(floor=0.01)
    statistics = config.prepare([Part(labels[None, None], [5, 2, 1])])
    maps = config(torch.from_numpy(labels)[None], torch.ones(1, 2, 4, dtype=torch.bool), statistics)
    expected = np.array([0.2, 0.5, 1.0])[labels] + 0.01
    np.testing.assert_allclose(maps.weight, expected[None], rtol=1e-6)
    assert maps.weight.dtype == torch.float32


def test_class_balance_of_the_papers_slice_of_3072_960_and_64_voxels() -> None:
    labels = np.repeat(np.array([0, 1, 3], np.uint8), [3072, 960, 64]).reshape(1, 64, 64)
    config = ClassBalance(floor=0)
    statistics = config.prepare([Part(labels[None], [3072, 960, 0, 64])])
    weight = config(torch.from_numpy(labels), torch.ones(1, 64, 64, dtype=torch.bool), statistics).weight
    np.testing.assert_allclose(np.unique(weight), [0.020833, 0.066667, 1.0], atol=5e-7)


def test_statistics_are_those_of_all_parts_and_leave_out_what_does_not_count() -> None:
    first, second = np.zeros((1, 1, 4, 4), np.uint8), np.full((1, 1, 4, 4), 255, np.uint8)
    second[..., 0, 0] = 1
    statistics = ClassBalance().prepare([Part(first, [16, 0]), Part(second, [0, 1])])
    assert statistics == {"class_counts": [16, 1], "voxels": 17}


def test_each_overlapping_class_has_its_own_balance() -> None:
    labels = np.zeros((2, 1, 4, 4), np.uint8)
    labels[0, 0, 0] = 1
    labels[1, 0, :2] = 1
    config = ClassBalance(floor=0)
    statistics = config.prepare([Part(labels, [8, 4, 8])])
    weight = config(torch.from_numpy(labels[:, 0])[None], torch.ones(1, 4, 4, dtype=torch.bool), statistics).weight
    np.testing.assert_allclose(weight[0, 0], np.where(labels[0, 0], 1, 4 / 12), rtol=1e-6)
    np.testing.assert_allclose(weight[0, 1], np.ones((4, 4)), rtol=1e-6)


def test_batch_balance_counts_the_valid_voxels_of_the_whole_batch() -> None:
    target = torch.tensor([[[0, 0, 0, 255]], [[1, 0, 0, 0]]], dtype=torch.uint8)
    valid = torch.tensor([[[True, True, True, False]], [[True, True, True, False]]])
    weight = BatchBalance()(target, valid, {}).weight
    expected = torch.tensor([[[0.2, 0.2, 0.2, 0.0]], [[1.0, 0.2, 0.2, 0.2]]])
    torch.testing.assert_close(weight, expected)
    masks = torch.stack([target == 1, target == 0], dim=1).byte()
    weights = BatchBalance()(masks, valid, {}).weight
    torch.testing.assert_close(weights[:, 0][valid], expected[valid])
    torch.testing.assert_close(weights[:, 1][valid], expected[valid])


@pytest.mark.parametrize("labels", [0, 1])
def test_a_batch_of_one_class_weighs_one(labels: int) -> None:
    target = torch.full((2, 3, 3), labels, dtype=torch.uint8)
    assert (BatchBalance()(target, torch.ones_like(target, dtype=torch.bool), {}).weight == 1).all()
    nothing = BatchBalance()(target, torch.zeros_like(target, dtype=torch.bool), {}).weight
    assert (nothing == 0).all()
