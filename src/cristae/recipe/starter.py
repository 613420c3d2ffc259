"""A first recipe for given data, with a comment on every line that a person should look at."""

from __future__ import annotations

from cristae.data.classes import Classes
from cristae.data.description import DataConfig
from cristae.data.padding import inside_of
from cristae.recipe.findings import Findings
from cristae.recipe.starter_data import label_lines, split_lines
from cristae.recipe.text import scalar_to_yaml as _yaml

_FILL_IN = "labels.tif"
_RARE = 0.005
"""More voxels of the padding's value inside than this part, and leaving them out would cost."""
_SMALL_VOX = 128
"""Sides below this are smaller than most networks' windows, and patches would be mostly mirrored."""


def starter_text(found: Findings) -> str:
    """The text of a starter recipe.

    Args:
        found: What the data hold.

    Returns:
        YAML that is a valid recipe, apart from the labels' path where there are no labels yet.
    """
    names = ("background", "object") if found.labels is None else found.labels.meaning.class_names
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
        f"    names: [{', '.join(_yaml(name) for name in names)}]",
        "  volumes:",
        *([f"    # {found.note}"] if found.note else []),
        f"    - name: {_yaml(found.name)}",
        f"      image: {_yaml(found.image)}  # {_shape_words(found)}",
        *_volume_lines(found),
        *_padding_lines(found),
        *(_no_label_lines() if found.labels is None else label_lines(found.labels)),
        *split_lines(found),
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


def _padding_lines(found: Findings) -> list[str]:
    """How to leave out what lies outside the section, commented out: it may be a dark structure after all."""
    padding = found.padding
    if padding is None:
        return []
    what = "slices" if found.kind == "volume" else "images"
    seen = f"{len(padding.slices)} {what}" if padding.complete else f"{len(padding.slices)} of the {what} looked at"
    inside = inside_of(padding, found.dtype)
    rare = padding.inside <= _RARE
    path = found.image if rare and inside is not None else "section.tif"
    lines = [
        f"{padding.share:.0%} of the image is {padding.shown} in areas along the border ({seen}), as outside tissue."
    ]
    if not rare:
        lines.append(f"{padding.inside:.1%} of the rest has this value too, so a mask of the section is better.")
    lines += [
        "To leave it out of training and scores, take the # away:",
        f"valid: {{path: {_yaml(path)}, inside: {inside if path == found.image else 'nonzero'}}}",
    ]
    return [f"      # {line}" for line in lines]


def _no_label_lines() -> list[str]:
    return [
        "      labels:",
        "        # Write where your labels are, and `kind: values` with a mapping if they are not ids 0, 1, ...",
        "        kind: ids",
        f"        path: {_FILL_IN}",
    ]


def _method_lines(sides: tuple[int, ...]) -> list[str]:
    side = max(32, min(sides) // 2 // 32 * 32)
    size = "null  # the output patch; null takes what suits the network"
    if side < _SMALL_VOX:
        size = f"[{side}, {side}]  # the output patch, (y, x) voxels: the images are small"
    return [
        "# Each slice by itself: among what kept most accuracy on other brightness, contrast, gamma and drift. Where",
        "# all volumes are recorded alike and the grey value itself tells classes apart: {name: percentiles}.",
        "normalize: {name: z_score, scope: slice}",
        "",
        "sampling:",
        "  name: random",
        f"  size: {size}",
        "  per_epoch: 200  # patches in one epoch",
        "  foreground_share: 0.5  # half of them around foreground, so that rare classes are seen",
        "",
        "augment:  # random changes that make the network see more than there is",
        "  - name: flip",
        "  - name: rotate90",
        "  - {name: brightness, amount: 0.4}  # of the standard deviation",
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
