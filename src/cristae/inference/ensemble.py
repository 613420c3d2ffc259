"""Several runs, one answer: members of the same classes are averaged, binary structures are merged into one map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cristae.data.classes import Classes, joined_borders
from cristae.errors import RunError


@dataclass(frozen=True)
class Ensemble:
    """How the probabilities of the members become those of the result."""

    classes: Classes
    """The classes of the result."""
    groups: tuple[tuple[int, ...], ...]
    """Members (by place) whose probabilities are averaged; several groups are stacked as channels in this order."""

    @property
    def merged(self) -> bool:
        """Whether binary structures are merged: the highest score wins where it is above the threshold."""
        return len(self.groups) > 1

    @property
    def channels(self) -> int:
        """Number of probability channels of the result."""
        return len(self.groups) if self.merged else self.classes.n_logits

    @property
    def softmax(self) -> bool:
        """Whether the channels are exclusive classes that add up to 1."""
        return not self.merged and self.classes.softmax

    @property
    def channel_names(self) -> tuple[str, ...]:
        """The class that each probability channel belongs to."""
        return self.classes.names if self.softmax else self.classes.foreground


def plan_ensemble(members: Sequence[Classes]) -> Ensemble:
    """Decide how runs of these classes are joined.

    Runs of the same classes are averaged. Binary runs of different structures become one class map whose ids follow
    the order of the runs (Zhang et al. 2018, arXiv 1811.11729, say that the maps are integrated; the rule is ours).

    Raises:
        RunError: Different classes, and not every run is binary.
    """
    groups: dict[object, list[int]] = {}
    for place, classes in enumerate(members):
        groups.setdefault(classes.scheme, []).append(place)
    joined = tuple(tuple(group) for group in groups.values())
    if len(joined) == 1:
        return Ensemble(members[0], joined)
    firsts = [members[group[0]] for group in joined]
    for place, classes in enumerate(firsts):
        if not (classes.background_name is not None and classes.n_logits == 1):
            one, other = firsts[0], firsts[place or 1]
            raise RunError(
                f"the runs have different classes: ({one.listed}) and ({other.listed}). Runs of the same classes "
                "are averaged and binary runs of different structures are merged; these are neither. "
                "Predict with them one by one."
            )
    return Ensemble(_merge(firsts), joined)


def _merge(binary: Sequence[Classes]) -> Classes:
    background = binary[0].names[0]
    structures = [name for classes in binary for name in classes.foreground]
    doubled = sorted({name for name in structures if structures.count(name) > 1 or name == background})
    if doubled:
        raise RunError(f"the runs name {', '.join(doubled)} for different things; classes of merged runs must differ")
    colors = {name: color for classes in binary for name, color in classes.colors.items() if name in structures}
    return Classes(names=(background, *structures), colors=colors, borders=joined_borders(binary))
