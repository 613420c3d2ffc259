"""How far patches and their augmentation look, against how far volumes go."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.augment.batch import margin_zyx
from cristae.data.splits import Part
from cristae.errors import RecipeError
from cristae.progress import Progress
from cristae.sampling import as_triple


def require_one_mirror(parts: Sequence[Part], size: Sequence[int], seen: Sequence[int], margin: Sequence[int]) -> None:
    """Make sure that augmentation looks no further than one mirror image of each volume.

    Args:
        parts: What patches are cut from.
        size: Voxels (*S) of an output patch.
        seen: Voxels (*S) of image that the network sees of one.
        margin: Voxels around these, on both sides of each axis, that augmentation draws from.

    Raises:
        RecipeError: It does.
    """
    for part in parts:
        shape = part.volume.image.shape
        sides = zip("zyx", as_triple(tuple(size)), as_triple(tuple(seen)), margin_zyx(margin), shape, strict=True)
        for axis, side, image, around, there in sides:
            beyond = max(0, -(-(side - there) // 2)) + (image - side) // 2 + around
            if around and beyond >= there:
                raise RecipeError(
                    f"augment: patches of {_text(size)} voxels need the image up to {beyond} voxels beyond the border "
                    f"of '{part.volume.name}' along {axis}, but its mirror image reaches {there - 1}; choose a smaller "
                    "sampling.size or smaller amounts"
                )


def warn_about_reach(
    parts: Sequence[Part], size: Sequence[int], seen: Sequence[int], margin: Sequence[int], progress: Progress
) -> None:
    """Warn about the first volume that patches cannot fill or, where they fill all, that augmentation looks beyond.

    Args:
        parts: What patches are cut from.
        size: Voxels (*S) of an output patch.
        seen: Voxels (*S) of image that the network sees of one.
        margin: Voxels around these that augmentation draws from.
        progress: Where the warning goes.
    """
    patch, around = as_triple(tuple(size)), margin_zyx(margin)
    drawn = [side + 2 * more for side, more in zip(as_triple(tuple(seen)), around, strict=True)]
    for part in parts:
        if any(side > there for side, there in zip(patch, part.volume.image.shape, strict=True)):
            progress.warn(
                f"patches of {_text(patch)} voxels (z, y, x) are larger than '{part.volume.name}', "
                f"{_text(part.volume.image.shape)}: they are filled up with its mirror image, which does not count; a "
                "smaller sampling.size learns more from each patch"
            )
            return
    for part in parts:
        shape = part.volume.image.shape
        if any(side > there for side, there, more in zip(drawn, shape, around, strict=True) if more):
            progress.warn(
                f"augmentation looks at {_text(drawn)} voxels (z, y, x) for each patch, but '{part.volume.name}' has "
                f"{_text(shape)}: the rest is its mirror image, which does not count; a smaller sampling.size or "
                "smaller amounts under augment learn more from each patch"
            )
            return


def _text(shape: Sequence[int]) -> str:
    return " x ".join(str(side) for side in shape)
