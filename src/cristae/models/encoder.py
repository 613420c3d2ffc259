"""Which parameters of a network are its encoder, and in which stages, told by the names of its parts.

Encoders are called `encoder`, here and in most other collections of networks; what stands before it (`stem`), and the
coarsest stage where it has a name of its own (`bottleneck`), belong to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

_ENCODER = re.compile(r"encoder|swinViT|conv_\d_0")
"""The last two: MONAI's Swin UNETR and U-Net++."""
_BEFORE, _AFTER = ("to_three", "stem"), ("bottleneck",)
_LISTS = ("blocks", "layers", "stages")
"""Parts of an encoder that hold its stages."""


def encoder_stages(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parameters of the encoder by stage.

    Args:
        names: Of all parameters of a network, as `named_parameters` gives them.

    Returns:
        Names by stage, such as `encoder.0`, from the image on; empty where no part is called an encoder.

    Example:
        >>> encoder_stages(["stem.weight", "encoder.0.weight", "encoder.1.weight", "decoder.0.weight"])
        {'stem': ('stem.weight',), 'encoder.0': ('encoder.0.weight',), 'encoder.1': ('encoder.1.weight',)}
    """
    before: dict[str, list[str]] = {}
    stages: dict[str, list[str]] = {}
    after: dict[str, list[str]] = {}
    for name in names:
        path = name.split(".")
        place = next((number for number, part in enumerate(path[:-1]) if _ENCODER.fullmatch(part)), None)
        if place is not None:
            stages.setdefault(_stage(path, place), []).append(name)
        elif path[0] in _BEFORE:
            before.setdefault(path[0], []).append(name)
        elif path[0] in _AFTER:
            after.setdefault(path[0], []).append(name)
    if not stages:
        return {}
    return {stage: tuple(found) for stage, found in (before | stages | after).items()}


def _stage(path: list[str], place: int) -> str:
    """Where the encoder is a part of its own, the next part is its stage."""
    if path[place].startswith("conv_"):
        return ".".join(path[: place + 1])
    end = place + 2 + (len(path) > place + 2 and path[place + 1] in _LISTS)
    return ".".join(path[: min(end, len(path) - 1)])
