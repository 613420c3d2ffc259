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
from cristae.recipe.proposal.network import NARROWEST, USUAL_WIDTH, choose_network, with_width
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
        if self.width <= NARROWEST:
            return None
        width = self.width // 2
        model = Choice(with_width(self.model.value, width), f"{self.model.reason}; narrow: {reason}")
        return replace(self, width=width, model=model)


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
        batch=choose_batch(size.value, machine),
        model=choose_network(facts, dimensions, size.value),
        normalize=choose_normalization(facts, dimensions.value),
        sampling=choose_sampling(facts),
        augment=choose_augmentation(facts, dimensions.value),
        loss=choose_loss(facts),
        grid=coarser_grid(facts, size.value),
    )
