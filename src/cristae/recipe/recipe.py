"""The recipe: everything that makes an experiment, listed from the rooms that own the parts."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field, PrivateAttr, StringConstraints

from cristae.augment import Augmentations, Interpolation
from cristae.classical.config import RandomForestConfig
from cristae.config import Config
from cristae.data.description import DataConfig
from cristae.data.folds.config import FoldsConfig
from cristae.errors import CristaeError
from cristae.inference.config import DeviceName, PredictConfig
from cristae.losses import CrossEntropyDice, Loss
from cristae.models import Network, NetworkConfig
from cristae.preprocess import Normalize, Percentiles
from cristae.preprocess.filtered_channels import GrainFilter, filtered_channels, slice_areas
from cristae.preprocess.network_input import NetworkInput
from cristae.problems import Path, field_names
from cristae.recipe.instances import InstancesConfig
from cristae.recipe.places import Places, field_of
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
    """Further channels of the network's input: what filters make of each patch after its augmentation, or of whole
    slices (`per`). They come behind the image itself, in this order."""
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
    folds: FoldsConfig | None = None
    """Cross-validation: `train` then makes a study folder with a run for each fold; null trains one network."""
    instances: InstancesConfig | None = None
    """Several trainings with different seeds, of each fold where there are folds; null trains one network."""
    device: DeviceName = "auto"
    """Where to train and predict: `auto` takes CUDA, then Apple's MPS, then the CPU; a name insists."""

    _source: pathlib.Path | None = PrivateAttr(default=None)
    _places: Places = PrivateAttr(default=Places())

    @property
    def source(self) -> pathlib.Path | None:
        """The file it was read from; None for a recipe made in Python."""
        return self._source

    @property
    def folder(self) -> pathlib.Path:
        """Where the relative paths of its data start: the file's folder, or the current one."""
        return pathlib.Path.cwd() if self._source is None else self._source.parent

    @property
    def is_study(self) -> bool:
        """Whether it stands for several trainings, which make a study folder."""
        return self.folds is not None or self.instances is not None

    @property
    def network(self) -> NetworkConfig:
        """The model, where that is a network."""
        assert isinstance(self.model, NetworkConfig)
        return self.model

    @property
    def network_input(self) -> NetworkInput:
        """What the network gets beside the image, and what happens to patches after augmentation."""
        steps = self.normalize.patch_step(), filtered_channels(self.input_channels)
        return NetworkInput.of(steps, slice_areas(self.input_channels))

    @property
    def in_channels(self) -> int:
        """Channels of the network's input: the slices that it sees, and what is made of them."""
        return self.network_input.channels(self.network.in_slices)

    def problem(self, what: str) -> str:
        """`file:line: what`, for a problem that begins with the path of a field, such as 'training.epochs: ...'."""
        return f"{self.place(field_of(what))}: {what}"

    def place(self, path: Path) -> str:
        """Where a field was written, such as 'mito.yaml:14' or the `--set` that changed it; of one that is not written,
        what stands around it; of a recipe made in Python, its name."""
        if path[:2] == ("data", "volumes") and len(path) > 2:  # volumes are told by their names
            numbers = [number for number, volume in enumerate(self.data.volumes) if volume.name == path[2]]
            path = (*path[:2], *numbers[:1], *path[3:]) if numbers else path
        return self._places.of(path) or str(self._source or self.name)

    @contextmanager
    def telling_where(self) -> Iterator[None]:
        """For what finds a field of a recipe wrong and does not know whose: its message then begins as `problem`'s."""
        try:
            yield
        except CristaeError as error:
            path = field_of(str(error))
            if path and path[0] in field_names(Recipe):
                error.args = (self.problem(str(error)),)
            raise

    def written_at(self, places: Mapping[Path, str]) -> Recipe:
        """The same recipe, remembering where each of its values was written."""
        copy = self.model_copy()
        copy._places = Places(places)
        return copy

    def read_from(self, source: pathlib.Path) -> Recipe:
        """The same recipe, remembering the file it was read from."""
        copy = self.model_copy()
        copy._source = source.absolute()
        return copy
