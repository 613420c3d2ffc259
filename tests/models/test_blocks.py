"""The constants that networks share."""

import torch

from cristae.models.blocks import conv_bn_relu, crop_centre, upsample


def test_running_statistics_take_one_part_in_a_hundred():
    block = conv_bn_relu(1, 1, kernel=1)
    block[0].weight.data.fill_(1.0)
    block[0].bias.data.zero_()
    block(torch.full((2, 1, 3, 3), 50.0))
    assert block[1].running_mean.item() == 0.5
    assert round(block[1].running_var.item(), 6) == 0.99


def test_dilation_and_stride_keep_or_halve_the_size():
    image = torch.zeros(1, 1, 32, 32)
    assert conv_bn_relu(1, 1, dilation=8)(image).shape == (1, 1, 32, 32)
    assert conv_bn_relu(1, 1, stride=2)(image).shape == (1, 1, 16, 16)


def test_enlargement_treats_voxels_as_areas():
    row = torch.tensor([0.0, 4.0]).view(1, 1, 1, 2)
    torch.testing.assert_close(upsample(2)(row)[0, 0, 0], torch.tensor([0.0, 1.0, 3.0, 4.0]))


def test_central_part_starts_at_half_of_what_is_cut_off_rounded_down():
    for side, wanted, start in ((75, 74, 0), (150, 148, 1), (300, 296, 2), (7, 7, 0)):
        row = torch.arange(side).view(1, 1, 1, side)
        found = crop_centre(row, (1, wanted)).flatten()
        assert found.tolist() == list(range(start, start + wanted))
