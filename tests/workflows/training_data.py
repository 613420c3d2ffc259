"""A small labelled stack on disk: bright discs on a noisy background, quick to learn."""

from pathlib import Path

import numpy as np
from PIL import Image

RECIPE = """\
name: discs
data:
  classes: {{names: [background, disc]}}
  volumes:
    - name: stack
      image: image
      labels: {{kind: values, path: labels, values: {{0: background, 255: disc}}}}
      voxel_size_nm: [50, 10, 10]
  train: [{{volume: stack, slices: 0:6}}]
  validate: [{{volume: stack, slices: 8:10}}]
model: {{name: unet_bn, widths: [4, 8, 16]}}
loss: {{name: cross_entropy_dice}}
sampling: {{name: random, size: [32, 32], per_epoch: 24}}
augment: [{{name: flip}}, {{name: noise}}]
training: {{epochs: {epochs}, batch_size: 8, learning_rate: 1e-2}}
device: cpu
"""


def write_discs(folder: Path, *, epochs: int = 4, labelled: tuple[int, ...] = tuple(range(10))) -> Path:
    """Write ten slices of 61 x 70 pixels, masks of 0 and 255 for some of them, and a recipe; return the recipe."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:61, :70]
    for kind in ("image", "labels"):
        (folder / kind).mkdir(parents=True)
    for z in range(10):
        mask = np.zeros(y.shape, bool)
        for _ in range(5):
            cy, cx, r = rng.integers(0, 61), rng.integers(0, 70), rng.integers(5, 10)
            mask |= (y - cy) ** 2 + (x - cx) ** 2 < r * r
        grey = 70 + 70 * mask + rng.normal(0, 20, y.shape)
        Image.fromarray(grey.clip(0, 255).astype(np.uint8)).save(folder / "image" / f"{z:02d}.png")
        if z in labelled:
            Image.fromarray((mask * 255).astype(np.uint8)).save(folder / "labels" / f"{z:02d}.png")
    recipe = folder / "recipe.yaml"
    recipe.write_text(RECIPE.format(epochs=epochs))
    return recipe
