"""Which voxels a forest learns from."""

import numpy as np
import pytest
from forest_data import DISC, FEW, discs, normalizers_of, part_of, volume_of

from cristae.classical.features import FeaturePlan
from cristae.classical.pixels import mirrored, smooth_all
from cristae.classical.samples import Samples, draw_samples
from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.splits import Part

PLAN = FeaturePlan(FEW, 2)


def draw(*parts: Part, classes: Classes = DISC, limit: int = 100, seed: int = 0, threads: int = 1, plan=PLAN):
    volumes = normalizers_of(*(part.volume for part in parts))
    return draw_samples(parts, classes, plan, volumes, limit=limit, seed=seed, threads=threads)


def rows_of(samples: Samples, number: int) -> set[bytes]:
    return {row.tobytes() for row in samples.features[samples.classes == number]}


def features_of(grey: np.ndarray, plan: FeaturePlan = PLAN) -> np.ndarray:
    """Of a whole volume: (Z, Y, X, F)."""
    around = mirrored(grey, Box.of_shape(grey.shape), plan.reach)
    return np.moveaxis(plan.stack(around, smooth_all(around, plan), Box.of_shape(grey.shape)), 0, -1)


def test_features_are_those_of_the_whole_volume_at_voxels_of_the_class() -> None:
    """Also with context beyond the part: the part is a window of the volume."""
    grey, ids = discs((3, 150, 160))
    part = part_of(volume_of(grey, ids), "1:3,20:140,10:155")
    (samples,) = draw(part, limit=300)
    seen = features_of(grey)[part.box.slices]
    inside = ids[part.box.slices]
    assert np.bincount(samples.classes).tolist() == [300, 300]
    for number in (0, 1):
        there = {row.tobytes() for row in seen[inside == number]}
        assert len(rows_of(samples, number)) == 300
        assert rows_of(samples, number) <= there
    assert samples.labelled.tolist() == np.bincount(inside.ravel()).tolist()


def test_3d_features_see_other_slices() -> None:
    grey, ids = discs((6, 40, 40))
    plan = FeaturePlan.on_grid(FEW, 3, (20, 5, 5))
    (samples,) = draw(part_of(volume_of(grey, ids), "2:4,:,:"), plan=plan)
    there = {row.tobytes() for row in features_of(grey, plan)[2:4].reshape(-1, len(plan.names))}
    assert rows_of(samples, 0) | rows_of(samples, 1) <= there


def test_only_valid_voxels_of_labelled_slices_are_drawn() -> None:
    grey, ids = discs((4, 60, 60))
    valid = np.zeros(grey.shape, np.uint8)
    valid[1, 10:30, 10:50] = 1
    valid[2] = 1
    (samples,) = draw(part_of(volume_of(grey, ids, valid=valid, slices=(1, 3))), limit=10_000)
    counts = np.bincount(ids[1, 10:30, 10:50].ravel(), minlength=2)
    assert counts.min() > 20
    assert np.bincount(samples.classes).tolist() == counts.tolist()
    seen = features_of(grey)[1, 10:30, 10:50]
    assert rows_of(samples, 1) == {row.tobytes() for row in seen[ids[1, 10:30, 10:50] == 1]}


def test_every_part_gives_what_it_can() -> None:
    """A class of 12 voxels here and plenty there: all 12, and the rest from there; even shares otherwise."""
    parts = []
    for number, count in enumerate((12, 900, 900)):
        ids = np.zeros((1, 40, 40), np.uint8)
        ids.ravel()[:count] = 1
        grey = np.full(ids.shape, number, np.float32)
        parts.append(part_of(volume_of(grey, ids, name=f"v{number}")))
    (samples,) = draw(*parts, limit=100)
    of_part = [(samples.features[samples.classes == 1][:, 0] == number).sum() for number in range(3)]
    assert of_part == [12, 44, 44]
    background = [(samples.features[samples.classes == 0][:, 0] == number).sum() for number in range(3)]
    assert sorted(background) == [33, 33, 34]
    assert samples.labelled.tolist() == [3 * 1600 - 1812, 1812]


def test_large_slices_are_drawn_from_everywhere() -> None:
    """Blocks of 1024: each gives in proportion to what it holds."""
    ids = np.zeros((1, 8, 3000), np.uint8)
    ids[..., ::2] = 1
    grey = np.broadcast_to((np.arange(3000) // 1024).astype(np.float32), ids.shape).copy()
    (samples,) = draw(part_of(volume_of(grey, ids)), limit=300)
    blocks = np.bincount(samples.features[samples.classes == 1][:, 0].astype(int), minlength=3)
    assert blocks.sum() == 300
    assert np.abs(blocks - np.array([1024, 1024, 952]) / 10).max() <= 1


def test_overlapping_classes_have_samples_of_their_own() -> None:
    grey, ids = discs((1, 60, 60))
    rare = np.zeros_like(ids)
    rare[0, :3, :5] = 255
    first, second = draw(
        part_of(volume_of(grey, ids, rare)), classes=Classes(names=("disc", "rare"), exclusive=False), limit=50
    )
    assert np.bincount(first.classes).tolist() == [50, 50]
    assert np.bincount(second.classes).tolist() == [50, 15]
    assert rows_of(second, 1) == {row.tobytes() for row in features_of(grey)[0, :3, :5].reshape(-1, len(PLAN.names))}


@pytest.mark.parametrize("threads", [1, 3])
def test_the_seed_alone_decides(threads: int) -> None:
    grey, ids = discs((5, 50, 50))
    part = part_of(volume_of(grey, ids))
    (one,), (two,), (other,) = draw(part), draw(part, threads=threads), draw(part, seed=1)
    assert np.array_equal(one.features, two.features)
    assert np.array_equal(one.classes, two.classes)
    assert not np.array_equal(one.features, other.features)
