"""All that a proposal decides before anything is measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from cristae.data.image import VoxelSize
from cristae.recipe.proposal.augmentation import choose_augmentation
from cristae.recipe.proposal.batch import choose_batch
from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.dimensions import Dimensions, choose_dimensions
from cristae.recipe.proposal.facts import DataFacts, Machine
from cristae.recipe.proposal.loss import choose_loss
from cristae.recipe.proposal.network import USUAL_WIDTH, WIDTHS, choose_network
from cristae.recipe.proposal.normalization import choose_normalization
from cristae.recipe.proposal.patch import choose_patch
from cristae.recipe.proposal.sampling import choose_sampling
from cristae.recipe.proposal.working_grid import coarser_grid


@dataclass(frozen=True)
class Draft:
    """A method, apart from the length of its training."""

    dimensions: Choice[Dimensions]
    width: int
    """Channels of the network's finest level."""
    size: Choice[tuple[int, ...]]
    batch: Choice[int]
    model: Choice[Mapping[str, Any]]
    normalize: Choice[Mapping[str, Any]]
    sampling: Choice[Mapping[str, Any]]
    augment: Choice[Sequence[Mapping[str, Any]]]
    loss: Choice[Mapping[str, Any]]
    grid: Choice[VoxelSize] | None
    """A coarser working voxel size (z, y, x), where that may be better."""

    @property
    def batch_norm(self) -> bool:
        """Whether the network has batch normalisation."""
        return self.dimensions.value != "3D"

    def smaller(self, reason: str) -> Draft | None:
        """The same with half as many patches in a batch, or with a narrower network where there are two already; None
        where it cannot be smaller."""
        if self.batch.value > 2:
            return replace(self, batch=Choice(self.batch.value // 2, reason))
        return self.narrower(reason)

    def narrower(self, reason: str) -> Draft | None:
        """The same with half the channels; None where it is narrow already."""
        if self.width <= WIDTHS[0]:
            return None
        width = self.width // 2
        model = {**self.model.value}
        if "base" in model:
            model["base"] = width
        else:
            model["widths"] = [width * 2**level for level in range(5)]
        return replace(self, width=width, model=Choice(model, f"{self.model.reason}; narrow: {reason}"))


def choose_draft(facts: DataFacts, machine: Machine, minutes: float) -> Draft:
    """Apply all rules.

    Args:
        facts: Of the data.
        machine: Where the training will run.
        minutes: How long it may take.
    """
    dimensions = choose_dimensions(facts, machine, minutes)
    size = choose_patch(facts, dimensions.value, machine)
    return Draft(
        dimensions=dimensions,
        width=USUAL_WIDTH,
        size=size,
        batch=choose_batch(size.value, USUAL_WIDTH, machine),
        model=choose_network(facts, dimensions, size.value, USUAL_WIDTH),
        normalize=choose_normalization(facts, dimensions.value),
        sampling=choose_sampling(facts),
        augment=choose_augmentation(facts, dimensions.value),
        loss=choose_loss(facts),
        grid=coarser_grid(facts, size.value),
    )
