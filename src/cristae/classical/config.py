"""The random forest as a recipe writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, PositiveInt, model_validator

from cristae.config import Config, without

Scale = Annotated[float, Field(ge=0.3, le=50)]
Sigmas = tuple[Scale, ...]
"""Scales of a feature: standard deviations of a Gaussian, in voxels of the finest axis."""

Radii = tuple[Annotated[float, Field(ge=1, le=32)], ...]
"""Radii of a ball (2D: a disc) around a voxel, in voxels of the finest axis."""

Slopes = tuple[Annotated[float, Field(ge=2, le=255)], ...]
"""Grey values of 8 bits for each voxel of the finest axis."""

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
    hessian_measures: Sigmas = ()
    """Module, determinant, orientation and two differences of the eigenvalues of the Hessian matrix within slices."""
    derivatives: Sigmas = ()
    """Derivatives of the smoothed image of the orders 2 to 5 along y and along x."""
    entropy: Radii = ()
    """Entropy of the grey values in a ball, of histograms of 32, 64, 128 and 256 bins. Slow."""
    gabor: tuple[Annotated[float, Field(ge=2, le=32)], ...] = ()
    """Answers to gratings of these wavelengths in voxels, in 10 directions within slices: the largest and smallest of
    the even filters and the largest of the odd ones. Slow."""
    neighbours: tuple[Annotated[int, Field(ge=1, le=32)], ...] = ()
    """The grey values this many voxels away in 8 directions within the slice."""
    bilateral: tuple[tuple[Annotated[float, Field(ge=1, le=32)], Annotated[float, Field(gt=0, le=255)]], ...] = ()
    """Means of the grey values in a ball that differ little from the voxel's own, such as `[[5, 50], [10, 100]]`:
    radius and largest difference, in grey values of 8 bits."""
    kuwahara: Annotated[int, Field(ge=3, le=63)] | None = None
    """Mean along that line of this length, odd, through the voxel, of 30 turns within the slice, along which grey
    values vary least, by three measures of how much they do. Slow."""
    lipschitz: Slopes = ()
    """How far a voxel stands out of the image's cover by cones of these slopes, as a bright and as a dark detail."""
    diffusion: tuple[Annotated[float, Field(gt=0, le=255)], ...] = ()
    """The image after anisotropic diffusion in 20 steps, which stops at edges of about these slopes, in grey values of
    8 bits for each voxel."""
    grey_range: tuple[float, float] | Literal["auto"] = "auto"
    """The normalised grey values that stand for 0 and 255 in `entropy`, `gabor`, `bilateral`, `kuwahara`, `lipschitz`
    and `diffusion`; what lies outside is cut off. `auto` takes 0 to 1, and for `z_score` and `local`, which count
    deviations, -3 to 3."""

    @model_validator(mode="after")
    def _check(self) -> FeaturesConfig:
        several = [name for name in type(self).model_fields if name != "grey_range"]
        for name in (one for one in several if isinstance(getattr(self, one), tuple)):
            if len(set(getattr(self, name))) != len(getattr(self, name)):
                raise ValueError(f"{name} names a scale twice")
        if any(wide == narrow for wide, narrow in self.differences):
            raise ValueError("differences: two equal scales have no difference")
        if self.kuwahara is not None and self.kuwahara % 2 == 0:
            raise ValueError(f"kuwahara: must be odd, so that the voxel is in the middle, got {self.kuwahara}")
        if self.grey_range != "auto" and self.grey_range[0] >= self.grey_range[1]:
            raise ValueError(f"grey_range: the first value must be below the second, got {[*self.grey_range]}")
        if not 0 < self.n_channels(3) <= LARGEST_NUMBER_OF_CHANNELS:
            raise ValueError(f"{self.n_channels(3)} features; a forest takes 1 to {LARGEST_NUMBER_OF_CHANNELS}")
        return self

    @property
    def in_range(self) -> bool:
        """Whether there are filters that `grey_range` is about."""
        return any((self.entropy, self.gabor, self.bilateral, self.kuwahara, self.lipschitz, self.diffusion))

    @property
    def grey_limits(self) -> tuple[float, float]:
        """`grey_range`, and 0 to 1 where it follows from a normalisation that is not known."""
        return (0.0, 1.0) if self.grey_range == "auto" else self.grey_range

    def n_channels(self, ndim: int) -> int:
        """Number of features of a voxel."""
        single = (self.gaussian, self.laplacian, self.gradient, self.difference)
        eigen = len(self.structure) + len(self.hessian)
        around = sum(len(getattr(self, name)) for name in IN_BALL) + (0 if self.membrane is None else 5)
        around += 5 * len(self.hessian_measures) + 8 * len(self.derivatives) + 4 * len(self.entropy)
        around += 3 * len(self.gabor) + 8 * len(self.neighbours) + len(self.bilateral) + len(self.diffusion)
        around += 2 * len(self.lipschitz) + (0 if self.kuwahara is None else 3)
        return self.intensity + sum(map(len, single)) + ndim * eigen + len(self.differences) + around


