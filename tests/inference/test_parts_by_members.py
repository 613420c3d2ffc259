"""Which members predict which voxels, when some have held them out."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.inference.held_out import parts_by_members

SIDE = 6


@st.composite
def boxes(draw):
    pairs = [sorted(draw(st.lists(st.integers(0, SIDE), min_size=2, max_size=2, unique=True))) for _ in range(3)]
    return Box(tuple(a for a, _ in pairs), tuple(b for _, b in pairs))


@settings(max_examples=60)
@given(boxes(), st.lists(st.lists(boxes(), max_size=3), min_size=3, max_size=3))
def test_every_voxel_has_its_members(region, held_out):
    """Parts are disjoint, cover the box, and their members are those that have held the voxel out, or else all."""
    groups = ((0, 2), (1,))
    found = np.full((SIDE,) * 3, None, object)
    for part in parts_by_members(region, groups, held_out):
        assert part.box.size
        for voxel in np.ndindex(*part.box.shape):
            place = tuple(np.add(part.box.start, voxel))
            assert found[place] is None, "no voxel twice"
            found[place] = part.groups
    for place in np.ndindex(SIDE, SIDE, SIDE):
        one = Box(place, tuple(n + 1 for n in place))
        if not region.contains(one):
            assert found[place] is None
            continue
        unseen = {number for number, some in enumerate(held_out) if any(box.contains(one) for box in some)}
        expected = tuple(tuple(n for n in group if n in unseen) or group for group in groups)
        assert found[place] == expected


def test_few_parts():
    """Neighbours with the same members are one: here the middle of three slabs, and what lies around it."""
    region, middle = Box((0, 0, 0), (9, 9, 9)), Box((3, 0, 0), (6, 9, 9))
    assert [part.box for part in parts_by_members(region, ((0, 1),), [[middle], []])] == [
        Box((0, 0, 0), (3, 9, 9)),
        middle,
        Box((6, 0, 0), (9, 9, 9)),
    ]
    halves = [Box((0, 0, 0), (9, 9, 4)), Box((0, 0, 4), (9, 9, 9))]
    assert [part.box for part in parts_by_members(region, ((0, 1),), [halves, []])] == [region]
    assert [part.box for part in parts_by_members(region, ((0, 1),), [[], []])] == [region]


def test_work_grows_with_what_is_held_out_and_not_with_the_planes_it_has():
    """Blocks of sixty crops in one volume: a grid through all of their sides would have millions of cells."""
    held_out = [[] for _ in range(5)]
    for crop in range(60):
        z, y, x = 30 * crop, 31 * crop, 29 * crop
        for fold, boxes in enumerate(held_out):
            boxes.append(Box((z + 4 * fold, y, x), (z + 4 * fold + 4, y + 20, x + 20)))
    region, groups = Box((0, 0, 0), (2000, 2000, 2000)), ((0, 1, 2, 3, 4),)
    found = parts_by_members(region, groups, held_out)
    assert sum(part.box.size for part in found) == region.size
    alone = [part.groups for part in found if part.box.size == 4 * 20 * 20]
    assert sorted(alone) == sorted([((fold,),) for fold in range(5)] * 60)
