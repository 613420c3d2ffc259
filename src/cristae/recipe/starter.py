"""What a first recipe says of given data, with a comment on every line that a person should look at."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from cristae.data.classes import Classes
from cristae.data.description import DataConfig
from cristae.data.image import VoxelSize, same_voxel_size
from cristae.data.padding import inside_of
from cristae.recipe.findings import Findings, LabelFindings
from cristae.recipe.mask_findings import MaskFindings
from cristae.recipe.proposal.choice import Choice
from cristae.recipe.starter_data import label_lines, split_lines
from cristae.recipe.text import scalar_to_yaml as _yaml

_FILL_IN = "labels.tif"
_RARE = 0.005
"""More voxels of the padding's value inside than this part, and leaving them out would cost."""


def starter_lines(
    found: Findings, working: Choice[VoxelSize] | None = None, coarser: Choice[VoxelSize] | None = None
) -> list[str]:
    """The lines of a first recipe about the data; those about the method follow.

    Args:
        found: What the data hold.
        working: The working voxel size, if there is one.
        coarser: A working voxel size that may be better, for a comment.

    Returns:
        YAML of `name` and `data`, which is valid apart from the labels' path where there are no labels yet.
    """
    names = ("background", "object") if found.labels is None else found.labels.class_names
    return [
        f"# A proposal for {found.image}, to be read and changed.",
        *_how_to_go_on(),
        f"name: {_yaml(found.name)}",
        "",
        "data:",
        "  classes:",
        *_class_lines(names, found),
        *_grid_lines(working, coarser),
        "  volumes:",
        *([f"    # {found.note}"] if found.note else []),
        f"    - name: {_yaml(found.name)}",
        f"      image: {_yaml(found.image)}  # {_shape_words(found)}",
        *_volume_lines(found),
        *_padding_lines(found),
        *(_no_label_lines() if found.labels is None else label_lines(found.labels)),
        *split_lines(found),
    ]


def set_starter_lines(
    name: str,
    task: str,
    description: DataConfig,
    tasks: tuple[str, ...],
    working: Choice[VoxelSize] | None = None,
    coarser: Choice[VoxelSize] | None = None,
) -> list[str]:
    """The same for a public data set; volumes, classes and split are those of the set."""
    found = description.classes
    names = found.names if found is not None else ()
    return [
        f"# A proposal for the public data set {name}, to be read and changed.",
        *_how_to_go_on(),
        f"name: {name}-{task}",
        "",
        "data:",
        f"  set: {name}  # volumes, classes and an honest split are those of the set; `cristae data list` has more",
        f"  task: {task}  # one of: {', '.join(tasks)}",
        *(f"  # class {i}: {class_name}{_role(class_name, found)}" for i, class_name in enumerate(names)),
        *_grid_lines(working, coarser),
    ]


def _how_to_go_on() -> list[str]:
    return [
        "# Check it with `cristae recipe check`, train with `cristae train`; every field with its help:",
        "# `cristae recipe show --comments`.",
    ]


def _class_lines(names: Sequence[str], found: Findings) -> list[str]:
    overlapping = isinstance(found.labels, MaskFindings) and found.labels.overlapping
    lines = [
        "    # What a voxel can be, the background first. Rename them as you like, here and below. Where every voxel",
        "    # belongs to a structure, leave the background out and add `background: false`. A class that separates",
        "    # objects, such as a membrane, is a border: `borders: [membrane]` scores the objects between.",
    ]
    if overlapping:
        lines = [
            "    # What a voxel can be, even several at once. Rename them as you like, here and below. A class",
            "    # that separates objects is a border: `borders: [membrane]` scores the objects between.",
        ]
    lines.append(f"    names: [{', '.join(_yaml(name) for name in names)}]")
    if overlapping and isinstance(found.labels, MaskFindings):
        lines.append(f"    exclusive: false  # {found.labels.about_overlap}")
    if isinstance(found.labels, LabelFindings) and found.labels.separates:
        lines.append(f"    borders: [{names[1]}]")
    return lines


def _grid_lines(working: Choice[VoxelSize] | None, coarser: Choice[VoxelSize] | None) -> list[str]:
    """The working voxel size (z, y, x), or one that may be better, commented out."""
    if working is not None:
        return [*_comment(f"{working.reason}."), f"  voxel_size_nm: [{_edges(working.value)}]"]
    if coarser is None:
        return []
    return [
        *_comment(f"{coarser.reason}. To try it, take the # away:"),
        f"  # voxel_size_nm: [{_edges(coarser.value)}]",
    ]


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 116, initial_indent="  # ", subsequent_indent="  # ")


def _edges(size: VoxelSize) -> str:
    return ", ".join(f"{edge:g}" for edge in size)


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
    given, stated = found.given_voxel_size_nm, found.voxel_size_nm
    if given is not None:
        lines.append(f"      voxel_size_nm: [{_edges(given)}]  # z, y, x, as given")
        if stated is not None and not same_voxel_size(given, stated):
            lines.append(f"      trust_voxel_size: true  # the file says [{_edges(stated)}] nm")
        return lines
    if stated is None:
        lines.append("      # The file does not say its voxel size. If you know it, write it here (z, y, x, in nm):")
        lines.append("      # voxel_size_nm: [50, 4, 4]")
        return lines
    lines.append(f"      # voxel size from the file: [{_edges(stated)}] nm (z, y, x)")
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
