"""Validation regions predicted as a run will predict them: after each epoch of a training, and at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.splits import Part, labelled_boxes
from cristae.data.volume import Volume
from cristae.errors import RunError
from cristae.evaluation.criteria import scores_of_epoch
from cristae.inference.application import choose_application, windows_of
from cristae.inference.config import PredictConfig
from cristae.inference.ensemble import plan_ensemble
from cristae.inference.labels import bytes_of, labels_of
from cristae.inference.locality import Locality
from cristae.inference.memory import Budget
from cristae.inference.plan import SMALLEST_SIDES, WHOLE, Workload, plan_memory
from cristae.inference.predictor import Member, Predictor
from cristae.inference.windows import Windows
from cristae.metrics.tally import Tally
from cristae.preprocess.filtered_slices import FilteredSlices, PassingFile
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.recipe import Recipe
from cristae.training.cache_folder import cache_folder
from cristae.training.epoch_counts import EpochCounts
from cristae.training.feed import Worker

_EXACT_2D, _WINDOWED_2D = (1, 1024, 1024), (1, 4096, 4096)
_EXACT_DEPTH, _WINDOWED_SIDE = 16, 512
_EXACT_BYTES = 4 * 2**30
"""Memory that decides the blocks of an exact 3D pass. All of these are fixed, so that the same bits come out of any
machine."""
_PASS_VOX = 1 << 20
_MAX_PREVIEWS = 12
_DEAREST = 8
"""Times the computation of windows that an exact pass over the validation regions may cost to be tried."""


@dataclass(frozen=True, eq=False)
class PredictedSlab:
    """Truth and prediction of one slab: uint8 (1, Z, Y, X) of ids, or (K, Z, Y, X) masks of overlapping classes."""

    part: Part
    box: Box
    truth: np.ndarray
    valid: np.ndarray | None
    """(Z, Y, X), 0 where a voxel does not count."""
    prediction: np.ndarray
    probabilities: Mapping[str, np.ndarray] | None = None
    """uint8 (Z, Y, X) of p x 255 by class, where they were asked for."""

    def count_into(self, tally: Tally) -> None:
        """Add the slab's slices to the counts of its volume."""
        for z in range(self.box.shape[0]):
            ok = None if self.valid is None else self.valid[z]
            tally.count(self.box.start[0] + z, list(self.truth[:, z]), list(self.prediction[:, z]), ok)

    def first_slice(self, classes: Classes) -> SlicePreview:
        """The first slice, with its image."""
        volume, z = self.part.volume, self.box.start[0]
        image = volume.image.read(Box(self.box.start, (z + 1, *self.box.stop[1:])))[0]
        channel = 0 if classes.exclusive else slice(None)
        valid = None if self.valid is None else self.valid[0]
        return SlicePreview(volume, z, image, self.truth[channel, 0], valid, self.prediction[channel, 0])


@dataclass(frozen=True, eq=False)
class SlicePreview:
    """One slice of a volume with its truth and prediction, to be shown."""

    volume: Volume
    z: int
    """Counted in the volume."""
    image: np.ndarray
    """(Y, X) grey values of any type."""
    truth: np.ndarray
    """(Y, X) class ids, or (K, Y, X) masks of overlapping classes."""
    valid: np.ndarray | None
    """(Y, X), 0 where a voxel does not count."""
    prediction: np.ndarray
    """As `truth`."""


