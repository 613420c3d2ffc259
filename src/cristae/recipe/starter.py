"""A first recipe for given data, with a comment on every line that a person should look at."""

from __future__ import annotations

from dataclasses import dataclass

from cristae.data.classes import Classes
from cristae.data.description import DataConfig
from cristae.recipe.findings import Findings, LabelFindings
from cristae.recipe.text import scalar_to_yaml as _yaml

_FILL_IN = "labels.tif"
_SMALL_VOX = 128
"""Sides below this are smaller than most networks' windows, and patches would be mostly mirrored."""


def starter_text(found: Findings) -> str:
    """The text of a starter recipe.

    Args:
        found: What the data hold.

    Returns:
        YAML that is a valid recipe, apart from the labels' path where there are no labels yet.
    """
    classes = _class_names(found.labels)
    lines = [
        f"# A starting point for {found.image}, to be read and changed.",
        "# Check it with `cristae recipe check`, train with `cristae train`; every field with its help:",
        "# `cristae recipe show --comments`.",
        f"name: {_yaml(found.name)}",
        "",
        "data:",
        "  classes:",
        "    # What a voxel can be, the background first. Rename them as you like, here and below. Where every voxel",
        "    # belongs to a structure, leave the background out and add `background: false`. A class that separates",
        "    # objects, such as a membrane, is a border: `borders: [membrane]` scores the objects between.",
        f"    names: [{', '.join(_yaml(name) for name in classes.values())}]",
        "  volumes:",
        f"    - name: {_yaml(found.name)}",
        f"      image: {_yaml(found.image)}  # {_shape_words(found)}",
        *_volume_lines(found),
        *_label_lines(found.labels, classes),
        *_split_lines(found),
        "",
        *_method_lines(found.shape[1:]),
    ]
    return "\n".join(lines) + "\n"


def set_starter_text(name: str, task: str, description: DataConfig, tasks: tuple[str, ...]) -> str:
    """A starter recipe for a public data set; volumes, classes and split are those of the set."""
    found = description.classes
    names = found.names if found is not None else ()
    lines = [
        f"# A starting point for the public data set {name}, to be read and changed.",
        f"name: {name}-{task}",
        "",
        "data:",
        f"  set: {name}  # volumes, classes and an honest split are those of the set; `cristae data list` has more",
        f"  task: {task}  # one of: {', '.join(tasks)}",
        *(f"  # class {i}: {class_name}{_role(class_name, found)}" for i, class_name in enumerate(names)),
        "",
        *_method_lines((512, 512)),
    ]
    return "\n".join(lines) + "\n"


def _role(name: str, classes: Classes | None) -> str:
    """What is special about a class of a set."""
    if classes is not None and name in (classes.borders or ()):
        return ", a border: scores of objects are those of the regions between"
    return ", the background" if classes is not None and name == classes.background_name else ""


@dataclass(frozen=True)
class _Split:
    train: list[str]
    validate: list[str]
    comment: str


def _shape_words(found: Findings) -> str:
    z, y, x = found.shape
    if found.kind == "images":
        return f"{z} unrelated images, {found.dtype}"
    return f"{z} slices of {y} x {x}, {found.dtype}"


def _volume_lines(found: Findings) -> list[str]:
    lines = ["      kind: images  # the images differ in size, so they are not slices of one stack"] * (
        found.kind == "images"
    )
    if found.voxel_size_nm is None:
        lines.append("      # The file does not say its voxel size. If you know it, write it here (z, y, x, in nm):")
        lines.append("      # voxel_size_nm: [50, 4, 4]")
        return lines
    size = ", ".join(f"{edge:g}" for edge in found.voxel_size_nm)
    lines.append(f"      # voxel size from the file: [{size}] nm (z, y, x)")
    return lines


def _class_names(labels: LabelFindings | None) -> dict[str, str]:
    """Label value to class name; the background first."""
    if labels is None or labels.meaning == "instances":
        return {"0": "background", "1": "object"}
    values = list(labels.fractions)
    background = "0" if "0" in values else max(values, key=lambda value: labels.fractions[value])
    others = [value for value in values if value != background]
    names = {background: "background"}
    for value in others:
        names[value] = "foreground" if len(others) == 1 else f"class-{value.lstrip('#')}"
    return names


