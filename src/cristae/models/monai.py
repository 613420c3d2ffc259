"""Networks of MONAI (https://monai.io), with its own code: the extra `monai` is needed to build them.

Cardoso et al. (2022), https://arxiv.org/abs/2211.02701
Here they take images of any size, and give logits alone when they are not training.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from cristae.errors import NetworkError
from cristae.models.form import Reference, SpatialConfig, crop_near, pad_far_to_two

NormName = Literal["instance", "batch"]


class MonaiConfig(SpatialConfig):
    """What the networks of MONAI have in common."""

    variants: ClassVar[Mapping[str, Mapping[str, Any]]] = {"": {}, "3d": {"ndim": 3}}
    last_is_main: ClassVar[bool] = False
    """Whether the main logits are the last of those that it gives while training."""

    @abstractmethod
    def make(self, nets: Any, in_channels: int, out_channels: int) -> nn.Module:
        """The network of MONAI; `nets` is its module of networks."""

    def build(self, in_channels: int, out_channels: int) -> MonaiNetwork:
        """A network with fresh weights, (B, in_channels, *S) to (B, out_channels, *S)."""
        try:
            from monai.networks import nets
        except ImportError as error:
            name = self.model_dump()["name"]
            raise NetworkError(f'{name} needs MONAI: pip install "cristae[monai]" ({error})') from None
        try:
            network = self.make(nets, in_channels, out_channels)
        except (ValueError, TypeError, AssertionError, NotImplementedError) as error:
            raise NetworkError(f"MONAI cannot build {self.model_dump()['name']}: {error}") from error
        return MonaiNetwork(network, in_channels, self)


class MonaiSegResNetConfig(MonaiConfig):
    """SegResNet of MONAI, residual blocks with deep supervision, for slices or volumes (Myronenko 2018)."""

    reference: ClassVar[Reference] = Reference("Myronenko", 2018, "https://arxiv.org/abs/1810.11654")
    name: Literal["monai_segresnet"] = "monai_segresnet"
    base: PositiveInt = 32
    """Feature channels of the first level; they double at each further one."""
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=8)] = (1, 2, 2, 4, 4)
    """Residual blocks of each level of the encoder, finest first; each further level halves the sides."""
    outputs: Annotated[int, Field(ge=1, le=7)] = 4
    """Levels of the decoder, finest first, that give logits while training: the main output and its auxiliary outputs.
    All of them if there are fewer."""
    norm: NormName = "batch"
    """Normalisation. With `batch` large volumes are predicted exactly in blocks; `instance` suits batches of one."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved once between two levels."""
        return (1 << (len(self.blocks) - 1),) * self.ndim

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """Halved from each output to the next coarser one; they sum to 1."""
        outputs = min(self.outputs, len(self.blocks) - 1)
        return tuple(2.0**-number / (2 - 2.0 ** (1 - outputs)) for number in range(outputs))

    def make(self, nets: Any, in_channels: int, out_channels: int) -> nn.Module:
        """The variant with deep supervision."""
        network: nn.Module = nets.SegResNetDS(
            spatial_dims=self.ndim,
            init_filters=self.base,
            in_channels=in_channels,
            out_channels=out_channels,
            norm=self.norm,
            blocks_down=self.blocks,
            dsdepth=len(self.auxiliary_weights),
        )
        return network


class MonaiSwinUNETRConfig(MonaiConfig):
    """Swin UNETR of MONAI, a transformer with shifted windows, for slices or volumes (Hatamizadeh et al. 2022)."""

    reference: ClassVar[Reference] = Reference("Hatamizadeh et al.", 2022, "https://arxiv.org/abs/2201.01266")
    name: Literal["monai_swin_unetr"] = "monai_swin_unetr"
    base: Annotated[int, Field(gt=0, multiple_of=12)] = 24
    """Feature channels of the first level, of which a third attend together; they double at each of four more. The
    paper has 48."""
    attention_window: Annotated[int, Field(ge=2, le=32)] = 7
    """Positions along each axis that attend to each other, on the coarser grid of each level."""
    depths: tuple[PositiveInt, PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2, 2)
    """Transformer blocks of each level; every second one has shifted windows."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How often training leaves out a transformer block: 0 for the first, growing to this for the last."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved five times."""
        return (32,) * self.ndim

    def make(self, nets: Any, in_channels: int, out_channels: int) -> nn.Module:
        """The network of the paper."""
        device = torch.get_default_device()
        with torch.device("cpu"):  # its constructor reads values, which the meta device does not have
            network: nn.Module = nets.SwinUNETR(
                in_channels=in_channels,
                out_channels=out_channels,
                depths=self.depths,
                window_size=self.attention_window,
                feature_size=self.base,
                dropout_path_rate=self.drop_path,
                spatial_dims=self.ndim,
            )
        return network.to(device)


class MonaiUNetPPConfig(MonaiConfig):
    """UNet++ of MONAI, nested skips with deep supervision, for slices or volumes (Zhou et al. 2018)."""

    reference: ClassVar[Reference] = Reference("Zhou et al.", 2018, "https://arxiv.org/abs/1807.10165")
    last_is_main: ClassVar[bool] = True
    name: Literal["monai_unetpp"] = "monai_unetpp"
    base: Annotated[int, Field(gt=0, multiple_of=2)] = 32
    """Feature channels of the first two levels; they double at each of the three further ones."""
    norm: NormName = "instance"
    """Normalisation. With `batch` large volumes are predicted exactly in blocks; `instance` suits batches of one."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Fraction of the features that training sets to 0 after each convolution."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Sides are halved four times."""
        return (16,) * self.ndim

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """All nodes of the finest level count alike, as published."""
        return (0.25, 0.25, 0.25, 0.25)

    def make(self, nets: Any, in_channels: int, out_channels: int) -> nn.Module:
        """The network with logits from each node of the finest level."""
        network: nn.Module = nets.BasicUNetPlusPlus(
            spatial_dims=self.ndim,
            in_channels=in_channels,
            out_channels=out_channels,
            features=[self.base * factor for factor in (1, 1, 2, 4, 8, 1)],
            deep_supervision=True,
            norm=(self.norm, {"affine": True}),
            dropout=self.dropout,
        )
        return network


class MonaiNetwork(nn.Module):
    """Map an image (B, C, *S) to logits (B, K, *S), for any size. It may have auxiliary outputs while training."""

    def __init__(self, network: nn.Module, in_channels: int, config: MonaiConfig) -> None:
        super().__init__()
        self.network = network
        self.in_channels = in_channels
        self.total_stride = config.total_stride
        self.last_is_main = config.last_is_main

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Logits (B, K, *S) of an image (B, C, *S), while training those of all outputs, the main ones first."""
        padded = pad_far_to_two(image, in_channels=self.in_channels, multiple=self.total_stride)
        given = self.network(padded)
        outputs = (given,) if isinstance(given, Tensor) else tuple(given)
        if self.last_is_main:
            outputs = outputs[::-1]
        cropped = tuple(_cropped(one, padded, image) for one in outputs)
        return cropped if self.training and len(cropped) > 1 else cropped[0]


def _cropped(logits: Tensor, padded: Tensor, image: Tensor) -> Tensor:
    """What belongs to the image: of coarser logits, every voxel that covers some of it."""
    steps = [whole // side for whole, side in zip(padded.shape[2:], logits.shape[2:], strict=True)]
    sides = [-(-side // step) for side, step in zip(image.shape[2:], steps, strict=True)]
    return crop_near(logits, torch.Size(sides))
