"""How a recipe describes its data: volumes, label sources and which part is for what."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    StringConstraints,
    model_validator,
)

from cristae.config import Config
from cristae.data.classes import Classes
from cristae.data.formats.paths import Reading

Match = Literal["name", "number", "part", "order"]
Channel = NonNegativeInt | Literal["color"]
SliceText = Annotated[str, StringConstraints(pattern=r"^\s*\d*:\d*(:\d*[1-9]\d*)?\s*$")]
ValueText = Annotated[str, BeforeValidator(str), StringConstraints(pattern=r"^(-?\d+|-?\d+--?\d+|#[0-9a-fA-F]{6,8})$")]
BoxText = Annotated[str, StringConstraints(pattern=r"^\s*\d*:\d*\s*,\s*\d*:\d*\s*,\s*\d*:\d*\s*$")]


class LabelFiles(Config):
    """Where labels are; what their values mean is said by each kind."""

    kind: str
    path: str
    """File, folder or glob; an array inside HDF5, Zarr or N5 is named after a colon, `file.h5:/labels`."""
    channel: Channel | None = None
    """Which channel, from 0, where the file has several; `color` for the samples of a colour image. The same as
    `::channel=1` after the path."""
    signed: bool | None = None
    """Whether 8-bit values are signed, where an MRC header does not say. As `::signed=false` after the path."""
    match: Match = "name"
    """How label files find their image file. `name`: the same stem. `number`: the same last number in it. `part`: the
    same number or word that tells files apart, wherever it stands. `order`: the same place in natural order."""
    slices: tuple[int, ...] | None = None
    """For a stack with fewer slices than the image: which image slice each label slice belongs to (from 0)."""

    @property
    def source(self) -> str:
        """The path with what is said about how to read it."""
        return Reading(channel=self.channel, signed=self.signed).on(self.path)


class IdLabels(LabelFiles):
    """Labels that hold class ids already."""

    kind: Literal["ids"] = "ids"


class MappedLabels(LabelFiles):
    """Grey values, ranges or colours that stand for classes."""

    kind: Literal["values"] = "values"
    values: dict[ValueText, str]
    """Value to class name: an integer `159`, an inclusive range `64-191`, or a colour `#rrggbb` or `#rrggbbaa`.
    The name `unlabelled` means the voxel does not count. A value that is not listed is an error."""


class Mask(Config):
    """A file that says where one class is."""

    path: str
    """File, folder or glob; an array inside HDF5, Zarr or N5 is named after a colon, `file.h5:/mask`."""
    channel: Channel | None = None
    """Which channel, from 0, where the file has several; `color` for the samples of a colour image. The same as
    `::channel=1` after the path."""
    signed: bool | None = None
    """Whether 8-bit values are signed, where an MRC header does not say. As `::signed=false` after the path."""
    inside: ValueText | Literal["nonzero", "opaque"] = "nonzero"
    """Which values mean inside: `nonzero`, one value such as `0`, an inclusive range such as `128-255`, or `opaque`:
    where the alpha channel is full."""
    match: Match = "name"
    """How mask files find their image file. `name`: the same stem. `number`: the same last number in it. `part`: the
    same number or word that tells files apart, wherever it stands. `order`: the same place in natural order."""

    @property
    def source(self) -> str:
        """The path with what is said about how to read it."""
        return Reading(channel=self.channel, signed=self.signed).on(self.path)


class MaskLabels(Config):
    """One mask source for each class. With exclusive classes the later mask is drawn over the earlier ones, and a voxel
    in no mask is background; classes without a background leave it unlabelled."""

    kind: Literal["masks"] = "masks"
    masks: dict[str, Mask]
    """Class name to mask, in drawing order."""
    slices: tuple[int, ...] | None = None
    """For stacks with fewer slices than the image: which image slice each mask slice belongs to (from 0)."""


class InstanceLabels(LabelFiles):
    """Object ids, turned into the objects' interior, into the boundary between them, into both, or into affinities."""

    kind: Literal["instances"] = "instances"
    to: Literal["foreground", "boundary", "interior_and_boundary", "affinities"]
    """`foreground`: every id that is neither background nor unlabelled. `boundary`: voxels near a differently labelled
    voxel. `interior_and_boundary`: the voxels of objects as two classes, so that objects that touch can be told
    apart. `affinities`: overlapping classes that say whether a voxel and another one, some steps away, lie in the same
    object."""
    class_name: str | None = None
    """The class that the interior or the boundary becomes; all else is the background. For all but `affinities`."""
    offsets: dict[str, tuple[int, int, int]] | None = None
    """For `affinities`: each class, and where the voxel lies that it compares a voxel with, as steps `[z, y, x]` in
    voxels. `[0, 0, 0]` makes the class the objects themselves."""
    boundary_name: str | None = None
    """For `interior_and_boundary`: the class of the objects' voxels near the boundary; `class_name` is the others'."""
    width_nm: PositiveFloat | None = None
    """Full width of the boundary, of which `interior_and_boundary` takes the part inside objects. None marks the voxels
    that have a differently labelled face neighbour; `interior_and_boundary` counts neighbours at edges and corners
    too."""
    between: Literal["objects", "all"] | None = None
    """For `interior_and_boundary`: whether the boundary lies only where two `objects` touch, or around `all` of each
    object. None is `objects`: thin objects keep an interior, and sizes stay nearly right."""
    zero: Literal["background", "unlabelled"] = "background"
    """What id 0 means."""
    background: tuple[ValueText, ...] = ()
    """Further ids that are background as 0 is, such as `[1]` in a file that counts from 1."""
    unlabelled: tuple[ValueText, ...] | None = None
    """Ids that mean: not annotated, such as `[-1]` or `[18446744073709551615]`; ranges and colours may be given too.
    null: not stated, and ids that often mean it (below 0, or the largest of 32 and 64 bits) are refused. `[]`: every
    id is an object."""

    @model_validator(mode="after")
    def _check_classes(self) -> InstanceLabels:
        if self.to != "affinities":
            if self.offsets is not None:
                raise ValueError(f"offsets is for `to: affinities`; leave it out with `to: {self.to}`")
            if self.class_name is None:
                raise ValueError(f"`to: {self.to}` needs a class; name it, for instance `class_name: mitochondrion`")
            return self
        if self.class_name is not None or self.width_nm is not None:
            field = "class_name" if self.width_nm is None else "width_nm"
            raise ValueError(
                f"{field} is not for `to: affinities`; leave it out: `offsets` names the classes, and one with the "
                "offset [0, 0, 0] is the objects themselves"
            )
        if not any(any(offset) for offset in (self.offsets or {}).values()):
            raise ValueError(
                "`to: affinities` needs voxels to compare with; name a class for each, for instance "
                "`offsets: {mitochondrion: [0, 0, 0], above: [0, -1, 0], left: [0, 0, -1]}`"
            )
        assert self.offsets is not None
        first: dict[tuple[int, int, int], str] = {}
        for name, offset in self.offsets.items():
            if (same := first.setdefault(offset, name)) != name:
                raise ValueError(f"offsets: '{same}' and '{name}' are both {[*offset]}; give one of them another")
        return self

    @model_validator(mode="after")
    def _check(self) -> InstanceLabels:
        if self.to != "interior_and_boundary":
            for field in ("boundary_name", "between"):
                if getattr(self, field) is not None:
                    raise ValueError(f"{field} is for `to: interior_and_boundary`; leave it out with `to: {self.to}`")
        elif self.boundary_name is None:
            raise ValueError(
                "`to: interior_and_boundary` needs a second class; name it, for instance `boundary_name: contact`"
            )
        elif self.boundary_name == self.class_name:
            raise ValueError(
                f"class_name and boundary_name are both '{self.class_name}'; interior and boundary are two classes"
            )
        return self


