"""A loss over several outputs: which truth each is compared with, and how much it counts."""

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.losses import CrossEntropyDice, SegETLoss, kernel_l2, with_auxiliary_outputs

ONE = Classes(names=("background", "mito"))
FOUR = Classes(names=("background", "mito", "membrane", "granule"))


class Recorder(nn.Module):
    """Keeps what it is called with; its loss is the mean of the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []

    def forward(self, *given):
        self.seen.append(given)
        return given[0].mean()


def test_a_factor_of_two_picks_the_far_voxel_and_three_the_centre():
    recorder = Recorder()
    target = torch.arange(12).view(1, 1, 12)
    outputs = tuple(torch.zeros(1, 1, 1, side) for side in (12, 6, 4, 3))
    with_auxiliary_outputs(recorder, (1.0,) * 4)(outputs, target, target > 5, target.float())
    found = [seen[1].flatten().tolist() for seen in recorder.seen]
    assert found == [list(range(12)), [1, 3, 5, 7, 9, 11], [1, 4, 7, 10], [2, 6, 10]]
    assert [seen[2].flatten().tolist() for seen in recorder.seen][3] == [False, True, True]
    assert [seen[3].flatten().tolist() for seen in recorder.seen][3] == [2.0, 6.0, 10.0]


@pytest.mark.parametrize(("size", "coarse"), [((12, 20, 9), (3, 10, 9)), ((7, 13, 30), (4, 6, 7))])
def test_truth_of_a_coarser_output_is_the_nearest_voxel_in_all_axes_and_channels(size, coarse):
    recorder, generator = Recorder(), torch.Generator().manual_seed(0)
    masks = torch.randint(0, 2, (2, 3, *size), generator=generator, dtype=torch.uint8)
    valid = torch.rand(2, *size, generator=generator) < 0.5
    weight = torch.rand(2, 3, *size, generator=generator)
    with_auxiliary_outputs(recorder, (0.0, 1.0))(
        (torch.zeros(2, 3, *size), torch.zeros(2, 3, *coarse)), masks, valid, weight
    )
    ((_, *found),) = recorder.seen
    expected = [F.interpolate(part.float(), coarse, mode="nearest-exact") for part in (masks, valid[:, None], weight)]
    assert torch.equal(found[0], expected[0].byte())
    assert torch.equal(found[1], expected[1][:, 0] > 0)
    assert torch.equal(found[2], expected[2])


def test_the_sum_is_weighted_and_an_output_of_weight_zero_is_never_looked_at():
    recorder = Recorder()
    outputs = (torch.full((1, 1, 4, 4), 3.0), torch.full((1, 1, 2, 2), 5.0), torch.full((1, 1, 1, 1), float("nan")))
    target = torch.zeros(1, 4, 4, dtype=torch.uint8)
    value = with_auxiliary_outputs(recorder, (1.0, 0.5, 0.0))(outputs, target, target == 0, None)
    assert value.item() == 3 + 0.5 * 5
    assert len(recorder.seen) == 2
    assert recorder.seen[1][3] is None


def test_gradient_of_each_output_is_that_of_its_own_loss_times_its_weight():
    generator = torch.Generator().manual_seed(1)
    outputs = [torch.randn(2, 4, side, side, generator=generator, requires_grad=True) for side in (8, 4)]
    target = torch.randint(0, 4, (2, 8, 8), generator=generator)
    valid = torch.rand(2, 8, 8, generator=generator) < 0.8
    loss = CrossEntropyDice().build(FOUR)
    with_auxiliary_outputs(loss, (1.0, 0.33))(tuple(outputs), target, valid, None).backward()
    alone = [output.detach().clone().requires_grad_() for output in outputs]
    loss(alone[0], target, valid, None).backward()
    loss(alone[1], target[:, 1::2, 1::2], valid[:, 1::2, 1::2], None).backward()
    torch.testing.assert_close(outputs[0].grad, alone[0].grad)
    torch.testing.assert_close(outputs[1].grad, 0.33 * alone[1].grad)


def test_plain_logits_have_the_loss_itself_and_a_tuple_of_one_its_weight():
    logits, target = torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2)
    loss = with_auxiliary_outputs(CrossEntropyDice(dice_weight=0).build(ONE), (0.33,))
    assert loss(logits, target, target == 0, None).item() == pytest.approx(0.693147, abs=1e-6)
    assert loss((logits,), target, target == 0, None).item() == pytest.approx(0.33 * 0.693147, abs=1e-6)


def test_a_recipe_may_choose_the_weights():
    recorder, target = Recorder(), torch.zeros(1, 2, 2)
    outputs = (torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 5.0))
    assert with_auxiliary_outputs(recorder, (1.0, 0.33), (0.0, 2.0))(outputs, target, target == 0, None).item() == 10


def test_a_wrong_number_of_weights_is_refused():
    recorder, target = Recorder(), torch.zeros(1, 2, 2)
    with pytest.raises(
        RecipeError, match=r"loss.auxiliary_weights: \[1.0\] does not fit, because the network has 2 outputs"
    ):
        with_auxiliary_outputs(recorder, (1.0, 0.33), (1.0,))
    with pytest.raises(RecipeError, match=r"gives 2 outputs while training, but there are 1 loss.auxiliary_weights"):
        with_auxiliary_outputs(recorder, (1.0,))((torch.zeros(1, 1, 2, 2),) * 2, target, target == 0, None)


@pytest.mark.parametrize("weights", [(), (0.0, 0.0), (1.0, -0.5)])
def test_weights_that_teach_nothing_are_refused(weights):
    with pytest.raises(ValidationError, match="auxiliary_weights"):
        CrossEntropyDice(auxiliary_weights=weights)


def test_penalty_is_l2_times_the_squared_kernels():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ConvTranspose2d(2, 1, 2))
    assert SegETLoss().penalty(network).item() == pytest.approx(1e-4 * kernel_l2(network).item())
    assert not CrossEntropyDice().penalty(network).requires_grad
    assert CrossEntropyDice().penalty(network).item() == 0
