"""What is to be predicted, as plain values: they can be stored as JSON and carried out by any process.

A `Provenance` is all that decides the result. A `PredictionRequest` adds where it is written and in which blocks.
Nothing here holds a network or an open file; `inference.job` carries a request out.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from cristae.config import facts_from
from cristae.data.address import place_of
from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.formats import open_image
from cristae.data.geometry import ALL_AXES, IN_PLANE, Geometry, check_same_place, placement_hint
from cristae.data.image import Image, VoxelSize
from cristae.data.open import open_volume
from cristae.errors import RunError, VolumeError
from cristae.inference.config import Backend, Precision, PredictConfig, PredictOptions, Runtime, Statistics
from cristae.inference.emptiness import EmptyRule
from cristae.inference.ensemble import Ensemble, plan_ensemble
from cristae.inference.fusion import Average, Fusion
from cristae.inference.locality import Locality
from cristae.inference.plan import BlockPlan
from cristae.inference.sections import Bridge, SectionReport
from cristae.inference.test_time import TestTime
from cristae.inference.windows import Windows
from cristae.postprocessing import Step
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress

_MASK_BLOCK = (16, 1024, 1024)
_SAMPLE_BLOCK = (16, 512, 512)


@dataclass(frozen=True)
class VolumeSpec:
    """The volume, and how to open it again."""

    name: str
    path: str | None
    """File, slice folder, glob or `file:/inner/array`; None for a volume that exists in this process only."""
    shape: Triple
    """Voxels (z, y, x)."""
    dtype: str
    voxel_size_nm: VoxelSize | None
    """The one that holds: of the file, or stated by the caller."""
    origin_nm: VoxelSize | None
    sample_sha256: str
    """SHA-256 of some voxels in the centre, by which a file that was replaced is noticed; empty without a path."""
    level: int = 0
    """Which resolution level of a pyramid `path` is; 0 is full size."""

    @classmethod
    def of(cls, image: Image, *, name: str, path: str | None, level: int = 0) -> VolumeSpec:
        """The description of an open image."""
        where = None if path is None else str(place_of(path).absolute())
        sample = "" if where is None else _sample_digest(image)
        size, origin = image.voxel_size_nm, image.origin_nm
        return cls(name, where, image.shape, image.dtype.name, size, origin, sample, level)

    def open(self) -> Image:
        """Open the volume's image again.

        Raises:
            VolumeError: It exists in another process only, or the file holds another image by now.
            MissingFileError: The file is gone.
        """
        image = open_volume(self.require_path()).image
        found, expected = (image.shape, image.dtype.name), (self.shape, self.dtype)
        if found != expected or _sample_digest(image) != self.sample_sha256:
            raise VolumeError(
                f"{self.path}: holds another image than when the prediction was planned: {found[1]} of shape "
                f"{found[0]} (z, y, x), expected {expected[1]} of shape {expected[0]} and the same grey values; "
                "repeat the command"
            )
        return replace(image, voxel_size_nm=self.voxel_size_nm, origin_nm=self.origin_nm)

    def require_path(self) -> str:
        """The path.

        Raises:
            VolumeError: The volume exists in this process only.
        """
        if self.path is None:
            raise VolumeError(
                f"'{self.name}' exists in the memory of one process only, so that no other can predict it; write it "
                "to a file with cristae.write_image and give the path"
            )
        return self.path


@dataclass(frozen=True)
class MaskSpec:
    """Which image says where to predict."""

    path: str
    sha256: str
    """Of which voxels are not 0."""

    @classmethod
    def of(cls, mask: Image) -> MaskSpec:
        """The description of an open mask; reads all of it."""
        total = hashlib.sha256()
        for block in Box.of_shape(mask.shape).blocks(_MASK_BLOCK):
            total.update((mask.read(block) != 0).tobytes())
        return cls(str(mask.path.absolute()), total.hexdigest())


@dataclass(frozen=True)
class MemberSpec:
    """One run, and how its network is applied to this volume."""

    path: str
    """Of the run folder."""
    run: str
    """Its id."""
    status: str | None
    """Of its training."""
    weights_sha256: str
    classes: Classes
    normalizer: Normalizer
    """Of the run, or fitted to this volume."""
    locality: Locality
    slices: int
    """Slices that a 2D network takes as channels."""
    windows: Windows | None
    """None applies the network exactly."""
    criterion: str | None = None
    """By which the weights were chosen; None is the run's first."""
    areas_px: tuple[int, ...] = ()
    """Areas of the grain filters of whole slices whose results it is shown."""
    normalize: dict[str, Any] | None = None
    """How its normaliser was found: the `normalize:` of the recipe, with `scope: volume` where that was asked for."""
    test_time: TestTime = "none"
    """Test-time augmentation."""
    held_out: tuple[Box, ...] = ()
    """Boxes of the volume that it predicts without the members that have been trained on them."""

    def facts(self) -> dict[str, Any]:
        """What the manifest of a prediction lists of it."""
        return {
            "run": self.run,
            "status": self.status,
            "weights_sha256": self.weights_sha256,
            "classes": list(self.classes.names),
            **({} if self.normalize is None else {"normalize": self.normalize}),
            "normalizer": self.normalizer.to_dict(),
            "locality": self.locality.to_dict(),
            "windows": None if self.windows is None else asdict(self.windows),
            **({} if self.criterion is None else {"criterion": self.criterion}),
            **({"grain_filtered_slices_px": list(self.areas_px)} if self.areas_px else {}),
            **({} if self.test_time == "none" else {"test_time": self.test_time}),
            **({"held_out": [str(box) for box in self.held_out]} if self.held_out else {}),
        }


