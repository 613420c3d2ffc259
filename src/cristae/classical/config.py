"""The random forest as a recipe writes it."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveInt, model_validator

from cristae.config import Config

Sigmas = tuple[Annotated[float, Field(ge=0.3, le=50)], ...]
"""Scales of a feature: standard deviations of a Gaussian, in voxels of the finest axis."""

LARGEST_NUMBER_OF_CHANNELS = 256


class FeaturesConfig(Config):
    """The features of a voxel: for each filter its scales, `[]` for none.

    A scale is the standard deviation of a Gaussian in voxels of the finest axis: with `ndim: 3` and voxels of
    40 x 8 x 8 nm, scale 5 is 40 nm: one voxel in z and five in y and x.
    """

    intensity: bool = True
    """The grey value itself."""
    gaussian: Sigmas = (0.7, 1.6, 3.5, 5.0, 10.0)
    """The smoothed image."""
    laplacian: Sigmas = ()
    """Laplacian of Gaussian: blobs and ridges, bright or dark. It is the sum of the eigenvalues of `hessian`."""
    gradient: Sigmas = (0.7, 1.6, 3.5, 5.0, 10.0)
    """Gaussian gradient magnitude: edges."""
    difference: Sigmas = ()
    """Difference of Gaussians, of this scale and 0.66 of it: close to the Laplacian."""
    structure: Sigmas = (0.7, 1.6, 3.5, 5.0, 10.0)
    """Eigenvalues of the structure tensor, smoothed by half the scale again: texture and its direction."""
    hessian: Sigmas = (0.7, 1.6, 3.5, 5.0, 10.0)
    """Eigenvalues of the Hessian matrix: sheets, tubes and blobs."""

    @model_validator(mode="after")
    def _check(self) -> FeaturesConfig:
        for name in ("gaussian", "laplacian", "gradient", "difference", "structure", "hessian"):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} names a scale twice")
        if not 0 < self.n_channels(3) <= LARGEST_NUMBER_OF_CHANNELS:
            raise ValueError(f"{self.n_channels(3)} features; a forest takes 1 to {LARGEST_NUMBER_OF_CHANNELS}")
        return self

    def n_channels(self, ndim: int) -> int:
        """Number of features of a voxel."""
        single = (self.gaussian, self.laplacian, self.gradient, self.difference)
        eigen = len(self.structure) + len(self.hessian)
        return self.intensity + sum(map(len, single)) + ndim * eigen


class ObjectsConfig(Config):
    """The second stage: objects found by the first one, classified by their shape and grey values."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.4
    """Voxels above this probability of the first stage make up objects. Of several exclusive classes, the most
    probable one counts instead."""
    smallest_vox: PositiveInt = 16
    """Objects with fewer voxels are background."""
    surround_vox: PositiveInt = 5
    """Width of the rim around an object that its grey values are compared with, in voxels."""
    trees: PositiveInt = 100
    """Trees of the forest that classifies objects."""


class RandomForestConfig(Config):
    """Random forest on filter responses: the role that ilastik and Weka have, on any processor.

    Sommer, Straehle, Koethe, Hamprecht (2011), https://doi.org/10.1109/ISBI.2011.5872394
    Breiman (2001), https://doi.org/10.1023/A:1010933404324
    """

    reference: ClassVar[str] = "https://doi.org/10.1023/A:1010933404324"

    name: Literal["random_forest"] = "random_forest"
    ndim: Literal[2, 3] = 2
    """Spatial axes of the filters: 2 filters each slice by itself, 3 the volume."""
    features: FeaturesConfig = FeaturesConfig()
    """Filter responses that describe each voxel."""
    trees: Annotated[int, Field(ge=1, le=1000)] = 100
    """Number of trees: more give less variance, at proportional cost."""
    max_depth: Annotated[int, Field(ge=1, le=64)] = 16
    """Largest depth of a tree."""
    smallest_leaf: PositiveInt = 2
    """Smallest number of training samples in a leaf."""
    max_samples_per_class: PositiveInt = 20_000
    """Largest number of training samples of each class, drawn from all training regions alike."""
    balance: Literal["as_labelled", "even"] = "as_labelled"
    """`as_labelled`: a class is as likely as it is frequent among the labelled voxels, right where whole slices are
    labelled. `even`: all classes are equally likely, right for scribbles, which say nothing about frequency."""
    objects: ObjectsConfig | None = None
    """A second stage that classifies whole objects, such as `{}` or `{threshold: 0.3}`. An object lies within
    one slice, also with 3D filters."""

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Blocks may start at any voxel."""
        return (1,) * self.ndim
