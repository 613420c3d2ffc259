"""Makes the contact sheets of the augmentations: `CRISTAE_DATA=... python docs/make_augmentations.py`.

Every part of the union is drawn at its default strength and at a strong one, with the outlines of the labels, on a crop
of the FlyEM medulla volume, or on the synthetic volume where that is not at hand.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from pydantic import ValidationError

import cristae
from cristae.augment import (
    Augmentation,
    AugmentationConfig,
    Batch,
    SectionAugmentation,
    apply,
    required_margin,
)
from cristae.augment.batch import margin_zyx
from cristae.data.box import Box

FOLDER = Path(__file__).parent / "images"
SIDE, SHOWN_SLICES, EVERY = 152, 5, 4
START = (60, 49, 49)
"""First voxel (z, y, x) of the crop, in the middle of y and x, so that what moves voxels shows more real image; its
slices belong to the part of the set that is meant for training."""
GAP, LINE = 6, 18
OUTLINE = (255, 150, 0)
DRAWS = 6
NOT_STRENGTH = {"probability", "scale_vox", "spacing_vox", "length_vox"}


@dataclass(frozen=True)
class Stack:
    """What is drawn on."""

    grey: np.ndarray
    """float32 (Z, Y, X), normalised."""
    ids: np.ndarray
    """uint8 (Z, Y, X); neighbouring objects differ."""


def main() -> None:
    """Write both sheets: parts that work in the plane, and those of stacks."""
    stack, parts = read_stack(), [kind() for kind in get_args(get_args(Augmentation)[0])]
    of_stacks = [one for one in parts if acts_on_slices(one)]
    in_plane = [one for one in parts if not acts_on_slices(one)]
    write("augmentations.png", grid(stack, in_plane))
    write("augmentations-sections.png", strips(stack, of_stacks))


def read_stack() -> Stack:
    """The medulla volume under CRISTAE_DATA, otherwise the synthetic one; every fourth slice, as sections are thick."""
    folder = Path(os.environ.get("CRISTAE_DATA", "")) / "flyem-medulla-fibsem"
    if folder.is_dir():
        files = sorted((folder / "grayscale_maps").glob("*.png"))[:140]
        grey = np.stack([np.asarray(Image.open(file)) for file in files]).astype(np.float32)
        ids = cristae.open_image(folder / "neurons_iso2600-2789.tif").read()[: len(files)]
    else:
        volume = cristae.synthetic_volume(cristae.SyntheticConfig(shape=(140, 250, 250), seed=0))
        grey, ids = volume.image.read().astype(np.float32), volume.labels[0].read()
    low, high = np.percentile(grey, (0.5, 99.5))
    # Few ids suffice to tell neighbours apart.
    return Stack(((grey - low) / (high - low))[::EVERY], (ids[::EVERY] % 251).astype(np.uint8))


def name_of(part: AugmentationConfig) -> str:
    """As in a recipe."""
    return str(type(part).model_fields["name"].default)


def acts_on_slices(part: AugmentationConfig) -> bool:
    """Whether a part needs patches of several slices."""
    return isinstance(part, SectionAugmentation) or "section" in name_of(part)


def strong(part: AugmentationConfig) -> AugmentationConfig:
    """The same part with all its amounts nearly doubled, as far as they may be; factors go twice as far from 1."""
    for name, value in part:
        if name in NOT_STRENGTH or isinstance(value, bool) or not isinstance(value, int | float | tuple):
            continue
        try:
            changed = [2 * factor - 1 for factor in value] if name == "factors" else stronger(value)
            part = type(part).model_validate({**part.model_dump(), name: changed})
        except (ValidationError, TypeError):
            continue
    return part


def has_strength(part: AugmentationConfig) -> bool:
    """Whether it has amounts, unlike mirror images and quarter turns."""
    default = type(part)()
    return strong(default) != default


def stronger(value: float | tuple) -> object:
    """Numbers grow; of limits the greater one does."""
    if isinstance(value, tuple):
        return (*value[:-1], stronger(value[-1]))
    return math.ceil(value * 1.8) if isinstance(value, int) else value * 1.8


def drawn(stack: Stack, part: AugmentationConfig, slices: int, *, least: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Image and ids (slices, SIDE, SIDE) of the draw that changes most among a few, or `least`, but anything at all."""
    if has_strength(part):
        part = type(part).model_validate({**part.model_dump(), "probability": 1})
    size = (SIDE, SIDE) if slices == 1 else (slices, SIDE, SIDE)
    batch = batch_of(stack, part, size)
    seeds = [np.random.default_rng([11, i]) for i in range(DRAWS)]
    changed, before = apply([part], batch, seeds).cropped(), batch.cropped()
    change = (changed.image - before.image).abs().mean(tuple(range(1, before.image.ndim)))
    chosen = int(torch.where(change > 0, change, math.inf).argmin() if least else change.argmax())
    shape = (slices, SIDE, SIDE)
    return changed.image[chosen].view(shape).numpy(), changed.target[chosen].view(shape).numpy()