@dataclass(frozen=True, eq=False)
class Validation:
    """The validation regions, on the working grid, and how to predict them."""

    parts: Sequence[Part]
    classes: Classes
    normalizers: Mapping[str, Normalizer]
    """By volume name."""
    locality: Locality
    threshold: float
    device: torch.device
    slices: int = 1
    """Slices that a 2D network sees as channels."""
    windows: Windows | None = None
    """How the network is applied; None is exactly."""
    network_input: NetworkInput = NetworkInput()
    """What it is shown beside the image, and what happens to each window before the network."""
    filtered: Mapping[str, FilteredSlices] = field(default_factory=dict)
    """The images with their filtered copies, by volume name, where the network is shown some. Each slice is filtered
    once for all epochs."""

    def count_into(self, counts: EpochCounts, network: nn.Module, worker: Worker = Worker()) -> None:
        """Count this process's part of the slabs, where the labels are; every annotated voxel counts once."""
        for part, box in self._shared(worker):
            truth, valid = _annotation(part, box)
            for block, probabilities, labels in self._blocks(network, part.volume, box):
                here = block.relative_to(box.start).slices
                true = torch.from_numpy(truth[(slice(None), *here)]).to(labels.device)
                keep = None if valid is None else torch.from_numpy(valid[here] != 0).to(labels.device)
                counts.add(true, probabilities, labels, keep)

    def predicted(
        self, network: nn.Module, worker: Worker = Worker(), *, probabilities: bool = False
    ) -> Iterator[PredictedSlab]:
        """The annotated slabs of this process's part, one after the other, with their prediction."""
        names = plan_ensemble([self.classes]).channel_names
        for part, box in self._shared(worker):
            truth, valid = _annotation(part, box)
            prediction = np.empty(truth.shape, np.uint8)
            kept = {name: np.empty(box.shape, np.uint8) for name in names} if probabilities else None
            for block, found, labels in self._blocks(network, part.volume, box):
                here = block.relative_to(box.start).slices
                prediction[(slice(None), *here)] = labels.cpu().numpy()
                if kept is not None:
                    for channel, array in zip(bytes_of(found).cpu().numpy(), kept.values(), strict=True):
                        array[here] = channel
            yield PredictedSlab(part, box, truth, valid, prediction, kept)

    def _shared(self, worker: Worker) -> Iterator[tuple[Part, Box]]:
        """The slabs of this process's part."""
        for number, slab in enumerate(self.slabs()):
            if number % worker.world_size == worker.rank:
                yield slab

    def _blocks(self, network: nn.Module, volume: Volume, box: Box) -> Iterator[tuple[Box, Tensor, Tensor]]:
        """Blocks of a slab, their probabilities (C, Z, Y, X) and their labels, uint8 (1 or K, Z, Y, X), on the
        device."""
        member = self._member(network, volume)
        predictor = Predictor([member], device=self.device, pass_vox=_PASS_VOX)
        with predictor.predicting():
            for block in box.blocks(self._block(member, volume, box)):
                probabilities = predictor.probabilities(self.filtered.get(volume.name, volume.image), block)
                yield block, probabilities, labels_of(probabilities, predictor.ensemble, self.threshold)

    def _member(self, network: nn.Module, volume: Volume) -> Member:
        fixed = self.locality, self.normalizers[volume.name], self.classes, self.slices, self.windows
        return Member(network, *fixed, self.network_input)

    def _block(self, member: Member, volume: Volume, box: Box) -> Triple:
        """Voxels (z, y, x) that are predicted at once."""
        if self.locality.ndim == 2:
            return _EXACT_2D if self.windows is None else _WINDOWED_2D
        if self.windows is not None:
            return self._depth, _WINDOWED_SIDE, _WINDOWED_SIDE
        return _exact_block(member, volume.image.shape, box.shape)

    @property
    def _depth(self) -> int:
        """Slices of a slab."""
        if self.locality.ndim == 2:
            return 1
        return _EXACT_DEPTH if self.windows is None else max(_EXACT_DEPTH, min(64, 4 * self.windows.size[0]))

    def slabs(self) -> Iterator[tuple[Part, Box]]:
        """The annotated slices (a few at a time for 3D networks), in the order of prediction."""
        for part in self.parts:
            for box in labelled_boxes(part):
                for slab in box.blocks((self._depth, *box.shape[1:])):
                    yield part, slab

    def mean_iou(self, network: nn.Module) -> float:
        """Over all annotated voxels; background counts as a class."""
        counts = EpochCounts(self.classes)
        self.count_into(counts, network)
        return scores_of_epoch(counts.arrays(), self.classes)["val_miou"]

    def seen_vox(self, network: nn.Module) -> float:
        """Voxels that go through the network for each voxel of the first slab: a measure of what a pass costs."""
        part, box = next(self.slabs())
        shape, member, total = part.volume.image.shape, self._member(network, part.volume), 0
        for block in box.blocks(self._block(member, part.volume, box)):
            if self.windows is None:
                total += member.input_box_for(member.output_box(block, shape)).size
            else:
                one = member.input_box_for(Box.of_shape(self.windows.size)).size
                total += one * sum(1 for _ in self.windows.parts(block, shape))
        return total / box.size