_ILASTIK = (0.7, 1.0, 1.6, 3.5, 5.0, 10.0)
_WEKA = (1.0, 2.0, 4.0, 8.0, 16.0)
_NONE: Mapping[str, Any] = dict.fromkeys(("gaussian", "gradient", "structure", "hessian"), ())
WEKA: Mapping[str, Mapping[str, Any]] = {
    "gaussian": {"gaussian": _WEKA},
    "hessian": dict.fromkeys(("laplacian", "hessian", "hessian_measures"), _WEKA),
    "sobel": {"gradient": _WEKA},
    "difference_of_gaussians": {"differences": [(a, b) for a in _WEKA for b in _WEKA if b < a]},
    "membrane_projections": {"membrane": {}},
    "variance": {"variance": _WEKA},
    "mean": {"mean": _WEKA},
    "minimum": {"minimum": _WEKA},
    "maximum": {"maximum": _WEKA},
    "median": {"median": _WEKA},
    "anisotropic_diffusion": {"diffusion": (10.0, 35.0)},
    "bilateral": {"bilateral": [(5, 50), (5, 100), (10, 50), (10, 100)]},
    "lipschitz": {"lipschitz": (5, 10, 15, 20, 25)},
    "kuwahara": {"kuwahara": 19},
    "gabor": {"gabor": (4, 8, 16)},
    "derivatives": {"derivatives": _WEKA},
    "laplacian": {"laplacian": _WEKA},
    "structure": {"structure": _WEKA},
    "entropy": {"entropy": _WEKA},
    "neighbours": {"neighbours": (1, 2, 4, 8, 16)},
}
"""By their names, the features that Trainable Weka Segmentation lists (Arganda-Carreras et al. 2017,
https://doi.org/10.1093/bioinformatics/btx180, and its manual), with the settings that it has at first: a membrane of 1
voxel in a patch of 19, scales and radii from 1 to 16. Its Sobel filter is `gradient` here, and its trace of the Hessian
`laplacian`."""
WEKA_DEFAULT = ("gaussian", "hessian", "sobel", "difference_of_gaussians", "membrane_projections")
"""Those that are on at first."""


def weka_features(names: Sequence[str]) -> dict[str, Any]:
    """The settings of features that are called by Weka's names, and the grey value itself."""
    if unknown := [name for name in names if name not in WEKA]:
        raise ValueError(f"there is no feature '{unknown[0]}' in Weka's list; there are {', '.join(WEKA)}")
    settings = dict(_NONE)
    for name in names:
        settings.update(WEKA[name])
    return settings


PRESETS: Mapping[str, Mapping[str, Any]] = {
    "ilastik": {
        "intensity": False,
        "gaussian": (0.3, *_ILASTIK),
        **dict.fromkeys(("laplacian", "gradient", "difference", "structure", "hessian"), _ILASTIK),
    },
    "weka": weka_features(WEKA_DEFAULT),
    "weka_all": weka_features(tuple(WEKA)),
}
"""All features of ilastik's pixel classification (Berg et al. 2019, https://doi.org/10.1038/s41592-019-0582-9), those
that Trainable Weka Segmentation begins with, and all that it has."""


def _by_name(value: object) -> object:
    """The settings that a word such as `weka`, or a list of Weka's names, stands for."""
    if isinstance(value, list | tuple):
        return weka_features([str(name) for name in value])
    if not isinstance(value, str):
        return value
    if value not in PRESETS:
        raise ValueError(f"must be {' or '.join(PRESETS)}, or settings of its own, got '{value}'")
    return PRESETS[value]


Features = Annotated[
    FeaturesConfig,
    BeforeValidator(
        _by_name, json_schema_input_type=FeaturesConfig | Literal["ilastik", "weka", "weka_all"] | list[str]
    ),
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
    Trainable Weka Segmentation begins with, `weka_all` for all that it has, and a list of its names, such as
    `[gaussian, gabor]`, for these."""
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
_LATER_OF_FEATURES: Mapping[str, Any] = {
    **{name: [] for name in ("differences", *IN_BALL, "hessian_measures", "derivatives", "entropy", "gabor")},
    **{name: [] for name in ("neighbours", "bilateral", "lipschitz", "diffusion")},
    "membrane": None,
    "kuwahara": None,
    "grey_range": "auto",
}
_EARLIER_GREY_RANGE: Mapping[str, Any] = {"grey_range": [0.0, 1.0]}
_LATER_OF_OBJECTS: Mapping[str, Any] = {"skeleton": False}


def without_later_settings(model: Mapping[str, Any]) -> dict[str, Any]:
    """A dumped forest without the settings that later versions have added, where these have no effect, so that what is
    made of it is what earlier versions made."""
    fields = without(model, _LATER)
    fields["features"] = without(without(fields["features"], _LATER_OF_FEATURES), _EARLIER_GREY_RANGE)
    if fields.get("objects") is not None:
        fields["objects"] = without(fields["objects"], _LATER_OF_OBJECTS)
    return fields
