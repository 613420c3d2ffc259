"""The recipe: everything that makes an experiment, listed from the rooms that own the parts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, PrivateAttr, StringConstraints

from cristae.augment import Augmentations, Interpolation
from cristae.classical.config import RandomForestConfig
from cristae.config import Config
from cristae.data.description import DataConfig
from cristae.inference.config import DeviceName, PredictConfig
from cristae.losses import CrossEntropyDice, Loss
from cristae.models import Network, NetworkConfig
from cristae.preprocess import Normalize, Percentiles
from cristae.preprocess.filtered_channels import GrainFilter, filtered_channels
from cristae.preprocess.network_input import NetworkInput
from cristae.sampling import RandomPatches, Sampling
from cristae.targets import NoWeighting, Targets
from cristae.training.config import TrainingConfig


class Recipe(Config):
    """One experiment, complete by itself."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    """Short name of the experiment: letters, digits, '.', '_' and '-'. The run folder is called after it."""
    description: str = ""
    """What it is for, in your own words."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Where all randomness starts; the same recipe, data and seed give the same run on a CPU."""
    data: DataConfig
    """Volumes, classes and the split."""
    normalize: Normalize = Percentiles()
    """How grey values become numbers for the network."""
    input_channels: tuple[GrainFilter, ...] = ()
    """Further channels of the network's input: what filters make of each patch after its augmentation. They come behind
    the patch itself, in this order."""
    sampling: Sampling = RandomPatches()
    """Where training patches come from."""
    targets: Targets = NoWeighting()
    """What the loss compares with, and how much each voxel counts in its pixelwise terms."""
    augment: Augmentations = ()
    """Random changes of each training patch: first those that move voxels, composed in their order, then those of grey
    values in theirs. The name of a preset, alone or in the list, stands for its parts."""
    augment_interpolation: Interpolation = "linear"
    """How the image is interpolated where augmentations move voxels; labels are always those of the nearest voxel."""
    model: Annotated[Network | RandomForestConfig, Field(discriminator="name")]
    """The network, or the random forest, which sampling, targets, augment, loss and training do not concern. Channels
    and classes come from the data."""
    loss: Loss = CrossEntropyDice()
    """What training minimises."""
    training: TrainingConfig = TrainingConfig()
    """How long and how fast the network learns."""
    predict: PredictConfig = PredictConfig()
    """How runs of this recipe predict."""
    device: DeviceName = "auto"
    """Where to train and predict: `auto` takes CUDA, then Apple's MPS, then the CPU; a name insists."""

    _source: Path | None = PrivateAttr(default=None)

    @property
    def source(self) -> Path | None:
        """The file it was read from; None for a recipe made in Python."""
        return self._source

    @property
    def folder(self) -> Path:
        """Where the relative paths of its data start: the file's folder, or the current one."""
        return Path.cwd() if self._source is None else self._source.parent

    @property
    def network(self) -> NetworkConfig:
        """The model, where that is a network."""
        assert isinstance(self.model, NetworkConfig)
        return self.model

    @property
    def network_input(self) -> NetworkInput:
        """What happens to patches after augmentation, right before the network."""
        return NetworkInput.of([self.normalize.patch_step(), filtered_channels(self.input_channels)])

    @property
    def in_channels(self) -> int:
        """Channels of the network's input: the slices that it sees, and what is made of them."""
        return self.network_input.channels(self.network.in_slices)

    def read_from(self, source: Path) -> Recipe:
        """The same recipe, remembering the file it was read from."""
        copy = self.model_copy()
        copy._source = source.absolute()
        return copy
