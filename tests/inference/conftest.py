"""Small networks and images that the tests of this room share."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.data.image import Image, image_of_array
from cristae.inference.locality import measure_locality
from cristae.inference.predictor import Member
from cristae.preprocess.normalize import Normalizer

MITO = Classes(names=("background", "mito"))
UNCHANGED = Normalizer(0.0, 255.0)


class Pyramidal(nn.Module):
    """Two levels with all that makes blocks hard: stride, dilation, bilinear and transposed enlargement, a skip.

    Like every network here it pads with zeros at the far side to its total stride of 4, and crops.
    """

    def __init__(self, out_channels: int = 1, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True))
        self.down = nn.Conv2d(4, 6, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.wide = nn.Conv2d(6, 6, 3, padding=2, dilation=2)
        self.up = nn.Upsample(scale_factor=2.0, mode="bilinear", align_corners=False)
        self.twice = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.head = nn.Conv2d(8, out_channels, 3, padding=1)
        for values in self.parameters():
            values.data.mul_(2.0)

    def forward(self, image: Tensor) -> Tensor:
        y, x = image.shape[2:]
        fine = self.first(nn.functional.pad(image, (0, -x % 4, 0, -y % 4)))
        coarse = self.up(torch.relu(self.wide(self.pool(torch.relu(self.down(fine))))))
        return self.head(torch.cat([fine, self.twice(coarse)], dim=1))[..., :y, :x]


def member(network: nn.Module, *, stride: int, classes: Classes = MITO, normalizer: Normalizer = UNCHANGED) -> Member:
    return Member(network.eval(), measure_locality(network, ndim=2, stride=stride), normalizer, classes)


@pytest.fixture
def pyramidal() -> Callable[..., Member]:
    def make(classes: Classes = MITO, seed: int = 0) -> Member:
        return member(Pyramidal(classes.n_logits, seed), stride=4, classes=classes)

    return make


@pytest.fixture
def make_member() -> Callable[..., Member]:
    return member


@pytest.fixture
def noise() -> Callable[..., Image]:
    def make(*shape: int, seed: int = 0) -> Image:
        grey = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
        return image_of_array(grey, voxel_size_nm=(40.0, 10.0, 10.0))

    return make


def one_pass(member: Member, image: Image) -> Tensor:
    """Probabilities (K, Z, Y, X) by a single forward pass of each whole slice."""
    grey = member.normalizer.apply(torch.from_numpy(image.read().astype(np.float32)))
    with torch.inference_mode():
        logits = torch.stack([member.network(plane[None, None])[0] for plane in grey], dim=1)
    return torch.softmax(logits, 0) if member.classes.softmax else torch.sigmoid(logits)


@pytest.fixture
def whole() -> Callable[[Member, Image], Tensor]:
    return one_pass