@dataclass(frozen=True)
class PredictionSettings:
    """Settings of the whole ensemble."""

    threshold: float = 0.5
    precision: Precision = "fp32"
    fusion: Fusion = Average()
    probabilities: bool = False
    """Whether 8-bit probabilities are kept."""
    normalize: Statistics = "run"
    """Whether statistics of the training data were replaced by those of the volume."""
    disagreement: bool = False
    """Whether a map of the members' disagreement is kept."""
    skip_empty: EmptyRule | None = None
    """Which blocks are empty, and so not shown to the networks."""
    postprocess: tuple[Step, ...] = ()
    """What changes the labels when all of them are there; the manifest lists it by itself, because other steps need no
    other prediction."""
    runtime: Runtime = "torch"
    """What computes the networks."""

    @classmethod
    def of(cls, config: PredictConfig, options: PredictOptions, steps: tuple[Step, ...] = ()) -> PredictionSettings:
        """From the `predict:` section that the runs share, the options of this prediction, and its post-processing."""
        keep = options.probabilities or any(step.reads_probabilities for step in steps)
        kept = keep, options.normalize, options.disagreement, options.skip_empty
        return cls(config.threshold, config.precision, config.fusion, *kept, steps, options.runtime)


@dataclass(frozen=True)
class Provenance:
    """All that decides the voxels of a prediction; one that was begun from something else is not continued."""

    volume: VolumeSpec
    mask: MaskSpec | None
    members: tuple[MemberSpec, ...]
    settings: PredictionSettings
    box: Box
    """The voxels of the volume that are predicted."""
    working_sizes_nm: tuple[VoxelSize | None, ...]
    """What the volume is resampled to for each member; None takes it as it is."""
    bridges: tuple[Bridge, ...] = ()
    """Bad sections that networks see as a mixture of their neighbours."""

    @property
    def ensemble(self) -> Ensemble:
        """Classes and channels of the result."""
        return plan_ensemble([member.classes for member in self.members])

    def facts(self) -> dict[str, Any]:
        """What the manifest of the prediction says, as plain JSON values."""
        settings, sizes = self.settings, self.working_sizes_nm
        shared = len(set(sizes)) == 1
        own = [{"working_voxel_size_nm": size} for size in sizes] if not shared else [{}] * len(sizes)
        facts = {
            "input": {
                "shape": self.volume.shape,
                "dtype": self.volume.dtype,
                "voxel_size_nm": self.volume.voxel_size_nm,
                "level": self.volume.level,
                "mask_sha256": None if self.mask is None else self.mask.sha256,
            },
            "runs": [member.facts() | size for member, size in zip(self.members, own, strict=True)],
            "settings": {
                "threshold": settings.threshold,
                "precision": settings.precision,
                "fusion": settings.fusion.model_dump(mode="json"),
                "probabilities": settings.probabilities,
                "normalize": settings.normalize,
                "disagreement": settings.disagreement,
                "skip_empty": settings.skip_empty,
                "runtime": settings.runtime,
                "box": str(self.box),
                "working_voxel_size_nm": sizes[0] if shared else None,
                "bridges": [asdict(bridge) for bridge in self.bridges],
            },
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))  # tuples become lists, as in what is stored
        return plain


