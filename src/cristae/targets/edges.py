"""What the two edge-preserving weightings share: which edges, and W = w + W_cb + W_ep as one field of whole slices.

Guay et al. (2021), https://doi.org/10.1038/s41598-021-81590-0, the weight array W: edges between background and cell,
and between cell and organelles, weigh more on both sides.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat
from torch import Tensor

from cristae.data.classes import Classes
from cristae.errors import RecipeError
from cristae.targets.balance import balanced
from cristae.targets.form import INVALID, LabelledPart, Statistics, TargetConfig, TargetMaps

Boundary = Literal["wrap", "nearest"]
PAD_MODES: Mapping[Boundary, Literal["wrap", "edge"]] = {"wrap": "wrap", "nearest": "edge"}
"""What NumPy calls them."""
Groups = Mapping[str, tuple[int, ...]]
"""The ids of each group of classes; classes of no group have no edges."""
_BACKGROUND, _CELL, _ORGANELLES = "background", "cell", "organelles"
_EDGES = ((_BACKGROUND, _CELL), (_CELL, _BACKGROUND), (_CELL, _ORGANELLES), (_ORGANELLES, _CELL))
"""Source and target of each directed term: voxels of the target weigh more near the source."""


class EdgeWeighting(TargetConfig):
    """Class balance plus weights that rise towards edges: w + W_cb + W_ep, computed for whole slices."""

    name: str
    cell: str | None = None
    """The class around the organelles, whose edges to them are preserved beside those to the background. null: there
    is none, and the edges between the background and all other classes together are preserved."""
    organelles: tuple[str, ...] | None = None
    """The classes inside the cell; null for all but the background and the cell."""
    boundary: Boundary = "wrap"
    """What lies outside an annotated box: its opposite side (wrap, as in the paper's code), or its outermost voxels
    again (nearest)."""
    floor: NonNegativeFloat = 0.01
    """Added to the weight of every voxel, the paper's w."""

    def check(self, classes: Classes) -> None:
        """Raises: RecipeError: Classes overlap, one is not known, or there is no edge between the ones chosen."""
        self.groups(classes)

    def prepare(self, parts: Sequence[LabelledPart]) -> Statistics:
        """Voxels of each class in all training labels."""
        return {"class_counts": np.sum([part.class_counts for part in parts], axis=0).tolist()}

    def field(self, classes: Classes) -> EdgeField:
        """The weights of whole slices."""
        return EdgeField(self, self.groups(classes))

    def __call__(self, target: Tensor, valid: Tensor, statistics: Statistics) -> TargetMaps:
        """The labels as they are: the weights come with the patch, since they know what lies around it."""
        return TargetMaps(target)

    def groups(self, classes: Classes) -> Groups:
        """The ids on both sides of the edges.

        Raises:
            RecipeError: Classes overlap, one is not known, or there is no edge between the ones chosen.
        """
        if not classes.exclusive:
            raise RecipeError(f"{self.name} needs exclusive classes, but these overlap; use `name: class_balance`")
        named = [name for name in (self.cell, *(self.organelles or ())) if name is not None]
        if strays := [name for name in named if name not in classes.foreground]:
            raise RecipeError(
                f"{self.name}: '{strays[0]}' is not one of the foreground classes {', '.join(classes.foreground)}"
            )
        if len(set(named)) != len(named):
            raise RecipeError(f"{self.name}: a class is named twice under `cell` and `organelles`")
        background = () if classes.background_name is None else (classes.background_name,)
        if self.cell is None:
            if self.organelles is not None:
                raise RecipeError(f"{self.name}: `organelles` need a `cell`, the class that lies around them")
            if not background:
                raise RecipeError(f"{self.name} needs a `cell` where data.classes has `background: false`")
            cell, organelles = classes.foreground, tuple[str, ...]()
        else:
            cell = (self.cell,)
            others = tuple(name for name in classes.foreground if name != self.cell)
            organelles = others if self.organelles is None else self.organelles
        if not (background or organelles):
            raise RecipeError(f"{self.name}: there is no background and no organelle, so '{self.cell}' has no edge")
        named_groups = {_BACKGROUND: background, _CELL: cell, _ORGANELLES: organelles}
        return {group: tuple(classes.id_of(name) for name in names) for group, names in named_groups.items() if names}

    @abstractmethod
    def peaks(self, sides: Sides) -> tuple[float, ...]:
        """See `WeightField.peaks`."""

    @abstractmethod
    def edge_weights(self, sides: Sides, peaks: Sequence[float]) -> np.ndarray:
        """W_ep of one slice, float64 (Y, X).

        Args:
            sides: Where the groups are.
            peaks: The maxima of `peaks` over all training labels.
        """


@dataclass(frozen=True, eq=False)
class Sides:
    """Where the groups of one slice are."""

    masks: Mapping[str, np.ndarray]
    """bool (Y, X) by group, False where a voxel does not count."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the slice."""
        return next(iter(self.masks.values())).shape

    @cached_property
    def edges(self) -> tuple[tuple[str, str], ...]:
        """Source and target of each directed term."""
        return tuple(edge for edge in _EDGES if set(edge) <= set(self.masks))

    @property
    def sources(self) -> tuple[str, ...]:
        """The groups that are a source, each once."""
        return tuple(dict.fromkeys(source for source, _ in self.edges))


@dataclass(frozen=True)
class EdgeField:
    """w + W_cb + W_ep of whole slices (a `WeightField`)."""

    config: EdgeWeighting
    groups: Groups

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but what is computed of each patch; classes by their ids, however they were chosen."""
        chosen = self.config.model_dump(mode="json", exclude={"further", "cell", "organelles"})
        return {**chosen, "groups": {**self.groups}}

    def peaks(self, labels: np.ndarray) -> tuple[float, ...]:
        """See `WeightField.peaks`."""
        return self.config.peaks(self._sides(labels))

    def weights(self, labels: np.ndarray, statistics: Statistics) -> np.ndarray:
        """See `WeightField.weights`."""
        table = np.zeros(256)
        balance = balanced(np.asarray(statistics["class_counts"], np.float64))
        table[: len(balance)] = balance
        edges = self.config.edge_weights(self._sides(labels), statistics.get("peaks", ()))
        field = self.config.floor + table[labels] + edges
        weights: np.ndarray = np.where(labels == INVALID, 0, field).astype(np.float32)
        return weights

    def _sides(self, labels: np.ndarray) -> Sides:
        return Sides({group: np.isin(labels, ids) for group, ids in self.groups.items()})
