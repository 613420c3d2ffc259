"""Which label value is the background, and when that has to be asked."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cristae.recipe.label_groups import Group

_NAME = re.compile(r"^(back ?ground|bg|exterior|outside|clear label|none)$", re.IGNORECASE)
_BLACK, _TRANSPARENT, _WHITE = "#000000", "#00000000", "#ffffff"


def find_background(groups: Sequence[Group]) -> tuple[Group, str]:
    """The group that is the background, and a question where that is in doubt ('' otherwise)."""
    named = [group for group in groups if _NAME.match(group.name)]
    if len(named) == 1:
        return named[0], ""
    commonest = max(groups, key=lambda group: group.share)
    presumed = _presumed(groups, commonest)
    if presumed is None:
        return commonest, _no_zero(commonest)
    if presumed is not commonest and len(groups) == 2 and _surrounds(commonest, presumed):
        return commonest, (
            f"is {commonest.shown} really the background, and {presumed.shown} the structure? It is so in inverted "
            f"masks, and {commonest.shown} surrounds the other"
        )
    return presumed, _doubt(presumed, commonest, groups)


def _presumed(groups: Sequence[Group], commonest: Group) -> Group | None:
    """What convention takes for the background: 0, black, transparent, white."""
    zero = [group for group in groups if not group.is_color and group.holds(0)]
    by_color = {group.color: group for group in reversed(groups)}
    black = by_color.get(_BLACK)
    if black is not None and (black is commonest or len(groups) == 2 or not zero):
        return black
    if zero:
        return zero[0]
    return by_color.get(_TRANSPARENT) or by_color.get(_WHITE)


def _surrounds(outer: Group, inner: Group) -> bool:
    return outer.share >= 0.7 and outer.rim_share >= 0.9 and inner.rim_share <= 0.1


def _doubt(presumed: Group, commonest: Group, groups: Sequence[Group]) -> str:
    if presumed.color == _TRANSPARENT:
        return "are transparent voxels background, or were they not annotated? Then write `unlabelled`"
    if presumed is not commonest:
        return (
            f"is {presumed.shown} ({presumed.share:.0%}) really the background? {commonest.shown} is commoner "
            f"({commonest.share:.0%})"
        )
    if len(groups) == 2 and presumed.share < 0.6 * sum(group.share for group in groups):
        return f"is {presumed.shown} really the background? Both values cover about half"
    return ""


def _no_zero(commonest: Group) -> str:
    why = "no colour is black, white or transparent" if commonest.is_color else "value 0 does not occur"
    return (
        f"{why}; is {commonest.shown}, the commonest ({commonest.share:.0%}), really the background, and not a "
        "structure or `unlabelled`? Where every voxel belongs to a structure, add `background: false` to the classes"
    )