def plan_validation(
    recipe: Recipe,
    parts: Sequence[Part],
    classes: Classes,
    normalizers: Mapping[str, Normalizer],
    locality: Locality,
    size: Sequence[int],
    device: torch.device,
) -> Validation:
    """How a network is validated while it learns: as it will be applied, in windows where 3D networks leave it open.

    Args:
        recipe: What to learn.
        parts: Where to validate, on the working grid.
        classes: What their labels mean.
        normalizers: By volume name.
        locality: Of the network.
        size: Of the training patches, (y, x) or (z, y, x).
        device: Where to compute.

    Raises:
        RunError: The network is to be applied exactly and cannot be.
    """
    settings, model = recipe.predict, recipe.network
    areas = recipe.network_input.areas_px
    images = {part.volume.name: part.volume.image for part in parts} if areas else {}
    file = PassingFile(cache_folder())
    application = choose_application(settings, model, locality)
    if settings.windows == "auto" and locality.ndim == 3:
        application = model.blend  # the halo of an exact 3D pass can cost many times as much
    return Validation(
        parts,
        classes,
        normalizers,
        locality,
        settings.threshold,
        device,
        model.in_slices,
        windows_of(application, size, locality),
        recipe.network_input,
        {name: FilteredSlices(image, areas, file=file, most=None) for name, image in images.items()},
    )


def better_application(
    settings: PredictConfig, network: nn.Module, validation: Validation, progress: Progress
) -> tuple[Validation, dict[str, Any]]:
    """Compare windows with an exact pass where both are possible and the recipe leaves it open.

    Only for 3D networks: what they learnt from few slices need not hold for many. An exact pass that would cost many
    times as much is not tried.

    Args:
        settings: Of the recipe; what it asks for is not compared with anything.
        network: With its best weights.
        validation: In windows.
        progress: Where to say what was found.

    Returns:
        The better validation, and what the summary of the run keeps of it under 'application'; empty when there was
        nothing to compare.
    """
    locality, windows = validation.locality, validation.windows
    if settings.windows != "auto" or locality.ndim == 2 or not locality.local or windows is None:
        return validation, {}
    exact = replace(validation, windows=None)
    times = exact.seen_vox(network) / validation.seen_vox(network)
    if times > _DEAREST:
        why = f"an exact pass would see {times:.0f} times as many voxels"
        progress.say(f"prediction in windows ({windows.rule}); {why}")
        return validation, {"better": windows.rule, "val_miou": {}, "untried": {"exact": why}}
    scores = {windows.rule: validation.mean_iou(network), "exact": exact.mean_iou(network)}
    # NaN, where nothing could be scored, is worse than any number; of equals the exact pass has no seams.
    better = max(("exact", windows.rule), key=lambda name: np.nan_to_num(scores[name], nan=-1.0))
    listed = ", ".join(f"{name} {value:.4f}" for name, value in scores.items())
    progress.say(f"validation mIoU by application: {listed}; '{better}' becomes the run's default")
    return (exact if better == "exact" else validation), {"better": better, "val_miou": scores}


def score_slices(
    network: nn.Module, validation: Validation, keep: Callable[[SlicePreview], None], progress: Progress
) -> list[Tally]:
    """Counts of every annotated validation slice, by volume.

    Args:
        network: With its best weights.
        validation: As the run will predict.
        keep: Gets an evenly spread few of the slices, to be shown.
        progress: Where to show how far it is.
    """
    tallies: dict[str, Tally] = {}
    total = sum(1 for _ in validation.slabs())
    chosen = set(np.linspace(0, total - 1, min(_MAX_PREVIEWS, total)).round().astype(int).tolist())
    with progress.task("Scoring the validation slices", total, unit="slabs") as task:
        for number, slab in enumerate(validation.predicted(network)):
            name = slab.part.volume.name
            slab.count_into(tallies.setdefault(name, Tally(name, validation.classes)))
            if number in chosen:
                keep(slab.first_slice(validation.classes))
            task.advance()
    return list(tallies.values())


def _annotation(part: Part, box: Box) -> tuple[np.ndarray, np.ndarray | None]:
    """Truth (1 or K, Z, Y, X) and, unless all voxels count, which do (Z, Y, X)."""
    volume = part.volume
    truth = np.stack([label.read(box) for label in volume.labels])
    return truth, None if volume.valid is None else volume.valid.read(box)


def _exact_block(member: Member, image_shape: Triple, region: Triple) -> Triple:
    """Blocks of an exact 3D pass, from a memory that is the same everywhere; the smallest where it does not suffice."""
    ensemble = plan_ensemble([member.classes])
    workload = Workload((member,), ensemble, image_shape, (1.0, 1.0, 1.0), 1, halves=False, keep_probabilities=False)
    try:
        return plan_memory(workload, region, Budget(_EXACT_BYTES, None), passes=(WHOLE,)).block
    except RunError:
        return SMALLEST_SIDES[3]
