"""How a recipe asks for cross-validation."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveInt, model_validator

from cristae.config import Config

By = Literal["samples", "volumes", "images", "slices", "boxes"]
Order = Literal["blocked", "interleaved", "shuffled"]
Count = Annotated[int, Field(ge=2, le=1000)]


class FoldsConfig(Config):
    """Cross-validation: the training and validation regions together are cut into parts; each fold holds one of them
    out of its training, to be scored there. Test regions stay out of it."""

    count: Count | Literal["auto"] = "auto"
    """How many folds; `auto` takes as many as the data allow, up to `at_most`."""
    at_most: Count = 5
    """The most folds that `count: auto` makes."""
    nested: bool = False
    """Hold out a second part of each fold, by which epochs and values of post-processing are chosen, so that the first
    is scored by a network that nothing was chosen for on it. Needs three folds or more."""
    by: By | Literal["auto"] = "auto"
    """What stays together. `samples`: animals or specimens, which volumes name under `sample` or `samples`. `volumes`:
    the volumes of the recipe. `images`: each image of `kind: images`. `slices`: labelled slices. `boxes`: blocks along
    one axis of each region. `auto` takes the first of samples, volumes, images and slices of which there are two."""
    guard_vox: tuple[NonNegativeInt, NonNegativeInt, NonNegativeInt] | Literal["auto"] = "auto"
    """Gap (z, y, x) around what a fold holds out that it does not train on either, in voxels of the image files. `auto`
    takes the reach of the receptive field; for a network that is not local, all but one voxel of the patch."""
    stratify: bool = True
    """Choose the folds, and with `nested` the part that each validates, so that all classes are in them, where the data
    allow."""
    order: Order | Literal["auto"] = "auto"
    """Which slices make up a fold. `blocked`: slices that follow each other. `interleaved`: every n-th. `shuffled`: at
    random. `auto` is `blocked`, as neighbouring slices are alike. Samples, volumes and images can be `shuffled` too."""
    seed: NonNegativeInt = 0
    """Of `order: shuffled`."""
    axis: Literal["auto", "z", "y", "x"] = "auto"
    """Along which axis `boxes` are cut; `auto` takes the longest of each region."""
    only: tuple[PositiveInt, ...] | None = None
    """Folds to train, counted from 1, such as `[1, 3]`; null trains all. A study that is resumed can name more."""

    @model_validator(mode="after")
    def _check(self) -> FoldsConfig:
        if self.nested and self.count == 2:
            raise ValueError(
                "nested folds test one part, validate another and train on the rest: give count: 3 or more"
            )
        if self.nested and self.at_most == 2:
            raise ValueError(
                "nested folds test one part, validate another and train on the rest: give at_most: 3 or more"
            )
        if self.count != "auto" and self.at_most != FoldsConfig.model_fields["at_most"].default:
            raise ValueError(
                f"at_most is for `count: auto`; leave it out, or give at_most alone, not count: {self.count}"
            )
        if self.axis != "auto" and self.by != "boxes":
            raise ValueError("axis is for `by: boxes`; leave it out, or write `by: boxes`")
        if self.order != "auto" and self.by == "boxes":
            raise ValueError("boxes are always blocked; leave `order` out, or write `by: slices`")
        if self.order in ("blocked", "interleaved") and self.by in ("samples", "volumes", "images"):
            raise ValueError(f"`order: {self.order}` is for slices; leave it out with `by: {self.by}`")
        if self.only is not None:
            if not self.only or len(set(self.only)) != len(self.only):
                raise ValueError("only must name at least one fold, and each once, such as [1, 3]")
            if self.count != "auto" and max(self.only) > self.count:
                raise ValueError(f"only names fold {max(self.only)}, but there are {self.count}")
        return self
