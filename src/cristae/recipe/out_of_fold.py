"""What the members of an ensemble have held out of a volume, which is found by its files."""

from __future__ import annotations

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
from cristae.progress import Progress
from cristae.recipe.ensemble_file import OUT_OF_FOLD, MemberRun

_SHOWN = 6
"""Images that a message lists."""


def held_out_boxes(
    members: Sequence[MemberRun], volume: Volume, region: Box, progress: Progress = Progress()
) -> tuple[tuple[Box, ...], ...]:
    """For each member, the boxes of a volume that only it and others who have held them out may predict.

    They are empty for members that are not asked to predict out of fold. Warns where such members have held out a part
    of the volume, because the others have been trained on it.

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
        tuple(_box(member, place, volume) for place, one in enumerate(member.unseen) if same.is_at(one.image))
        for member in members
    ]
    for ensemble in dict.fromkeys(member.ensemble for member in members if member.unseen):
        own = [place for place, member in enumerate(members) if member.ensemble == ensemble]
        boxes = [box for place in own for box in found[place]]
        if not members[own[0]].out_of_fold:
            if any(box.intersect(region).size for box in boxes):
                progress.warn(
                    f"{volume.image.path}: members of {ensemble} were trained on parts of this image, where their "
                    f"prediction flatters; --run {ensemble}:{OUT_OF_FOLD} predicts what each has held out by it alone"
                )
            continue
        if not boxes:
            raise RunError(
                f"{volume.image.path}: cannot be predicted {OUT_OF_FOLD}, because {ensemble} has held out nothing of "
                f"this image; it knows {_known([members[place] for place in own])}. Name one of these files, or the "
                f"ensemble without :{OUT_OF_FOLD}"
            )
        if not any(box.intersect(region).size for box in boxes):
            raise RunError(
                f"{volume.image.path}: {ensemble} has held out nothing of the box {region}, but "
                f"{', '.join(map(str, boxes[:_SHOWN]))}{' ...' if len(boxes) > _SHOWN else ''}; choose a box that "
                f"meets these, or name the ensemble without :{OUT_OF_FOLD}"
            )
    return tuple(boxes if member.out_of_fold else () for member, boxes in zip(members, found, strict=True))


def _box(member: MemberRun, place: int, volume: Volume) -> Box:
    unseen = member.unseen[place]
    try:
        return Box.parse(unseen.box, volume.image.shape)
    except ValueError as error:
        raise RunError(f"{unseen.place}: {error}; '{volume.name}' has {Box.of_shape(volume.image.shape)}") from None


def _known(members: Sequence[MemberRun]) -> str:
    images = list(dict.fromkeys(one.image for member in members for one in member.unseen))
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
