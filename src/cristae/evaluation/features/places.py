"""Where networks are looked at: a window in the middle of some slices of each image."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.data.box import Box, Triple
from cristae.errors import ScoreError
from cristae.evaluation.features.options import FeatureOptions


def plan_places(shape: Triple, patches: Sequence[Sequence[int]], options: FeatureOptions, name: str) -> list[Box]:
    """The windows of an image, each of one slice.

    Args:
        shape: The image's (z, y, x), on the grid that networks work on.
        patches: The size that each network was trained on, (y, x) or (z, y, x).
        options: How many slices, and how large a window.
        name: Of the image, for messages.

    Raises:
        ScoreError: There are fewer slices, or the window is larger than the image.

    Example:
        >>> [str(box) for box in plan_places((8, 90, 90), [(64, 32)], FeatureOptions(places=2), "cell")]
        ['2:3,13:77,29:61', '6:7,13:77,29:61']
    """
    depth, *sides = shape
    if options.places > depth:
        raise ScoreError(f"{name}: has {depth} slice{'s' * (depth > 1)}, of which {options.places} cannot be looked at")
    wanted = options.window
    if wanted is not None and any(a > b for a, b in zip(wanted, sides, strict=True)):
        raise ScoreError(
            f"{name}: a window of {wanted[0]} x {wanted[1]} pixels is larger than its slices, {sides[0]} x {sides[1]}"
        )
    found = wanted or tuple(min([sides[axis], *(patch[axis - 2] for patch in patches)]) for axis in range(2))
    y, x = ((side - length) // 2 for side, length in zip(sides, found, strict=True))
    slices = [(2 * place + 1) * depth // (2 * options.places) for place in range(options.places)]
    return [Box((z, y, x), (z + 1, y + found[0], x + found[1])) for z in slices]