def batch_of(stack: Stack, part: AugmentationConfig, size: tuple[int, ...]) -> Batch:
    """The crop as often as there are draws, with the margin that the part needs, mirrored where the volume ends."""
    margin = required_margin([part], size)
    around = margin_zyx(margin)
    padded = [(a, a) for a in around]
    start = (START[0] // EVERY, *START[1:])
    sizes = (1, *size) if len(size) == 2 else size
    inside = tuple(slice(at, at + side + 2 * a) for at, side, a in zip(start, sizes, around, strict=True))
    grey, ids = (np.pad(one, padded, mode="symmetric")[inside] for one in (stack.grey, stack.ids))
    start_vox, stop_vox = (tuple(at - a for at, a in zip(ends, around, strict=True)) for ends in corners(inside))
    shape = tuple(side + 2 * a for side, a in zip(size, margin, strict=True))
    image = torch.from_numpy(np.ascontiguousarray(grey)).view(1, 1, *shape).repeat(DRAWS, *[1] * (len(shape) + 1))
    target = torch.from_numpy(np.ascontiguousarray(ids)).view(1, *shape).repeat(DRAWS, *[1] * len(shape))
    return Batch(image, target, target >= 0, None, (Box(start_vox, stop_vox),) * DRAWS, ("medulla",) * DRAWS, margin)


def corners(box: tuple[slice, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First voxel of a box, and one past its last."""
    return tuple(one.start for one in box), tuple(one.stop for one in box)


def picture(grey: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """A slice (Y, X) in RGB with the outlines of its objects."""
    shown = np.repeat((grey.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)
    outline = np.zeros(ids.shape, bool)
    outline[:-1] |= ids[:-1] != ids[1:]
    outline[:, :-1] |= ids[:, :-1] != ids[:, 1:]
    shown[outline] = (0.45 * shown[outline] + 0.55 * np.array(OUTLINE)).astype(np.uint8)
    return shown


def grid(stack: Stack, parts: list[AugmentationConfig]) -> Image.Image:
    """Three parts in a row, each at its default strength and at a strong one; the patch as it is comes first.

    Two draws are shown of parts that have no strength.
    """
    plain = (stack.grey[START[0] // EVERY], stack.ids[START[0] // EVERY])
    crop = (slice(START[1], START[1] + SIDE), slice(START[2], START[2] + SIDE))
    cells = [("as it is", [picture(*(one[crop] for one in plain)), picture(plain[0][crop], plain[1][crop] * 0)])]
    for part in parts:
        twice = drawn(stack, part, 1), drawn(stack, strong(part), 1, least=not has_strength(part))
        tiles = [picture(grey[0], ids[0]) for grey, ids in twice]
        cells.append((name_of(part), tiles))
    return sheet(cells, columns=3)


def strips(stack: Stack, parts: list[AugmentationConfig]) -> Image.Image:
    """A row of neighbouring slices for each part, at its default strength and then at a strong one.

    The slices as they are come first.
    """
    start, sides = (START[0] // EVERY, *START[1:]), (SHOWN_SLICES, SIDE, SIDE)
    crop = tuple(slice(at, at + side) for at, side in zip(start, sides, strict=True))
    cells = [("as it is", [picture(*one) for one in zip(stack.grey[crop], stack.ids[crop], strict=True)])]
    for part in parts:
        for word, either in (("", part), (", strong", strong(part))):
            grey, ids = drawn(stack, either, SHOWN_SLICES)
            tiles = [picture(*one) for one in zip(grey, ids, strict=True)]
            cells.append((name_of(part) + word, tiles))
    return sheet(cells, columns=1)


def sheet(cells: list[tuple[str, list[np.ndarray]]], columns: int) -> Image.Image:
    """Cells with a name above their tiles, row by row on white."""
    count = len(cells[0][1])
    width, height = count * SIDE + (count - 1) * 2 + GAP, SIDE + LINE + GAP
    page = Image.new("RGB", (columns * width, math.ceil(len(cells) / columns) * height), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    for number, (name, tiles) in enumerate(cells):
        left, top = number % columns * width, number // columns * height
        draw.text((left, top + 1), name, fill="black", font=font)
        for i, tile in enumerate(tiles):
            page.paste(Image.fromarray(tile), (left + i * (SIDE + 2), top + LINE))
    return page


def write(name: str, page: Image.Image) -> None:
    page.quantize(128, dither=Image.Dither.NONE).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