@dataclass(frozen=True)
class PredictionRequest:
    """A prediction that is planned: any process that reaches the files can carry out a part of it."""

    provenance: Provenance
    out: str
    """The OME-Zarr group."""
    plan: BlockPlan
    backend: Backend
    """Kind of device; the same for all parts, so that blocks agree."""
    sections: SectionReport | None = None
    """What a look at the volume's sections found; None where an earlier call has said it."""

    @property
    def block_count(self) -> int:
        """How many blocks there are; they are numbered from 0."""
        return math.prod(
            -(-side // step) for side, step in zip(self.provenance.box.shape, self.plan.block, strict=True)
        )

    def to_json(self) -> str:
        """As JSON text, for another process.

        Raises:
            VolumeError: The volume exists in this process only.
        """
        self.provenance.volume.require_path()
        return json.dumps(_REQUEST.dump_python(self, mode="json"))

    @classmethod
    def from_json(cls, text: str) -> PredictionRequest:
        """What `to_json` gave.

        Raises:
            RunError: It is no such text, or a field is missing or wrong.
        """
        try:
            content = json.loads(text)
        except ValueError as error:
            raise RunError(f"prediction request: is not JSON: {error}") from None
        return facts_from(cls, content, "request")


_REQUEST = TypeAdapter(PredictionRequest)


def parse_box(box: str | Box | None, image: Image) -> Box:
    """The voxels of an image to predict; None takes all.

    Raises:
        VolumeError: It is not a box, is empty, or reaches outside the image.
    """
    whole = Box.of_shape(image.shape)
    if box is None:
        return whole
    try:
        region = Box.parse(box, image.shape) if isinstance(box, str) else box
    except ValueError as error:
        raise VolumeError(f"{image.path}: box {error}") from None
    if region.size == 0 or not whole.contains(region):
        raise VolumeError(f"{image.path}: box {region} is empty or reaches outside the volume of {whole}")
    return region


def open_mask(path: str | Path, image: Image, progress: Progress = Progress()) -> Image:
    """Open the image that says where to predict.

    Args:
        path: Of the mask, in any format.
        image: The volume's, with the voxel size that holds.
        progress: Takes a warning where their origins differ.

    Raises:
        VolumeError: It has another shape or orientation, or colours; when it is read, a value is no whole number.
        VoxelSizeError: It has another voxel size.
        MissingFileError: There is no such file.
    """
    mask = open_image(path)
    volume, own = Geometry.of(image, "the volume"), Geometry.of(mask, "the mask")
    if mask.shape != image.shape or mask.colors != 1:
        raise VolumeError(
            f"{path}: the mask has shape {mask.shape} (z, y, x) and {mask.colors} channels, but the volume is "
            f"{image.shape}; it must be a grey image of the same shape, not 0 where to predict."
            + placement_hint(volume, own)
        )
    for warning in check_same_place(volume, own, axes=IN_PLANE if image.shape[0] == 1 else ALL_AXES):
        progress.warn(warning)
    return mask if mask.dtype.kind != "f" else mask.map(partial(_whole_numbers, path=path), mask.dtype)


def _whole_numbers(voxels: np.ndarray, path: str | Path) -> np.ndarray:
    if not (voxels == np.floor(voxels)).all():  # NaN equals nothing
        raise VolumeError(f"{path}: the mask holds NaN or fractions; save it as whole numbers, 0 where not to predict")
    return voxels


def _sample_digest(image: Image) -> str:
    """SHA-256 of a chunk in the centre of an image."""
    start, stop = [], []
    for size, chunk, most in zip(image.shape, image.chunks, _SAMPLE_BLOCK, strict=True):
        low = size // 2 // chunk * chunk
        start.append(low)
        stop.append(min(size, low + min(chunk, most)))
    voxels = image.read(Box((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))
    return hashlib.sha256(np.ascontiguousarray(voxels).data).hexdigest()
