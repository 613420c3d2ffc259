"""Run folders without training, and volumes on disk, for the tests of prediction."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.volume import Volume
from cristae.preprocess.normalize import SHARES, Normalizer
from cristae.recipe.load import parse_recipe
from cristae.recipe.run import Run, create_run, save_weights, write_summary
from cristae.recipe.trained_model import TrainedModel

MITO = Classes(names=("background", "mito"))
SIZE_NM = (40.0, 10.0, 10.0)
RECIPE = """\
name: {name}
data:
  classes: {{names: [{names}], exclusive: {exclusive}}}
  volumes: [{{name: cell, image: image.tif, labels: {{kind: ids, path: labels.tif}}}}]
  train: [{{volume: cell, slices: 0:1}}]
normalize: {normalize}
input_channels: {input_channels}
model: {model}
loss: {{name: cross_entropy_dice}}
predict: {{{predict}}}
"""


def make_run(
    folder: Path,
    *,
    classes: Classes = MITO,
    seed: int = 0,
    voxel_size_nm: tuple[float, float, float] | None = SIZE_NM,
    predict: str = "block_vox: [1, 32, 48]",
    model: str = "{name: unet_bn, widths: [4, 8]}",
    scope: str = "training",
    normalize: str | None = None,
    normalizer: Normalizer | None = None,
    in_channels: int = 1,
    input_channels: str = "[]",
    patch_size: tuple[int, ...] = (32, 32),
    facts: Mapping[str, object] | None = None,
) -> Run:
    """A run folder with random but lively weights; `facts` go into its summary."""
    text = RECIPE.format(
        name=folder.name,
        names=", ".join(classes.names),
        exclusive=str(classes.exclusive).lower(),
        predict=predict,
        model=model,
        normalize=normalize or f"{{scope: {scope}}}",
        input_channels=input_channels,
    )
    recipe = parse_recipe(text, "test recipe")
    run = create_run(folder, recipe)
    torch.manual_seed(seed)
    channels = recipe.network_input.channels(in_channels * recipe.model.in_slices)
    network = recipe.model.build(channels, classes.n_logits)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.1, 0.3)
    if recipe.model.name == "unet_bn":
        network.head.weight.data.mul_(4)
        network.head.weight.data.sub_(network.head.weight.data.mean())
    save_weights(run, network)
    usual = Normalizer(20.0, 235.0, kind="uint8", quantiles=tuple(np.quantile(textured(), SHARES).tolist()))
    model = TrainedModel(in_channels, classes, normalizer or usual, voxel_size_nm, patch_size)
    write_summary(run, model, {"status": "complete", **(facts or {})})
    return run


def textured(shape: tuple[int, int, int] = (4, 75, 110), seed: int = 0) -> np.ndarray:
    """Smooth uint8 texture, so that a random network finds blobs in it."""
    rng = np.random.default_rng(seed)
    grey = rng.normal(size=shape)
    for axis in (1, 2):
        grey = sum(np.roll(grey, shift, axis) for shift in range(-3, 4))
    grey = (grey - grey.mean()) / grey.std()
    return (128 + 60 * grey).clip(0, 255).astype(np.uint8)


def cell(grey: np.ndarray | None = None, *, voxel_size_nm: tuple[float, float, float] | None = SIZE_NM) -> Volume:
    """A volume in memory."""
    image = image_of_array(textured() if grey is None else grey, voxel_size_nm=voxel_size_nm, name="cell")
    return Volume("cell", image, voxel_size_nm=voxel_size_nm)


def one_pass(run: Run, grey: np.ndarray, normalizer: Normalizer | None = None) -> torch.Tensor:
    """Probabilities (K, Z, Y, X) of each whole slice in a single forward pass."""
    network = run.build_network()
    planes = (normalizer or run.normalizer).apply(torch.from_numpy(grey.astype(np.float32)))
    with torch.inference_mode():
        logits = torch.stack([network(plane[None, None])[0] for plane in planes], dim=1)
    return torch.softmax(logits, 0) if run.classes.softmax else torch.sigmoid(logits)
