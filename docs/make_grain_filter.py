"""Makes the picture of the grain filter: `CRISTAE_DATA=... python docs/make_grain_filter.py`.

A slice of the FlyEM medulla volume, or of the synthetic volume where that is not at hand, as it is and filtered.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import cristae
from cristae.preprocess.grain import grain_filter

FOLDER = Path(__file__).parent / "images"
SIDE, SLICE = 250, 60
SHARES = (0.0099, 0.0488)
"""Areas as parts of the patch: those of Meyer et al. (2021)."""
GAP, LINE = 6, 18


def main() -> None:
    """Write `images/grain-filter.png`."""
    grey = read_slice()
    areas = [round(share * grey.size) for share in SHARES]
    tiles = {"as it is": grey}
    tiles |= {
        f"area_px: {area} ({share:.1%})": filtered
        for area, share, filtered in zip(areas, SHARES, grain_filter(grey, areas), strict=True)
    }
    page = Image.new("L", (len(tiles) * (SIDE + GAP) - GAP, LINE + SIDE), 255)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(size=13)
    for number, (name, tile) in enumerate(tiles.items()):
        left = number * (SIDE + GAP)
        draw.text((left, 1), name, fill=0, font=font)
        page.paste(Image.fromarray(tile), (left, LINE))
    page.save(FOLDER / "grain-filter.png", optimize=True)


def read_slice() -> np.ndarray:
    """uint8 (SIDE, SIDE)."""
    folder = Path(os.environ.get("CRISTAE_DATA", "")) / "flyem-medulla-fibsem" / "grayscale_maps"
    if folder.is_dir():
        return np.asarray(Image.open(sorted(folder.glob("*.png"))[SLICE]))[:SIDE, :SIDE]
    volume = cristae.synthetic_volume(cristae.SyntheticConfig(shape=(4, SIDE, SIDE), seed=0))
    return volume.image.read()[2]


if __name__ == "__main__":
    main()