def _label_lines(labels: LabelFindings | None, classes: dict[str, str]) -> list[str]:
    if labels is None:
        return [
            "      labels:",
            "        # Write where your labels are, and `kind: values` with a mapping if they are not ids 0, 1, ...",
            "        kind: ids",
            f"        path: {_FILL_IN}",
        ]
    head = ["      labels:", f"        kind: {labels.meaning}", f"        path: {_yaml(labels.path)}"]
    if labels.match != "name":
        such = f": '{labels.example[0]}' is for '{labels.example[1]}'" if labels.example else ""
        head.append(f"        match: {labels.match}  # how label files find their image file{such}")
    if labels.slices is not None:
        head.append(f"        slices: {list(labels.slices)}  # which image slice each label slice belongs to, from 0")
    if labels.meaning == "instances":
        return [
            *head,
            f"        # {len(labels.fractions)} different values were found, so they are read as ids of objects.",
            "        to: foreground  # or `boundary`, for the borders between them",
            f"        class_name: {classes['1']}",
        ]
    if labels.meaning == "ids":
        return [*head, *(f"        # {_fraction(labels, value)}: {name}" for value, name in classes.items())]
    return [
        *head,
        "        values:  # what each value means; `unlabelled` means that the voxel does not count",
        *(f"          {_yaml(value)}: {_yaml(name)}  # {_fraction(labels, value)}" for value, name in classes.items()),
    ]


def _fraction(labels: LabelFindings, value: str) -> str:
    seen = "the labelled voxels" if labels.complete else "the voxels looked at"
    return f"value {value}, {labels.fractions[value]:.2%} of {seen}"


def _split_lines(found: Findings) -> list[str]:
    split = _split(found)
    return [
        f"  # {split.comment}",
        "  # Neighbouring slices are alike: keep train and validate apart, or the score flatters.",
        "  train:",
        *(f"    - {{volume: {_yaml(found.name)}, {part}}}" for part in split.train),
        "  validate:",
        *(f"    - {{volume: {_yaml(found.name)}, {part}}}" for part in split.validate),
    ]


def _split(found: Findings) -> _Split:
    labels = found.labels
    slices = list(range(found.shape[0])) if labels is None else list(labels.labelled)
    comment = f"{len(slices)} of {found.shape[0]} {'images' if found.kind == 'images' else 'slices'} have labels."
    if labels is not None and labels.complete and 1 < len(labels.with_foreground) < len(slices) / 2:
        slices = list(labels.with_foreground)
        comment += (
            f" Only {len(slices)} of them hold anything but background and only these are used; add the others if they "
            "were annotated too."
        )
    if len(slices) == 1:
        return _split_one_slice(found, slices[0], comment)
    held = max(1, round(0.2 * len(slices)))
    gap = round(0.1 * len(slices)) if slices[-1] - slices[0] + 1 == len(slices) else 0
    train, validate = slices[: len(slices) - held - gap], slices[len(slices) - held :]
    if found.kind == "images":
        names = [_yaml(name) for name in found.image_names]
        lists = [[f"images: [{', '.join(names[i] for i in part)}]"] for part in (train, validate)]
        return _Split(lists[0], lists[1], comment)
    return _Split([_slices(train)], [_slices(validate)], comment)


def _split_one_slice(found: Findings, z: int, comment: str) -> _Split:
    """Two parts of the one labelled slice, with a gap of a tenth between them."""
    height = found.shape[1]
    if found.kind == "images":
        name = _yaml(found.image_names[z])
        return _Split([f"images: [{name}]"], [f"images: [{name}]"], f"{comment} FILL IN: validation needs another one.")
    low, high = round(0.65 * height), round(0.75 * height)
    boxes = [f"box: '{z}:{z + 1},{rows},:'" for rows in (f"0:{low}", f"{high}:{height}")]
    return _Split([boxes[0]], [boxes[1]], f"{comment} Its upper part trains, its lower part validates.")


def _slices(numbers: list[int]) -> str:
    if numbers == list(range(numbers[0], numbers[-1] + 1)):
        return f"slices: {numbers[0]}:{numbers[-1] + 1}"
    return f"slices: {numbers}"


def _method_lines(sides: tuple[int, ...]) -> list[str]:
    side = max(32, min(sides) // 2 // 32 * 32)
    size = "null  # the output patch; null takes what suits the network"
    if side < _SMALL_VOX:
        size = f"[{side}, {side}]  # the output patch, (y, x) voxels: the images are small"
    return [
        "sampling:",
        "  name: random",
        f"  size: {size}",
        "  per_epoch: 200  # patches in one epoch",
        "  foreground_share: 0.5  # half of them around foreground, so that rare classes are seen",
        "",
        "augment:  # random changes that make the network see more than there is",
        "  - name: flip",
        "  - name: rotate90",
        "  - name: brightness",
        "  - name: contrast",
        "",
        "model:",
        "  name: unet_bn  # quick and often good enough; `cristae models list` has the others",
        "",
        "loss:",
        "  name: cross_entropy_dice",
        "",
        "training:",
        "  epochs: 30",
        "  batch_size: 8",
        "  learning_rate: 1e-3",
        "  schedule: {name: cosine}",
    ]
