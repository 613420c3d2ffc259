"""The annotated voxels of regions: which are predicted together, which count, and in which order they stand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.data.splits import Part
from cristae.data.volume import Volume
from cristae.errors import RunError
from cristae.evaluation.ensembles.annotated import AnnotatedVoxels
from cristae.inference.prediction import Prediction

BINARY = Classes(names=("background", "cell"))
MASKS = Classes(names=("cell", "mito"), exclusive=False)
SHAPE = (6, 8, 10)


def volume_of(name: str, seed: int, *, masks: int = 1) -> Volume:
    """Labels on slices 1, 2 and 4, of which some voxels do not count."""
    rng = np.random.default_rng(seed)
    labels = tuple(image_of_array(rng.integers(0, 2, SHAPE).astype(np.uint8), name=name) for _ in range(masks))
    valid = image_of_array((rng.random(SHAPE) < 0.8).astype(np.uint8), name=name)
    grey = image_of_array(rng.integers(0, 255, SHAPE).astype(np.uint8), name=name)
    return Volume(name, grey, labels, valid, labelled_slices=(1, 2, 4))


def prediction_of(box: Box, classes: Classes, seed: int) -> tuple[Prediction, np.ndarray]:
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 256, (classes.n_logits, *box.shape)).astype(np.uint8)
    images = tuple(image_of_array(one) for one in maps)
    return Prediction(Path("p.zarr"), (), images, classes, None, box, {}), maps


def test_voxels_stand_slice_by_slice(tmp_path: Path) -> None:
    """Two regions of one volume and one of another: the slabs are their ranges of labelled slices, voxels that are not
    valid are left out, and truth and maps stand in one order."""
    first, second = volume_of("a", 1, masks=2), volume_of("b", 2, masks=2)
    boxes = [Box((0, 0, 0), (3, 8, 10)), Box((4, 2, 3), (6, 6, 9)), Box((0, 0, 0), SHAPE)]
    voxels = AnnotatedVoxels(tuple(map(Part, (first, first, second), boxes)), MASKS)
    assert [(slab.volume.name, str(slab.box)) for slab in voxels.slabs] == [
        ("a", "1:3,0:8,0:10"),
        ("a", "4:5,2:6,3:9"),
        ("b", "1:3,0:8,0:10"),
        ("b", "4:5,0:8,0:10"),
    ]
    found = [prediction_of(slab.box, MASKS, seed) for seed, slab in enumerate(voxels.slabs)]
    voxels.write_maps(tmp_path / "maps.npy", [one for one, _ in found])
    truth, maps, counts = [], [], []
    for slab, (_, arrays) in zip(voxels.slabs, found, strict=True):
        for z in range(slab.box.shape[0]):
            plane = Box((slab.box.start[0] + z, *slab.box.start[1:]), (slab.box.start[0] + z + 1, *slab.box.stop[1:]))
            assert slab.volume.valid is not None
            keep = slab.volume.valid.read(plane)[0] != 0
            truth.append(np.stack([label.read(plane)[0][keep] for label in slab.volume.labels]))
            maps.append(arrays[:, z][:, keep])
            counts.append(int(keep.sum()))
    assert np.array_equal(voxels.truth(), np.concatenate(truth, axis=1))
    assert np.array_equal(np.load(tmp_path / "maps.npy"), np.concatenate(maps, axis=1))
    assert voxels.units.tolist() == [0, *np.cumsum(counts)]
    assert voxels.voxels == sum(counts)
    assert [path.name for path in tmp_path.iterdir()] == ["maps.npy"]


def test_tiles_of_a_slab_are_predicted_together_and_a_slice_is_one_unit() -> None:
    volume, slab = volume_of("a", 1), Box((1, 0, 0), (3, 8, 10))
    tiles = [Box((1, 0, 0), (3, 4, 5)), Box((1, 4, 5), (3, 8, 10))]
    voxels = AnnotatedVoxels(tuple(Part(volume, tile, slab) for tile in tiles), BINARY)
    assert [str(one.box) for one in voxels.slabs] == ["1:3,0:8,0:10"]
    assert voxels.slabs[0].boxes == tuple(tiles)
    assert len(voxels.units) == 3
    assert volume.valid is not None
    keep, labels = volume.valid.read() != 0, volume.labels[0].read()
    pieces = [(z, tile) for z in (1, 2) for tile in tiles]
    expected = [labels[z][tile.slices[1:]][keep[z][tile.slices[1:]]] for z, tile in pieces]
    assert np.array_equal(voxels.truth()[0], np.concatenate(expected))


def test_the_digest_follows_regions_and_valid_voxels() -> None:
    volume = volume_of("a", 1)
    digests = {
        AnnotatedVoxels((Part(one, box),), BINARY).digest
        for one, box in [
            (volume, Box.of_shape(SHAPE)),
            (volume, Box((0, 0, 0), (3, 8, 10))),
            (volume_of("a", 2), Box.of_shape(SHAPE)),
        ]
    }
    assert len(digests) == 3
    assert AnnotatedVoxels((Part(volume, Box.of_shape(SHAPE)),), BINARY).digest in digests


def test_predictions_of_other_classes_are_refused(tmp_path: Path) -> None:
    voxels = AnnotatedVoxels((Part(volume_of("a", 1), Box((4, 0, 0), (5, 8, 10))),), BINARY)
    with pytest.raises(RunError, match="is of the classes cell, mito; overlapping"):
        voxels.write_maps(tmp_path / "maps.npy", [prediction_of(voxels.slabs[0].box, MASKS, 0)[0]])