Labels = Annotated[IdLabels | MappedLabels | MaskLabels | InstanceLabels, Field(discriminator="kind")]


class VolumeConfig(Config):
    """One image stack, or one folder of unrelated images, with its annotation."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=80)]
    """Short name, used in splits, scores and reports."""
    image: str
    """File, folder or glob of slices, relative to the recipe (or to the data set's folder when `data.set` is given);
    an array inside HDF5, Zarr or N5 is named after a colon, `file.h5:/raw`."""
    channel: Channel | None = None
    """Which channel, from 0, where the image has several; `color` for the samples of a colour image. The same as
    `::channel=1` after the path."""
    signed: bool | None = None
    """Whether 8-bit values are signed, where an MRC header does not say. As `::signed=false` after the path."""
    kind: Literal["volume", "images"] = "volume"
    """`volume`: slices follow each other. `images`: unrelated 2D images, which may differ in size."""
    labels: Labels | None = None
    """Where the annotation is; None for an image without one."""
    second_labels: Labels | None = None
    """What a second annotator drew on the same image. Nothing is trained on it or scored by it: the page of a benchmark
    shows it and says how far people agree."""
    valid: Mask | None = None
    """Where voxels count at all; elsewhere they enter no loss, score or sample."""
    weight: str | None = None
    """File or folder with a weight for each voxel of the pixelwise loss terms."""
    weight_match: Match = "name"
    """How weight files find their image file; as in `labels.match`."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """(z, y, x) in nm; for images z is the section thickness. Required where the files do not say and it matters;
    it must agree with the files where they do."""
    trust_voxel_size: bool = False
    """Take `voxel_size_nm` even when the file says otherwise."""

    sample: str | None = None
    """The animal or specimen that it shows; several volumes may share one, and cross-validation keeps it together."""
    samples: dict[str, str] | None = None
    """For `kind: images` of several samples: file names without extension, or patterns such as `sub-01*`, and the
    sample of each. Every image needs one."""

    @model_validator(mode="after")
    def _check(self) -> VolumeConfig:
        if self.samples is not None and self.kind != "images":
            raise ValueError("samples is for `kind: images`; give the `sample` of a volume")
        if self.samples is not None and self.sample is not None:
            raise ValueError("give one of sample and samples")
        if self.second_labels is not None and self.labels is None:
            raise ValueError("second_labels are compared with labels; give the first annotator's as `labels`")
        return self

    @property
    def source(self) -> str:
        """The path of the image with what is said about how to read it."""
        return Reading(channel=self.channel, signed=self.signed).on(self.image)

    @property
    def paths(self) -> tuple[str, ...]:
        """Where image, labels, a second annotator's labels, valid mask and weight are, as the recipe writes it."""
        labels = (*_paths(self.labels), *_paths(self.second_labels))
        further = (None if self.valid is None else self.valid.path, self.weight)
        return (self.image, *labels, *(path for path in further if path is not None))


def _paths(labels: Labels | None) -> tuple[str, ...]:
    if isinstance(labels, MaskLabels):
        return tuple(mask.path for mask in labels.masks.values())
    return () if labels is None else (labels.path,)


class Region(Config):
    """A part of one volume."""

    volume: str
    """Name of the volume."""
    slices: SliceText | tuple[int, ...] | None = None
    """Slices counted from 0: half-open `0:13`, with a step `0:76:5`, or a list."""
    box: BoxText | None = None
    """`Z0:Z1,Y0:Y1,X0:X1` in voxels, half-open; an empty side means the volume's own."""
    images: tuple[str, ...] | None = None
    """For `kind: images`: file names without extension, or patterns such as `A000[0-3]`."""

    @model_validator(mode="after")
    def _check(self) -> Region:
        if sum(part is not None for part in (self.slices, self.box, self.images)) > 1:
            raise ValueError("give one of slices, box and images")
        return self


class TileSplit(Config):
    """Cut the training regions into tiles and hold some of them out, as EM-stellar does (Khadangi et al., 2021): to
    compare with published scores, and for nothing else.

    Tiles lie side by side, so held-out tiles have trained neighbours, and their scores flatter. EM-stellar's hold-out
    is `choose: first`; its other splits are random.
    """

    name: Literal["tiles"] = "tiles"
    size: tuple[PositiveInt, PositiveInt] | tuple[PositiveInt, PositiveInt, PositiveInt]
    """Voxels (y, x) of a tile of one slice, or (z, y, x). What is left over at the far sides is not used."""
    validate_share: Annotated[float, Field(gt=0, lt=1)] = 0.15
    """Fraction of the tiles to validate on, rounded down."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0
    """Fraction of the tiles to keep for testing, rounded down."""
    choose: Literal["random", "first"] = "random"
    """Which tiles are held out: random ones, or the first in the order of volumes, slices, rows, columns. Validation
    tiles come before those for testing."""
    seed: NonNegativeInt = 0
    """Of the random choice."""
    leaky: bool = False
    """Must be `true`: the word by which whoever reads the recipe knows."""

    @model_validator(mode="after")
    def _check(self) -> TileSplit:
        if not self.leaky:
            raise ValueError(
                "held-out tiles have trained neighbours, so their scores flatter; write `leaky: true` to say that you "
                "know, or name `validate` regions with a gap to those of `train`"
            )
        if self.validate_share + self.test_share >= 1:
            raise ValueError("validate_share and test_share leave nothing to train on; their sum must be below 1")
        return self


class DataConfig(Config):
    """Volumes, classes and the split."""

    set: str | None = None
    """A public data set by name. Paths are then relative to its folder; volumes, classes and regions left empty are
    those of the set (see `cristae data list`)."""
    task: str | None = None
    """Which labelling of the set, where it offers several; None takes its first."""
    classes: Classes | None = None
    """What a voxel can be."""
    volumes: tuple[VolumeConfig, ...] = ()
    """The images and their annotation."""
    available_from: str | None = None
    """Where everyone gets the files of `volumes`, such as an archive, a project number and an address, or the name of a
    set that `cristae data list` says to bring. Until they are there, `cristae recipe check` checks the rest and repeats
    this."""
    train: tuple[Region, ...] = ()
    """Where the network learns."""
    validate_: tuple[Region, ...] = Field(default=(), alias="validate")
    """Where it is validated after every epoch."""
    test: tuple[Region, ...] = ()
    """Held out until the end."""
    split: TileSplit | None = None
    """Cuts `train` into tiles and takes some of them to validate on, in place of `validate`. For comparison with
    published scores only: such a split leaks."""
    voxel_size_nm: tuple[PositiveFloat, PositiveFloat, PositiveFloat] | None = None
    """Working voxel size (z, y, x): volumes are resampled to it before the network and predictions back.
    None works at each volume's own size."""

    @model_validator(mode="after")
    def _check(self) -> DataConfig:
        if self.set is not None and self.available_from is not None:
            raise ValueError("available_from is for files of your own; a public set says where it comes from")
        if self.split is None:
            return self
        if self.validate_:
            raise ValueError("`split` takes what to validate on from `train`; leave out `validate`, or `split`")
        if self.test and self.split.test_share:
            raise ValueError("`split.test_share` takes what to test on from `train`; leave out `test`, or set it to 0")
        return self
