"""The boundary loss and the boundary-aware cross-entropy by hand."""

import pytest
import torch

from cristae.data.classes import Classes
from cristae.losses import BinaryCrossEntropy, Boundary, BoundaryAware, CrossEntropy
from cristae.losses.term import SumOfTerms
from cristae.targets import Boundaries, Distances
from cristae.targets.masks import foreground_masks

ONE = Classes(names=("background", "mito"))
THREE = Classes(names=("background", "mito", "granule"))
OVERLAPPING = Classes(names=("mito", "granule"), exclusive=False)


def truth(*ids: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One sample of one row, valid everywhere."""
    target = torch.tensor([[list(ids)]], dtype=torch.uint8)
    return target, torch.ones(target.shape, dtype=torch.bool)


def distances(target: torch.Tensor, valid: torch.Tensor, classes: Classes, limit: float) -> dict[str, torch.Tensor]:
    return {"distances": Distances(limit=limit)(foreground_masks(target, valid, classes), valid, None)}


def test_the_boundary_loss_is_the_mean_of_probability_times_distance() -> None:
    target, valid = truth(0, 1, 1, 1, 0, 0)
    valid[..., 5] = False
    further = distances(target, valid, ONE, 2)
    loss = SumOfTerms([Boundary(weight=3)], ONE)
    value = loss(torch.zeros(1, 1, 1, 6), target, valid, None, further)
    assert value.item() == pytest.approx(3 * 0.5 * (1 - 1 - 2 - 1 + 1) / 2 / 5)
    perfect = torch.tensor([[[[-50.0, 50, 50, 50, -50, -50]]]])
    assert loss(perfect, target, valid, None, further).item() == pytest.approx(3 * -4 / 2 / 5)


def test_of_several_classes_it_is_the_mean_over_the_foreground() -> None:
    """Softmax of equal logits is 1/3, sigmoid of 0 is 1/2, without the channel of the background."""
    target, valid = truth(0, 1, 2)
    further = distances(target, valid, THREE, 1)
    assert further["distances"].tolist() == [[[[1, -1, 1]], [[1, 1, -1]]]]
    value = SumOfTerms([Boundary()], THREE)(torch.zeros(1, 3, 1, 3), target, valid, None, further)
    assert value.item() == pytest.approx(2 / 3 / 6)
    masks = foreground_masks(target, valid, THREE).byte()
    value = SumOfTerms([Boundary()], OVERLAPPING)(torch.zeros(1, 2, 1, 3), masks, valid, None, further)
    assert value.item() == pytest.approx(2 / 2 / 6)


def test_a_wrong_voxel_costs_more_the_farther_it_is_from_the_border() -> None:
    target, valid = truth(1, 1, 0, 0, 0, 0)
    further = distances(target, valid, ONE, 10)
    near, far = torch.full((1, 1, 1, 6), -50.0), torch.full((1, 1, 1, 6), -50.0)
    near[..., 2], far[..., 5] = 50, 50
    values = [SumOfTerms([Boundary()], ONE)(one, target, valid, None, further).item() for one in (near, far)]
    assert values == pytest.approx([1 / 10 / 6, 4 / 10 / 6])


@pytest.mark.parametrize("classes", [ONE, THREE])
def test_boundary_aware_is_a_cross_entropy_with_these_weights(classes: Classes) -> None:
    target, valid = truth(0, 0, 1, 1, 1, 0)
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, classes.n_logits, 1, 6, generator=generator)
    further = {"boundaries": Boundaries()(foreground_masks(target, valid, classes), valid, None)}
    factors = torch.tensor([[[1.0, 5, 5, 1, 5, 5]]])
    plain = CrossEntropy() if classes.softmax else BinaryCrossEntropy()
    own = torch.rand(1, 1, 6, generator=generator)
    for weight in (None, own):
        found = SumOfTerms([BoundaryAware(emphasis=5)], classes)(logits, target, valid, weight, further)
        product = factors if weight is None else factors * weight
        torch.testing.assert_close(found, SumOfTerms([plain], classes)(logits, target, valid, product))
    even = SumOfTerms([BoundaryAware(emphasis=1)], classes)(logits, target, valid, own, further)
    torch.testing.assert_close(even, SumOfTerms([plain], classes)(logits, target, valid, own))
