"""The random forest as a recipe writes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from cristae.config import Config, without

Scale = Annotated[float, Field(ge=0.3, le=50)]
Sigmas = tuple[Scale, ...]
"""Scales of a feature: standard deviations of a Gaussian, in voxels of the finest axis."""

Radii = tuple[Annotated[float, Field(ge=1, le=32)], ...]
"""Radii of a ball (2D: a disc) around a voxel, in voxels of the finest axis."""

LARGEST_NUMBER_OF_CHANNELS = 256
IN_BALL = ("mean", "variance", "minimum", "maximum", "median")
"""What is taken of the grey values in a ball, in the order of the channels."""


class MembraneConfig(Config):
    """Weka's membrane projections: means over a line through each voxel, turned 30 times within the slice."""

    thickness: Annotated[int, Field(ge=1, le=15)] = 1
    """Width of the line in voxels."""
    patch: Annotated[int, Field(ge=3, le=63)] = 19
    """Length of the line in voxels, odd."""

    @model_validator(mode="after")
    def _fits(self) -> MembraneConfig:
        if self.patch % 2 == 0:
            raise ValueError(f"patch: must be odd, so that the voxel is in the middle, got {self.patch}")
        if self.thickness >= self.patch:
            raise ValueError(f"thickness: must be less than patch: {self.patch}, got {self.thickness}")
        return self


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
    differences: tuple[tuple[Scale, Scale], ...] = ()
    """Differences of two Gaussians of any scales, such as `[[2, 1], [4, 1]]`: the first minus the second."""
    mean: Radii = ()
    """Mean of the grey values at most this far away. Filters of such a ball take time that grows with its voxels."""
    variance: Radii = ()
    """Their variance."""
    minimum: Radii = ()
    """Their minimum."""
    maximum: Radii = ()
    """Their maximum."""
    median: Radii = ()
    """Their median."""
    membrane: MembraneConfig | None = None
    """Membrane projections, such as `{}` or `{thickness: 3}`; always within slices."""

    @model_validator(mode="after")
    def _check(self) -> FeaturesConfig:
        scaled = ("gaussian", "laplacian", "gradient", "difference", "structure", "hessian", "differences")
        for name in (*scaled, *IN_BALL):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} names a scale twice")
        if any(wide == narrow for wide, narrow in self.differences):
            raise ValueError("differences: two equal scales have no difference")
        if not 0 < self.n_channels(3) <= LARGEST_NUMBER_OF_CHANNELS:
            raise ValueError(f"{self.n_channels(3)} features; a forest takes 1 to {LARGEST_NUMBER_OF_CHANNELS}")
        return self

    def n_channels(self, ndim: int) -> int:
        """Number of features of a voxel."""
        single = (self.gaussian, self.laplacian, self.gradient, self.difference)
        eigen = len(self.structure) + len(self.hessian)
        around = sum(len(getattr(self, name)) for name in IN_BALL) + (0 if self.membrane is None else 5)
        return self.intensity + sum(map(len, single)) + ndim * eigen + len(self.differences) + around


_ILASTIK = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
_WEKA = (1.0, 2.0, 4.0, 8.0, 16.0)
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ilastik": {
        "intensity": False,
        "gaussian": (0.3, *_ILASTIK),
        **dict.fromkeys(("laplacian", "gradient", "difference", "structure", "hessian"), _ILASTIK),
    },
    "weka": {
        **dict.fromkeys(("gaussian", "laplacian", "gradient", "hessian"), _WEKA),
        "structure": (),
        "differences": [(wide, narrow) for wide in _WEKA for narrow in _WEKA if narrow < wide],
        "membrane": {},
    },
}
"""All features of ilastik's pixel classification (Berg et al. 2019, https://doi.org/10.1038/s41592-019-0582-9), and
those that Trainable Weka Segmentation begins with: its Sobel filter is `gradient` here, and of the Hessian the
eigenvalues and their sum are taken."""


def _by_name(value: object) -> object:
    """The settings that a word such as `weka` stands for."""
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"must be {' or '.join(PRESETS)}, or settings of its own, got '{value}'")
    return PRESETS[value]


Features = Annotated[
    FeaturesConfig,
    BeforeValidator(_by_name, json_schema_input_type=FeaturesConfig | Literal["ilastik", "weka"]),
]


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
    skeleton: bool = False
    """Also describe objects by their centre lines: length, branches, ends, holes."""


class RandomForestConfig(Config):
    """Random forest on filter responses: the role that ilastik and Weka have, on any processor.

    Sommer, Straehle, Koethe, Hamprecht (2011), https://doi.org/10.1109/ISBI.2011.5872394
    Breiman (2001), https://doi.org/10.1023/A:1010933404324
    """

    reference: ClassVar[str] = "https://doi.org/10.1023/A:1010933404324"

    name: Literal["random_forest"] = "random_forest"
    ndim: Literal[2, 3] = 2
    """Spatial axes of the filters: 2 filters each slice by itself, 3 the volume."""
    features: Features = FeaturesConfig()
    """Filter responses that describe each voxel; `ilastik` stands for all features of ilastik, `weka` for those that
    Trainable Weka Segmentation begins with."""
    trees: Annotated[int, Field(ge=1, le=1000)] = 100
    """Number of trees: more give less variance, at proportional cost."""
    max_depth: Annotated[int, Field(ge=1, le=64)] = 16
    """Largest depth of a tree."""
    smallest_leaf: PositiveInt = 2
    """Smallest number of training samples in a leaf."""
    features_per_split: PositiveInt | None = None
    """Features that are tried at each question of a tree, drawn at random; null: the root of their number. Weka tries
    2."""
    max_samples_per_class: PositiveInt = 20_000
    """Largest number of training samples of each class, drawn from all training regions alike."""
    balance: Literal["as_labelled", "even"] = "as_labelled"
    """`as_labelled`: a class is as likely as it is frequent among the labelled voxels, right where whole slices are
    labelled. `even`: all classes are equally likely, right for scribbles, which say nothing about frequency."""
    objects: ObjectsConfig | None = None
    """A second stage that classifies whole objects, such as `{}` or `{threshold: 0.3}`. An object lies within
    one slice, also with 3D filters."""

    @model_validator(mode="after")
    def _can_draw(self) -> RandomForestConfig:
        n = self.features.n_channels(self.ndim)
        if self.features_per_split is not None and self.features_per_split > n:
            raise ValueError(f"features_per_split: {self.features_per_split} of only {n} features; lower it")
        return self

    @property
    def total_stride(self) -> tuple[int, ...]:
        """Blocks may start at any voxel."""
        return (1,) * self.ndim


_LATER: Mapping[str, Any] = {"features_per_split": None}
_LATER_OF_FEATURES: Mapping[str, Any] = {name: [] for name in ("differences", *IN_BALL)} | {"membrane": None}
_LATER_OF_OBJECTS: Mapping[str, Any] = {"skeleton": False}


def without_later_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped forest without the settings that later versions have added, where these have no effect, so that what is
    made of it is what earlier versions made."""
    fields = without(model, _LATER)
    fields["features"] = without(fields["features"], _LATER_OF_FEATURES)
    if fields.get("objects") is not None:
        fields["objects"] = without(fields["objects"], _LATER_OF_OBJECTS)
    return fields
