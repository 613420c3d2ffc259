"""What the members of an ensemble have held out of a volume, which is found by its files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from cristae.data.box import Box
from cristae.data.formats import open_image
from cristae.data.formats.paths import find_source
from cristae.data.splits import files_of
from cristae.data.volume import Volume
from cristae.errors import CristaeError, RunError
from cristae.inference.held_out import parts_by_members
from cristae.progress import Progress
from cristae.recipe.ensemble_file import OUT_OF_FOLD, MemberRun

_SHOWN = 6
"""Images that a message lists."""


def held_out_boxes(
    members: Sequence[MemberRun], volume: Volume, region: Box, progress: Progress = Progress()
) -> tuple[tuple[Box, ...], ...]:
    """For each member, the boxes of a volume that only it and others who have held them out may predict.

    They are empty for members that are not asked to predict out of fold. Warns where some of such members have held out
    what others have been trained on, and says how much of the region is predicted out of fold.

    Args:
        members: Runs, with what their ensemble files say.
        volume: An image is the same where its file is, whatever its path.
        region: The voxels that are predicted.
        progress: Takes the warning.

    Raises:
        RunError: The ensemble does not know the volume, has held out nothing of the region, or gives a box that reaches
            outside.
    """
    same = _SameImage(volume)
    found = [
        tuple(_box(member, place, volume) for place, one in enumerate(member.held_out) if same.is_at(one.image))
        for member in members
    ]
    for ensemble, out_of_fold in dict.fromkeys((one.ensemble, one.out_of_fold) for one in members if one.held_out):
        places = [n for n, one in enumerate(members) if (one.ensemble, one.out_of_fold) == (ensemble, out_of_fold)]
        boxes = [found[place] for place in places]
        if out_of_fold:
            held = tuple(dict.fromkeys(sum(boxes, ())))
            _require_held_out(volume, region, [members[place] for place in places], held)
            _say_share(volume, region, held, progress)
        elif _differ(region, boxes):
            progress.warn(
                f"{volume.image.path}: members of {ensemble} were trained on parts of this image that others have held "
                f"out, so that their prediction flatters; --run {ensemble}:{OUT_OF_FOLD} predicts these parts by those "
                "that have not seen them"
            )
    return tuple(boxes if member.out_of_fold else () for member, boxes in zip(members, found, strict=True))


def _differ(region: Box, held_out: Sequence[Sequence[Box]]) -> bool:
    """Whether there is a voxel that some members have held out and others have not."""
    everyone = tuple(range(len(held_out)))
    return any(part.groups != (everyone,) for part in parts_by_members(region, (everyone,), held_out))


def _say_share(volume: Volume, region: Box, held_out: Sequence[Box], progress: Progress) -> None:
    """Say where a part of the region is predicted as any ensemble predicts."""
    rest = sum(box.size for box in region.without(*held_out))
    share = 100 * (1 - rest / region.size)
    if rest:
        progress.say(
            f"{volume.image.path}: {share:.3g} % of the voxels are predicted {OUT_OF_FOLD}; the others "
            "no member has held out, so all predict them, whether they were trained on them or not"
        )


def _require_held_out(volume: Volume, region: Box, members: Sequence[MemberRun], boxes: Sequence[Box]) -> None:
    ensemble = members[0].ensemble
    if not boxes:
        raise RunError(
            f"{volume.image.path}: cannot be predicted {OUT_OF_FOLD}, because {ensemble} has held out nothing of this "
            f"image; it knows {_known(members)}. Name one of these files, or the ensemble without :{OUT_OF_FOLD}"
        )
    if not any(box.intersect(region).size for box in boxes):
        shown = ", ".join(map(str, boxes[:_SHOWN])) + (" ..." if len(boxes) > _SHOWN else "")
        raise RunError(
            f"{volume.image.path}: {ensemble} has held out nothing of the box {region}, but {shown}; choose a box that "
            f"meets these, or name the ensemble without :{OUT_OF_FOLD}"
        )


def _box(member: MemberRun, place: int, volume: Volume) -> Box:
    written = member.held_out[place]
    try:
        return Box.parse(written.box, volume.image.shape)
    except ValueError as error:
        raise RunError(f"{written.place}: {error}; '{volume.name}' has {Box.of_shape(volume.image.shape)}") from None


def _known(members: Sequence[MemberRun]) -> str:
    images = list(dict.fromkeys(os.path.normpath(one.image) for member in members for one in member.held_out))
    more = f" and {len(images) - _SHOWN} more" if len(images) > _SHOWN else ""
    return ", ".join(images[:_SHOWN]) + more


class _SameImage:
    """Tells whether a path leads to the image of a volume."""

    def __init__(self, volume: Volume) -> None:
        self._files = files_of(volume) if volume.image.format != "array" else ()
        self.is_at = cache(self._is_at)

    def _is_at(self, path: str) -> bool:
        if not self._files:
            return False  # in memory
        with suppress(CristaeError):  # what is not there any more is not the volume
            source = find_source(path)
            if source.files:
                return self._files == tuple(file.resolve() for file in source.files)
            place = source.path.resolve()
            if place == self._files[0] or place in self._files[0].parents:  # then it is worth opening
                return self._files == files_of(Volume(Path(path).name, open_image(path)))
        return False
