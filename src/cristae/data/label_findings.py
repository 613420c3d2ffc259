"""Whether the labels of a recipe's volumes lie on their images, in volumes of one contrast, with every class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cristae.data.alignment import Alignment, align
from cristae.data.class_repairs import absent_classes, voxels_by_section, with_absent_classes
from cristae.data.classes import Classes
from cristae.data.common_classes import common_classes
from cristae.data.contrast import opposite
from cristae.data.description import DataConfig, MaskLabels, VolumeConfig
from cristae.data.finding import Finding, Severity
from cristae.data.open import Dataset
from cristae.data.repairs import Copies, copied_folder, place_of
from cristae.data.section_findings import used_slices
from cristae.data.splits import labelled_boxes
from cristae.data.turned import Turn
from cristae.data.volume import Volume
from cristae.errors import CristaeError
from cristae.progress import Progress

_COMPARED, _CLASSES = 64, 3
"""So many volumes, and so many of the commonest classes, are compared."""
_SMALL_VOX = 3
"""Labels that lie so near to where they belong still teach something."""
_GAIN = 1.15
"""How much better the image must explain labels that lie so near to where they belong, once they are moved there: what
is explained of labels drawn by hand changes by less where nothing is wrong."""
_MANY = 0.25
"""Part of the volumes from which on a fault in them makes a training meaningless."""
_NAMED = 8


@dataclass(frozen=True, eq=False)
class _Judged:
    """The labels of one volume, or one mask of them."""

    volume: Volume
    place: int
    """Under `data.volumes`."""
    config: VolumeConfig
    class_name: str | None
    alignment: Alignment

    @property
    def turn(self) -> Turn | None:
        """What puts the labels right, nothing if they are; None where the data cannot tell."""
        found = self.alignment
        if found.turn is not None and _is_small(found.turn) and found.explained_best < _GAIN * found.explained:
            return Turn()
        return found.turn

    @property
    def what(self) -> str:
        """What lies on the image or does not."""
        return "labels" if self.class_name is None else f"labels of the mask '{self.class_name}'"


def label_findings(dataset: Dataset, copies: Copies, progress: Progress = Progress()) -> Iterator[Finding]:
    """Compare labels with images, volumes with each other, and the classes of the test regions with those there are.

    Args:
        dataset: Opened.
        copies: Where mended files would go.
        progress: Where to show how far it is.
    """
    try:
        judged = _judge(dataset, copies.data, progress)
    except CristaeError as error:
        text = f"labels could not be compared with images, because they cannot be read: {str(error).splitlines()[0]}"
        yield Finding("unknown", "labels on the image", "data", text)
        return
    groups: dict[tuple[int, str | None], list[_Judged]] = defaultdict(list)
    for one in judged:
        groups[one.place, one.class_name].append(one)
    for group in groups.values():
        yield from _of_group(group, copies)
    yield from _of_contrast(dataset, judged, copies)
    yield from _of_test(dataset)


def _judge(dataset: Dataset, data: DataConfig, progress: Progress) -> list[_Judged]:
    used = [(volume, slices) for volume, slices in used_slices(dataset) if volume.labels]
    if len(used) > _COMPARED:
        used = [used[i] for i in np.linspace(0, len(used) - 1, _COMPARED).round().astype(int)]
    classes, judged = dataset.classes, []
    if not used:
        return []
    common = common_classes([volume for volume, _ in used], classes, most=_CLASSES)
    with progress.task("Comparing labels with images", len(used), unit="volumes") as task:
        for volume, slices in used:
            place, config = place_of(data, volume)
            for name, chosen in _masks(config, classes, common):
                found = align(volume, chosen, exclusive=classes.exclusive, slices=slices)
                judged.append(_Judged(volume, place, config, name, found))
            task.advance()
    return judged


def _masks(
    config: VolumeConfig, classes: Classes, common: tuple[int, ...]
) -> Iterator[tuple[str | None, tuple[int, ...]]]:
    """What is judged by itself: each mask, since each is a file of its own, otherwise all classes together."""
    if not isinstance(config.labels, MaskLabels) or len(config.labels.masks) < 2:
        yield None, common
        return
    for number in common:
        name = classes.names[number]
        if name in config.labels.masks:
            yield name, (number,)


def _of_group(group: Sequence[_Judged], copies: Copies) -> Iterator[Finding]:
    """What is said of a volume, or of a folder of images."""
    first = group[0]
    right = [one for one in group if one.turn is not None and one.turn.moves_nothing]
    unclear = [one for one in group if one.turn is None]
    wrong: dict[Turn, list[_Judged]] = defaultdict(list)
    for one in group:
        if one.turn is not None and not one.turn.moves_nothing:
            wrong[one.turn].append(one)
    for turn, some in wrong.items():
        yield _wrong(turn, some, len(group) - len(unclear), copies)
    if unclear:
        of = f" in {len(unclear)} of {len(group)} images ({_names(unclear)})" if first.config.kind == "images" else ""
        text = (
            f"the data cannot tell whether the {first.what} of '{first.config.name}' lie right{of}: no way to turn or "
            "move them fits the image much better than all others; look at them, or at more labelled slices"
        )
        yield Finding("unknown", "labels on the image", first.config.name, text)
    if right:
        count = len(right) if first.config.kind == "images" else sum(one.alignment.slices for one in right)
        unit = "images" if first.config.kind == "images" else "slices"
        text = f"the {first.what} of '{first.config.name}' lie on the image as they are ({count} {unit})"
        yield Finding("fine", "labels on the image", first.config.name, text)


def _wrong(turn: Turn, some: Sequence[_Judged], judged: int, copies: Copies) -> Finding:
    first, flat = some[0], some[0].config.kind == "images"
    severity: Severity = "warning" if _is_small(turn) or len(some) < _MANY * judged else "error"
    before, after = (
        100 * float(np.mean([getattr(one.alignment, name) for one in some])) for name in ("explained", "explained_best")
    )
    where = f"of {len(some)} images of '{first.config.name}' ({_names(some)})" if flat else f"of '{first.config.name}'"
    text = (
        f"the {first.what} {where} {_fault(turn)}: as they are, the image explains {before:.3g} % of them, and "
        f"{after:.3g} % once that is undone"
    )
    fix = [line for one in some for line in copies.labels(one.volume, turn.options, one.class_name)]
    rest = [copied_folder(first.config, "labels")] if flat else []
    return Finding(severity, _word(turn), first.config.name, text, "\n".join([*fix, *rest]))


def _is_small(turn: Turn) -> bool:
    """Whether nothing but a few voxels in the plane is wrong."""
    return turn == Turn(shift=turn.shift) and not turn.shift[0] and max(map(abs, turn.shift)) <= _SMALL_VOX


def _word(turn: Turn) -> str:
    if turn.axes != Turn().axes:
        return "labels turned" if any(turn.mirrored) else "labels transposed"
    if any(turn.mirrored):
        return "labels mirrored"
    return "labels shifted"


def _fault(turn: Turn) -> str:
    """What is wrong with labels that a turn puts right."""
    mirrored = [axis for axis, yes in zip("zyx", turn.mirrored, strict=True) if yes]
    said = []
    if turn.axes != Turn().axes:
        order = "".join("zyx"[axis] for axis in turn.axes)
        said.append("have y and x exchanged" if order == "zxy" else f"have their axes in another order ({order})")
    if mirrored:
        along = " and ".join(mirrored)
        said.append(f"are{' then' if said else ''} mirrored along {along}")
    if any(turn.shift):
        z, y, x = (-step for step in turn.shift)
        slices = f"{abs(z)} slice{'s' if abs(z) > 1 else ''} too {'high' if z > 0 else 'low'}" if z else ""
        plane = f"{y:+d} voxels along y and {x:+d} along x from where they belong" if y or x else ""
        said.append(f"lie {' and '.join(filter(None, (slices, plane)))}")
    return ", ".join(said)


def _of_contrast(dataset: Dataset, judged: Sequence[_Judged], copies: Copies) -> Iterator[Finding]:
    relations: dict[str | None, dict[str, np.ndarray]] = defaultdict(dict)
    by_name = {one.volume.name: one for one in judged}
    for one in judged:
        if one.alignment.relation is not None:
            relations[one.class_name][one.volume.name] = one.alignment.relation
    names = dict.fromkeys(name for found in relations.values() for name in opposite(found))
    for name in names:
        one = by_name[name]
        splits = {"train": dataset.train, "validate": dataset.validate, "test": dataset.test}
        whole = [split for split, parts in splits.items() if parts and all(p.volume.name in names for p in parts)]
        text = (
            f"dark and bright seem to be exchanged in '{name}': what is labelled looks like a negative of what it "
            "looks like in the other volumes"
        )
        fix = list(copies.image(one.volume, "--invert"))
        rest = [copied_folder(one.config, "images")] if one.config.kind == "images" else []
        yield Finding("error" if whole else "warning", "inverted contrast", name, text, "\n".join([*fix, *rest]))
    compared = max((len(found) for found in relations.values()), default=0)
    if compared > 1 and not names:
        yield Finding("fine", "contrast", "data", f"labelled structures look alike in {compared} volumes")


def _of_test(dataset: Dataset) -> Iterator[Finding]:
    """Classes that the test regions lack; training knows of the other regions."""
    if not any(labelled_boxes(part) for part in dataset.test) or (voxels := voxels_by_section(dataset)) is None:
        return
    ids = absent_classes(dataset, voxels, "test")
    missing = [dataset.classes.names[dataset.classes.ids.index(number)] for number in ids]
    if missing:
        text = f"data.test holds no {', '.join(missing)}: nothing there can show how well the network finds it"
        fix = "\n".join(with_absent_classes(dataset, voxels, "test")) or "label sections that have it for data.test"
        yield Finding("warning", "class absent from a split", "data.test", text, fix)


def _names(some: Sequence[_Judged]) -> str:
    names = [one.volume.name.split("/")[-1] for one in some]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
