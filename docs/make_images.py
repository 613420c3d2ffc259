"""Makes the pictures of the documentation from a finished demo: `python docs/make_images.py cristae-demo`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import cristae
from cristae.data.synthetic import PLATELET_CLASSES

SIDE = 384
GAP = 8


def colored(grey: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The section with its classes laid over it; background and cell plasma stay faint."""
    table = np.array(
        [[int(PLATELET_CLASSES.color_of(n)[i : i + 2], 16) for i in (1, 3, 5)] for n in PLATELET_CLASSES.names]
    )
    strength = np.array([0.0, 0.25, *[0.65] * (len(table) - 2)])[ids][..., None]
    return (grey[..., None] * (1 - strength) + table[ids] * strength).round().astype(np.uint8)


def main(folder: Path) -> None:
    """Write `images/demo.png`: image, truth, prediction of one section, side by side."""
    image, truth = cristae.open_image(folder / "new.zarr"), cristae.open_image(folder / "new-labels.tif")
    prediction = cristae.open_prediction(folder / "prediction.zarr").labels[0]
    z = image.shape[0] // 2
    box = cristae.Box((z, 0, 0), (z + 1, SIDE, SIDE))
    grey, true, found = (one.read(box)[0] for one in (image, truth, prediction))
    gap = np.full((SIDE, GAP, 3), 255, np.uint8)
    row = np.hstack([np.repeat(grey[..., None], 3, axis=2), gap, colored(grey, true), gap, colored(grey, found)])
    Image.fromarray(row).quantize(256, dither=Image.Dither.NONE).save(
        Path(__file__).parent / "images" / "demo.png", optimize=True
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
