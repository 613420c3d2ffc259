"""Small networks of every kind, and what prediction needs to know about them."""

import torch
from torch import Tensor, nn

from cristae.data.classes import Classes
from cristae.inference.locality import measure_locality
from cristae.inference.predictor import Member
from cristae.inference.windows import Windows
from cristae.models import NetworkConfig
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


class Sizes(NetworkConfig):
    """The sizes that a network of a test works at."""

    stride: tuple[int, ...]
    edge: tuple[int, ...] = ()
    least: tuple[int, ...] = ()
    only: bool = False

    @property
    def ndim(self) -> int:
        return len(self.stride)

    @property
    def total_stride(self) -> tuple[int, ...]:
        return self.stride

    @property
    def margin(self) -> tuple[int, ...]:
        return self.edge or (0,) * self.ndim

    @property
    def smallest_output(self) -> tuple[int, ...]:
        return self.least or self.stride

    @property
    def fixed_output(self) -> bool:
        return self.only

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        raise NotImplementedError


def member(
    network: nn.Module,
    *,
    stride: int | tuple[int, ...],
    classes: Classes = MITO,
    normalizer: Normalizer = UNCHANGED,
    slices: int = 1,
    windows: Windows | None = None,
    **sizes: tuple[int, ...],
) -> Member:
    config = Sizes(stride=(stride, stride) if isinstance(stride, int) else stride, **sizes)
    locality = measure_locality(network, config, in_channels=slices)
    return Member(network.eval(), locality, normalizer, classes, slices, windows)
