"""Predictions on disk, made without a network."""

from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import BACKGROUND_COLOR, Classes
from cristae.data.formats.ome_zarr import ZarrSpec, create_multiscale, open_ome_zarr, read_attributes
from cristae.data.image import Image
from cristae.inference.postprocessing import RAW
from cristae.inference.prediction import KIND, label_names


def write_prediction(
    path: Path,
    labels: np.ndarray,
    classes: Classes,
    *,
    box: Box | None = None,
    volume_shape: tuple[int, int, int] | None = None,
    status: str = "complete",
    voxel_size_nm: tuple[float, float, float] | None = (50.0, 10.0, 10.0),
    probabilities: np.ndarray | None = None,
    runs: tuple[str, ...] = ("discs-00c0ffee",),
) -> Path:
    """Write labels (N, Z, Y, X) and either probabilities (C, Z, Y, X) or a preview of the input at half the size.

    The volume ends where `box` does, unless its shape is given.
    """
    shape = labels.shape[1:]
    box = box or Box.of_shape(shape)
    about = {
        "kind": KIND,
        "status": status,
        "classes": classes.model_dump(mode="json"),
        "channels": list(classes.foreground),
        "box": {"start": list(box.start), "stop": list(box.stop)},
        "input": {"shape": list(volume_shape or box.stop)},
        "runs": [{"run": run, "weights_sha256": "ab" * 32} for run in runs],
        "settings": {"threshold": 0.5, "probabilities": probabilities is not None},
        "input_sha256": "cd" * 32,
        "plan": {"block": list(shape), "chunk": list(shape), "pass_vox": 1 << 20, "backend": "cpu"},
    }
    half = -(-shape[1] // 2), -(-shape[2] // 2)
    root = np.random.default_rng(0).integers(0, 200, (1, shape[0], *half)).astype(np.uint8)
    root = root if probabilities is None else probabilities
    _write(path, root, voxel_size_nm, "cell", channels=None if probabilities is None else len(root), attributes=about)
    for name, image in zip(label_names(classes), labels, strict=True):
        known = ((0, "background", BACKGROUND_COLOR), (1, name, "#ff0000"))
        _write(path / "labels" / name, image[None], voxel_size_nm, name, classes=known)
    return path


def _write(path, array, voxel_size_nm, name, *, channels=None, **options):
    shape = array.shape[1:]
    spec = ZarrSpec(shape, array.dtype, (1, *shape[1:]), (1, *shape[1:]), voxel_size_nm, channels=channels)
    writer = create_multiscale(path, spec, name=name, **options)
    for z in range(shape[0]):
        voxels = array[:, z : z + 1] if channels else array[0, z : z + 1]
        writer.write(Box((z, 0, 0), (z + 1, *shape[1:])), voxels)


def raw_labels(path: Path) -> tuple[Image, ...]:
    """The labels of a finished prediction as they were before post-processing."""
    names = label_names(Classes.model_validate(read_attributes(path)["classes"]))
    raw = [f"{name}{RAW}" for name in names]
    places = [one if (path / "labels" / one).exists() else name for name, one in zip(names, raw, strict=True)]
    return tuple(open_ome_zarr(path, f"labels/{place}") for place in places)
