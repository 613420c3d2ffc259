"""What is wrong with the sections of the volumes of a recipe, and how to leave them out."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Sequence

from cristae.data.finding import Finding, Severity
from cristae.data.open import Dataset
from cristae.data.sections import Sections, look_at_sections
from cristae.data.slice_ranges import ranges_text
from cristae.data.split_repairs import Splits, without_sections
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.progress import Progress

_COPIED = 0.5
"""Part of the held-out slices that are copies of training slices from which on their scores mean nothing."""
_NAMED = 5


def section_findings(dataset: Dataset, progress: Progress = Progress()) -> Iterator[Finding]:
    """Look at all sections that a recipe uses; of volumes in no region, at all of them.

    Raises:
        CristaeError: A file is damaged.
    """
    splits = splits_of(dataset)
    found = list[Finding]()
    seen: dict[str, Sections] = {}
    for volume, slices in used_slices(dataset):
        sections = seen[volume.name] = look_at_sections(volume, slices, progress)
        fix = "\n".join(without_sections(splits, {volume.name: sections.useless})) or _other_fix(volume)
        found += [Finding("warning", what, volume.name, text, fix) for what, text in _told(volume, sections)]
        found += [
            Finding("warning", what, volume.name, text, _fix_of(volume, splits, slices))
            for what, text, slices in _differing(volume, sections)
        ]
    yield from found
    copies = list(_copies(dataset, seen))
    yield from copies
    if not found and not copies and seen:
        count = sum(len(sections.looked_at) for sections in seen.values())
        text = (
            f"none of {count} is constant, black, a copy of another or a negative of its neighbours, and where "
            "sections follow each other none is blurred, displaced or of another contrast than those around it"
        )
        yield Finding("fine", "sections", _names(list(seen)), text)


def splits_of(dataset: Dataset) -> dict[str, tuple[Part, ...]]:
    """Parts by 'train', 'validate' and 'test'."""
    return {"train": dataset.train, "validate": dataset.validate, "test": dataset.test}


def used_slices(dataset: Dataset) -> list[tuple[Volume, tuple[int, ...]]]:
    """Every volume of a region with the slices of its regions; all volumes where there are no regions."""
    slices: dict[str, set[int]] = {}
    volumes: dict[str, Volume] = {}
    for part in (part for parts in splits_of(dataset).values() for part in parts):
        volumes[part.volume.name] = part.volume
        slices.setdefault(part.volume.name, set()).update(range(part.box.start[0], part.box.stop[0]))
    if not volumes:
        return [(volume, tuple(range(volume.image.shape[0]))) for volume in dataset.volumes]
    return [(volume, tuple(sorted(slices[name]))) for name, volume in volumes.items()]


def _told(volume: Volume, sections: Sections) -> Iterator[tuple[str, str]]:
    """What, and a sentence."""
    single = volume.image.shape[0] == 1
    if sections.constant and not single:
        value = next(iter(sections.constant.values()))
        values = {*sections.constant.values()}
        shown = f"every voxel is {value:g}" if len(values) == 1 else "all voxels of a slice have one value"
        yield "constant sections", f"slices {ranges_text(sections.constant)} of '{volume.name}' hold nothing: {shown}"
    elif sections.constant:
        yield "constant image", f"'{volume.name}' holds nothing: every voxel is {sections.constant[0]:g}"
    if sections.faint:
        text = f"slices {ranges_text(sections.faint)} of '{volume.name}' are all but constant beside the others"
        yield "missing sections", text
    if sections.repeated:
        pairs = [f"{z} is slice {first} again" for z, first in list(sections.repeated.items())[:_NAMED]]
        more = f", and {len(sections.repeated) - _NAMED} more" if len(sections.repeated) > _NAMED else ""
        yield "repeated sections", f"slice {', slice '.join(pairs)}{more} in '{volume.name}', voxel by voxel"
    if sections.inverted:
        text = f"slices {ranges_text(sections.inverted)} of '{volume.name}' look like negatives of their neighbours"
        yield "inverted sections", text
    if sections.unlabelled:
        text = (
            f"slices {ranges_text(sections.unlabelled)} of '{volume.name}' have no labels at all between slices that "
            "have many, as if nobody had drawn them: the network would learn that nothing is there"
        )
        yield "labels missing", text


def _differing(volume: Volume, sections: Sections) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """What, a sentence, and the slices to leave out; none for those that can be moved."""
    if sections.blurred:
        text = f"slices {ranges_text(sections.blurred)} of '{volume.name}' show less fine detail than those around them"
        yield "blurred sections", text, tuple(sections.blurred)
    if sections.jumped:
        text = f"slices {ranges_text(sections.jumped)} of '{volume.name}' differ in contrast or brightness from those "
        yield "jumps of contrast", text + "around them", tuple(sections.jumped)
    if sections.shifted:
        moved = [f"{z} by {y:+.0f}, {x:+.0f} voxels (y, x)" for z, (y, x) in list(sections.shifted.items())[:_NAMED]]
        more = f" and {len(sections.shifted) - _NAMED} more" if len(sections.shifted) > _NAMED else ""
        text = f"slices {', '.join(moved)}{more} of '{volume.name}' are displaced against those around them"
        yield "displaced sections", text, ()


def _fix_of(volume: Volume, splits: Splits, slices: tuple[int, ...]) -> str:
    if not slices:
        return f"cristae align {shlex.quote(str(volume.image.path))} aligned.zarr --labels LABELS=aligned-labels.tif"
    return "\n".join(without_sections(splits, {volume.name: slices})) or _other_fix(volume)


def _other_fix(volume: Volume) -> str:
    return f"leave '{volume.name}' out of the regions (train, validate, test) of the recipe"


def _copies(dataset: Dataset, seen: dict[str, Sections]) -> Iterator[Finding]:
    """Sections that are the same in two splits, or in two volumes."""
    trained: dict[bytes, list[tuple[Volume, int]]] = defaultdict(list)
    for volume, z, digest in _digests(dataset.train, seen):
        trained[digest].append((volume, z))
    for split, parts in (("validate", dataset.validate), ("test", dataset.test)):
        held = list(_digests(parts, seen))
        same = [
            (volume, z, others)
            for volume, z, digest in held
            if (others := [one for one in trained[digest] if one != (volume, z)])
        ]
        if not same:
            continue
        pairs = [f"{_section(volume, z)} is {_section(*others[0])} again" for volume, z, others in same[:_NAMED]]
        text = f"{len(same)} of {len(held)} sections of data.{split} are also in data.train: {', '.join(pairs)}"
        copies: dict[str, set[int]] = defaultdict(set)
        for _, _, others in same:
            for volume, z in others:
                copies[volume.name].add(z)
        lines = without_sections({"train": dataset.train}, copies)
        fix = "\n".join(lines) or f"train on other sections than those of data.{split}"
        severity: Severity = "error" if len(same) > _COPIED * len(held) else "warning"
        yield Finding(severity, "splits overlap", f"data.{split}", text, fix)


def _digests(parts: Sequence[Part], seen: dict[str, Sections]) -> Iterator[tuple[Volume, int, bytes]]:
    """Whole sections with what tells them apart; tiles of one section are told apart by the split itself."""
    for part in parts:
        sections, whole = seen[part.volume.name], part.box.shape[1:] == part.volume.image.shape[1:]
        if part.slab is None and whole:
            for z in range(part.box.start[0], part.box.stop[0]):
                if z in sections.digests:
                    yield part.volume, z, sections.digests[z]


def _section(volume: Volume, z: int) -> str:
    return f"'{volume.name}'" + ("" if volume.image.shape[0] == 1 else f" slice {z}")


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
