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
    return member_of(network, config, classes=classes, normalizer=normalizer, slices=slices, windows=windows)


def member_of(
    network: nn.Module,
    config: Sizes,
    *,
    classes: Classes = MITO,
    normalizer: Normalizer = UNCHANGED,
    slices: int = 1,
    windows: Windows | None = None,
) -> Member:
    locality = measure_locality(network, config, in_channels=slices)
    return Member(network.eval(), locality, normalizer, classes, slices, windows)


class Valid(nn.Module):
    """Convolutions without padding, one pooling and a skip that is cut in its centre: a margin of 4, any even size."""

    config = Sizes(stride=(2, 2), edge=(4, 4), least=(2, 2))

    def __init__(self, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.low = nn.Conv2d(in_channels, 4, 3), nn.Conv2d(4, 6, 3)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
        self.last = nn.Conv2d(8, out_channels, 3)

    def forward(self, image: Tensor) -> Tensor:
        self.config.output_size(image.shape[2:])
        fine = torch.relu(self.first(image))
        coarse = self.up(torch.relu(self.low(nn.functional.max_pool2d(fine, 2))))
        return self.last(torch.cat([fine[..., 2:-2, 2:-2], coarse], 1))


class Lagging(nn.Module):
    """A 3D network that pads its convolutions, pools 4k + 2 voxels twice and cuts the skips: a margin of 1 in y and x,
    and a coarse path that lags behind the fine one."""

    config = Sizes(stride=(1, 4, 4), edge=(0, 1, 1), least=(1, 4, 4))

    def __init__(self, out_channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mid = nn.Conv3d(1, 3, 3, padding=1), nn.Conv3d(3, 4, (1, 3, 3), padding=(0, 1, 1))
        self.low = nn.Conv3d(4, 5, 3, padding=1)
        self.up, self.up2 = (nn.ConvTranspose3d(n, 3, (1, 2, 2), stride=(1, 2, 2)) for n in (5, 7))
        self.last = nn.Conv3d(6, out_channels, 1)
        for values in self.parameters():
            values.data.mul_(1.5)

    def forward(self, image: Tensor) -> Tensor:
        self.config.output_size(image.shape[2:])
        fine = torch.relu(self.first(image))
        mid = torch.relu(self.mid(nn.functional.max_pool3d(fine, (1, 2, 2))))
        up = self.up(torch.relu(self.low(nn.functional.max_pool3d(mid, (1, 2, 2)))))
        up = self.up2(torch.cat([mid[..., : up.shape[3], : up.shape[4]], up], 1))
        return self.last(torch.cat([fine[..., 1:-1, 1:-1], up], 1))


class Solid(nn.Module):
    """A 3D network with another stride along z, padded with zeros at the far side."""

    config = Sizes(stride=(2, 4, 4))

    def __init__(self, out_channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.down = nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 6, 3, stride=(1, 2, 2), padding=1)
        self.up = nn.ConvTranspose3d(6, 4, (2, 4, 4), stride=(2, 4, 4))
        self.last = nn.Conv3d(8, out_channels, 3, padding=1)
        for values in self.parameters():
            values.data.mul_(1.5)

    def forward(self, image: Tensor) -> Tensor:
        z, y, x = image.shape[2:]
        fine = torch.relu(self.first(nn.functional.pad(image, (0, -x % 4, 0, -y % 4, 0, -z % 2))))
        coarse = self.up(nn.functional.max_pool3d(torch.relu(self.down(fine)), 2))
        return self.last(torch.cat([fine, coarse], 1))[..., :z, :y, :x]


class Whole(nn.Module):
    """Looks at all that it is given: instance normalisation."""

    def __init__(self, ndim: int = 2, in_channels: int = 1, out_channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        convolution, norm = (nn.Conv2d, nn.InstanceNorm2d) if ndim == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        self.layers = nn.Sequential(
            convolution(in_channels, 4, 3, padding=1), norm(4), nn.ReLU(), convolution(4, out_channels, 1)
        )

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)
