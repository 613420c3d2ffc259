"""Makes the contact sheet of the synthetic volumes: `CRISTAE_DATA=... python docs/make_synthetic.py`.

Each kind in a section, with its labels, and from the side. Beside them, where CRISTAE_DATA names a folder that has it,
the FlyEM medulla, whose licence (CC BY 3.0 US) lets it be shown with its source.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import cristae
from cristae.data.box import Box
from cristae.data.synthetic import FibSemConfig, SyntheticConfig, TissueConfig, TomogramConfig

Color = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FOLDER = Path(__file__).parent / "images"
SIDE, DEPTH, GAP, LINE = 288, 120, 6, 18
PER_LINE, LINES = 2, 3
"""Entries in a line of a legend, and its lines."""
OUTLINE: Color = (255, 224, 0)
STRENGTH = {"background": 0.0, "cell": 0.25}
"""How strongly classes are coloured where not 0.6: plasma stays faint."""
ROWS = ("a section (x to the right, y down)", "its labels", "from the side (x to the right, z down)")


@dataclass(frozen=True)
class Shown:
    """A column of the sheet, in RGB."""

    title: str
    section: np.ndarray
    labels: np.ndarray
    side: np.ndarray
    legend: tuple[tuple[str, Color], ...]
    """What is coloured among the labels."""


def main() -> None:
    """Write the sheet."""
    columns = [
        synthetic("synthetic platelets", SyntheticConfig(shape=(40, 600, 600), seed=5), (12, 60, 130)),
        synthetic("synthetic tomogram", TomogramConfig(shape=(900, 1200, 1600), seed=3), (502, 610, 900)),
        synthetic("synthetic FIB-SEM", FibSemConfig(shape=(400, 1000, 1000), seed=1), (210, 300, 360)),
        *micrographs(Path(os.environ.get("CRISTAE_DATA", "/nowhere"))),
    ]
    page = sheet(columns)
    page.quantize(256, dither=Image.Dither.NONE).save(FOLDER / "synthetic.png", optimize=True)


def synthetic(title: str, config: TissueConfig, start: tuple[int, int, int]) -> Shown:
    """A section at `start`, its labels, and a cut through its middle row."""
    volume = cristae.synthetic_volume(config)
    z, y, x = start
    box = Box(start, (z + 1, y + SIDE, x + SIDE))
    grey, ids = volume.image.read(box)[0], volume.labels[0].read(box)[0]
    row = y + SIDE // 2
    ratio = config.voxel_size_nm[0] / config.voxel_size_nm[2]
    deep = round(DEPTH / ratio)
    top = max(0, min(z - deep // 2, config.shape[0] - deep))
    cut = volume.image.read(Box((top, row, x), (top + deep, row + 1, x + SIDE)))[:, 0]
    there = [name for name in config.classes.names if (ids == config.classes.id_of(name)).any()]
    legend = tuple((name, color_of(name, config)) for name in there if STRENGTH.get(name, 1))
    return Shown(title, rgb(grey), colored(grey, ids, config), rgb(stretched(cut)), legend)


def micrographs(folder: Path) -> list[Shown]:
    """The FlyEM medulla, FIB-SEM with cubes of 10 nm for voxels, with the outlines of its neurons."""
    place = folder / "flyem-medulla-fibsem"
    if not place.is_dir():
        return []
    files = sorted((place / "grayscale_maps").glob("*.png"))[:DEPTH]
    stack = np.stack([np.asarray(Image.open(file)) for file in files])
    ids = cristae.open_image(place / "neurons_iso2600-2789.tif").read(Box((60, 0, 0), (61, *stack.shape[1:])))[0]
    outlined = rgb(stack[60]).copy()
    outlined[:-1, :-1][(ids[:-1, :-1] != ids[1:, :-1]) | (ids[:-1, :-1] != ids[:-1, 1:])] = OUTLINE
    legend = (("outlines of neurons", OUTLINE),)
    return [Shown("FlyEM medulla, FIB-SEM", rgb(stack[60]), outlined, rgb(stack[:, 125]), legend)]


def rgb(grey: np.ndarray) -> np.ndarray:
    """A grey picture in RGB."""
    return np.repeat(grey[..., None], 3, axis=2)


def stretched(cut: np.ndarray) -> np.ndarray:
    """A cut with as many rows as the page shows, each voxel as deep as it is."""
    rows = np.arange(DEPTH) * len(cut) // DEPTH
    return cut[rows]


def colored(grey: np.ndarray, ids: np.ndarray, config: TissueConfig) -> np.ndarray:
    """A section with its classes laid over it."""
    names = config.classes.names
    table = np.array([color_of(name, config) for name in names])
    strength = np.array([STRENGTH.get(name, 0.6) for name in names])
    share = strength[ids][..., None]
    return (grey[..., None] * (1 - share) + table[ids] * share).round().astype(np.uint8)


def color_of(name: str, config: TissueConfig) -> Color:
    """The colour of a class."""
    text = config.classes.color_of(name)
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def sheet(columns: list[Shown]) -> Image.Image:
    """Columns side by side, each with its title, on white."""
    heights = (SIDE, SIDE, DEPTH)
    lines = len(heights) + 1 + LINES
    page = Image.new("RGB", (len(columns) * (SIDE + GAP) - GAP, sum(heights) + lines * LINE), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    top = LINE
    for row, (height, said) in enumerate(zip(heights, ROWS, strict=True)):
        draw.text((0, top), said, fill="black", font=font)
        for number, column in enumerate(columns):
            if row == 0:
                draw.text((number * (SIDE + GAP), 1), column.title, fill="black", font=font)
            picture = (column.section, column.labels, column.side)[row]
            page.paste(Image.fromarray(picture), (number * (SIDE + GAP), top + LINE))
        top += height + LINE
        if row == 1:
            for number, column in enumerate(columns):
                draw_legend(draw, column.legend, number * (SIDE + GAP), top, font)
            top += LINES * LINE
    return page


def draw_legend(
    draw: ImageDraw.ImageDraw, legend: Sequence[tuple[str, Color]], left: int, top: int, font: Font
) -> None:
    """Squares of colour with the names of classes."""
    assert len(legend) <= PER_LINE * LINES, "a legend has room for all of its classes"
    for place, (name, color) in enumerate(legend):
        x, y = left + place % PER_LINE * SIDE // PER_LINE, top + place // PER_LINE * LINE
        draw.rectangle((x, y + 4, x + 11, y + 15), fill=color, outline="black")
        draw.text((x + 17, y + 1), name.replace("_", " "), fill="black", font=font)


if __name__ == "__main__":
    main()
