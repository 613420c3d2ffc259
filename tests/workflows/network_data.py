"""A small labelled stack on disk with dots in three dimensions, and recipes for networks of every kind."""

from pathlib import Path

import numpy as np

from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe

SHAPE = (12, 48, 56)
SIZE_NM = (20.0, 10.0, 10.0)
RECIPE = """\
name: dots
data:
  classes: {classes}
  volumes:
    - {{name: stack, image: stack.tif, labels: {labels}}}
  train: [{{volume: stack, slices: 0:8}}]
  validate: [{{volume: stack, slices: 9:12}}]
model: {{name: unet_bn}}
sampling: {{name: random, per_epoch: 4}}
augment: [{{name: flip}}, {{name: rotate90}}, {{name: contrast}}, {{name: noise}}]
training: {{epochs: 2, batch_size: 2, schedule: {{name: cosine}}}}
device: cpu
"""
CLASSES = {
    "binary": ("{names: [background, dot]}", "{kind: ids, path: dots.tif}"),
    "several": ("{names: [background, dot, blob]}", "{kind: ids, path: both.tif}"),
    "overlapping": (
        "{names: [dot, blob], exclusive: false}",
        "{kind: masks, masks: {dot: {path: dots.tif}, blob: {path: blobs.tif}}}",
    ),
}


def dots_in(shape: tuple[int, int, int], *, count: int, radius: tuple[float, float], seed: int) -> np.ndarray:
    """bool (Z, Y, X): ellipsoids of a radius (across slices, within them) at random places."""
    rng = np.random.default_rng(seed)
    z, y, x = np.ogrid[tuple(slice(n) for n in shape)]
    found = np.zeros(shape, bool)
    for _ in range(count):
        cz, cy, cx = (rng.integers(0, n) for n in shape)
        found |= ((z - cz) / radius[0]) ** 2 + ((y - cy) ** 2 + (x - cx) ** 2) / radius[1] ** 2 <= 1
    return found


def write_stack(folder: Path, kind: str = "binary", *changes: str) -> Recipe:
    """Write the volume, its labels and a recipe, and read that with changes."""
    dots = dots_in(SHAPE, count=30, radius=(1.5, 4), seed=1)
    blobs = dots_in(SHAPE, count=6, radius=(3, 9), seed=2)
    grey = 60 + 90 * dots + 40 * blobs + np.random.default_rng(3).normal(0, 8, SHAPE)
    arrays = {"stack": grey.clip(0, 255), "dots": dots, "blobs": blobs, "both": np.where(dots, 1, 2 * blobs)}
    for name, array in arrays.items():
        write_image(image_of_array(array.astype(np.uint8), voxel_size_nm=SIZE_NM), folder / f"{name}.tif")
    classes, labels = CLASSES[kind]
    path = folder / "recipe.yaml"
    path.write_text(RECIPE.format(classes=classes, labels=labels))
    return load_recipe(path, changes)
