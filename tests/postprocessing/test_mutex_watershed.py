"""The mutex watershed against the algorithm of the paper written down plainly, by hand, and by its laws."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage import measure

from cristae.data.affinities import Affinities
from cristae.postprocessing.mutex_watershed import mutex_watershed
from cristae.postprocessing.offsets import is_face_step
from cristae.postprocessing.pieces import in_order

OFFSETS = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -3), (0, -2, 0), (-1, 2, 1))


def by_the_paper(mask: np.ndarray, affinities: list[np.ndarray], offsets) -> np.ndarray:
    """Wolf et al. (2018), algorithm 1, with sets: clusters of voxels and pairs of voxels that exclude each other."""
    edges = []
    for k, (affinity, offset) in enumerate(zip(affinities, offsets, strict=True)):
        for voxel in map(tuple, np.argwhere(mask)):
            partner = tuple(np.add(voxel, offset).tolist())
            inside = all(0 <= p < side for p, side in zip(partner, mask.shape, strict=True)) and mask[partner]
            weight = int(affinity[voxel]) if is_face_step(offset) else 255 - int(affinity[voxel])
            if inside and weight > 0:
                edges.append((-weight, k, voxel, partner))
    cluster = {tuple(voxel): {tuple(voxel)} for voxel in np.argwhere(mask).tolist()}
    excluded: list[tuple] = []
    for _, k, voxel, partner in sorted(edges):
        a, b = cluster[voxel], cluster[partner]
        if a is b:
            continue
        apart = any((u in a and v in b) or (u in b and v in a) for u, v in excluded)
        if not is_face_step(offsets[k]):
            excluded.append((voxel, partner))
        elif not apart:
            a |= b
            for one in b:
                cluster[one] = a
    found = np.zeros(mask.shape, np.int32)
    for number, voxels in enumerate({id(one): one for one in cluster.values()}.values(), 1):
        for voxel in voxels:
            found[voxel] = number
    return found


@settings(max_examples=40, deadline=None)
@given(data=st.data(), shape=st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6)), coarse=st.booleans())
def test_it_is_the_algorithm_of_the_paper(data, shape, coarse) -> None:
    values = st.sampled_from([0, 1, 128, 254, 255]) if coarse else st.integers(0, 255)
    mask = data.draw(arrays(np.bool_, shape, elements=st.sampled_from([True, True, True, False])))
    affinities = [data.draw(arrays(np.uint8, shape, elements=values)) for _ in OFFSETS]
    expected = in_order(by_the_paper(mask, affinities, OFFSETS))
    np.testing.assert_array_equal(in_order(mutex_watershed(mask, affinities, OFFSETS)), expected)


def test_a_row_of_six_by_hand() -> None:
    """Steps to the left hold with 200, that from the fourth voxel to the third, a wrong bridge, with 240; partners
    three steps away say with 250 that voxels 0 and 3, and 2 and 5, are apart. These exclude each other first; then 2
    and 3 join. Of the equal edges, 0 and 1 join, 1 and 2 may not, 4 joins 3, and 5 may not."""
    left = np.array([[[0, 200, 200, 240, 200, 200]]], np.uint8)
    far = np.array([[[255, 255, 255, 5, 255, 5]]], np.uint8)
    found = in_order(mutex_watershed(np.ones((1, 1, 6), bool), [left, far], [(0, 0, -1), (0, 0, -3)]))
    assert found.ravel().tolist() == [1, 1, 2, 2, 2, 3]


@settings(max_examples=20, deadline=None)
@given(arrays(np.int64, (3, 7, 7), elements=st.integers(0, 2)))
def test_true_affinities_give_the_true_objects(ids) -> None:
    """Of objects that are connected across faces, whatever they touch."""
    objects = measure.label(ids, connectivity=1, background=0)
    around = np.pad(objects, 3)
    masks, _ = Affinities(OFFSETS).compare(around, np.ones_like(around, bool), frame=(3, 3, 3))
    found = mutex_watershed(objects > 0, [mask.astype(np.uint8) * 255 for mask in masks], OFFSETS)
    np.testing.assert_array_equal(in_order(found), in_order(objects.astype(np.int32)))


def test_a_large_object_is_cut_where_long_steps_say_so() -> None:
    """Noise of a network: steps of one voxel are blurred at the contact, those of five are not."""
    rng, shape = np.random.default_rng(0), (4, 60, 80)
    truth = np.where(np.arange(80) < 40, 1, 2) * np.ones(shape, np.int64)
    offsets = ((-1, 0, 0), (0, -1, 0), (0, 0, -1), (0, 0, -5), (0, -5, 0))
    around = np.pad(truth, 5)
    masks, _ = Affinities(offsets).compare(around, np.ones_like(around, bool), frame=(5, 5, 5))
    noisy = [np.clip(mask * 200 + rng.normal(20, 15, shape), 0, 255).astype(np.uint8) for mask in masks]
    noisy[2][:, 20:23, 40] = 220  # a bridge
    found = in_order(mutex_watershed(np.ones(shape, bool), noisy, offsets))
    large = [number for number, voxels in enumerate(np.bincount(found.ravel())) if voxels > 100]
    assert len(large) == 2
    assert (np.where(np.isin(found, large), found, truth + large[0] - 1) == truth + large[0] - 1).mean() > 0.99
