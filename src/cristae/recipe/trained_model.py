"""The trained model of a run: what prediction must know of it, and its weights or forest on disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, PositiveInt

from cristae.classical.config import RandomForestConfig
from cristae.config import facts_from
from cristae.data.classes import Classes
from cristae.errors import RunError
from cristae.preprocess.normalize import Normalizer
from cristae.recipe.folder import Nanometres
from cristae.recipe.text import plain

if TYPE_CHECKING:
    from torch import Tensor, nn

    from cristae.classical.forest import Forest
    from cristae.inference.arrays import ArrayModel


@dataclass(frozen=True)
class TrainedModel:
    """What prediction must know about a trained network beyond its recipe."""

    in_channels: PositiveInt
    classes: Classes
    normalizer: Normalizer
    voxel_size_nm: tuple[Nanometres, Nanometres, Nanometres] | None
    """(z, y, x) it was trained at; None when the training volumes do not say."""
    patch_size: Annotated[tuple[PositiveInt, ...], Field(min_length=2, max_length=3)]
    """Voxels it saw at once, (y, x) or (z, y, x)."""

    def to_dict(self) -> dict[str, Any]:
        """The same facts for a JSON file."""
        return {
            "in_channels": self.in_channels,
            "classes": plain(self.classes),
            "normalizer": self.normalizer.to_dict(),
            "voxel_size_nm": self.voxel_size_nm,
            "patch_size": self.patch_size,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> TrainedModel:
        """What `to_dict` gave.

        Raises:
            RunError: A field is missing, unknown or wrong.
        """
        model = facts_from(cls, facts, "model")
        return replace(model, normalizer=Normalizer.from_dict(facts["normalizer"]))


def load_weights(network: nn.Module, path: Path) -> None:
    """Fill a network with saved weights; every name and shape must match.

    Raises:
        RunError: The file is missing, damaged, or belongs to another network.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise RunError(f"{path}: there are no weights; the training has not finished an epoch")
    try:
        path.open("rb").close()  # safetensors takes a file that may not be read for a missing one
        saved = load_file(path)
    except OSError as error:
        raise RunError(f"{path}: the weights cannot be read: {error.strerror or error}") from None
    except (SafetensorError, ValueError) as error:
        raise RunError(f"{path}: the weights are damaged: {error}") from None
    expected = network.state_dict()
    problems = [f"no {name}" for name in expected if name not in saved]
    problems += [f"unexpected {name}" for name in saved if name not in expected]
    problems += [
        f"{name} is {_form(saved[name])} instead of {_form(tensor)}"
        for name, tensor in expected.items()
        if name in saved and _form(saved[name]) != _form(tensor)
    ]
    if problems:
        shown = "; ".join(problems[:3]) + (f"; and {len(problems) - 3} more" if len(problems) > 3 else "")
        raise RunError(f"{path}: the weights belong to another network, or another number of channels: {shown}")
    broken = [name for name, tensor in saved.items() if not tensor.isfinite().all()]
    if broken:
        raise RunError(f"{path}: the weights are damaged: {broken[0]} holds NaN or infinity; train the run again")
    network.load_state_dict(saved, strict=True)


def _form(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"


def load_forest(path: Path, config: RandomForestConfig, model: TrainedModel) -> Forest:
    """A saved random forest, which must be the one that was trained.

    Raises:
        RunError: The file is missing, damaged, or belongs to another run.
    """
    from cristae.classical.forest import Forest

    forest = Forest.load(path)
    pairs = {
        "settings": (forest.config, config),
        "classes": (forest.classes, model.classes),
        "voxel size": (forest.voxel_size_nm, model.voxel_size_nm),
    }
    for what, (found, expected) in pairs.items():
        if found != expected:
            raise RunError(
                f"{path}: the forest belongs to another run: its {what} differ from the summary's or recipe's"
            )
    return forest


def array_model(forest: Forest) -> ArrayModel:
    """A random forest in the place of a network."""
    from cristae.inference.arrays import ArrayModel

    return ArrayModel(forest.probabilities, reach=forest.reach, bytes_per_vox=forest.bytes_per_vox)
