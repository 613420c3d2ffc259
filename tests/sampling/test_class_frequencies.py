"""Random patches whose classes come as often as a recipe says, from volumes of very different size."""

import numpy as np
import pytest
from sampled_parts import inside, part_of
from scipy.stats import binomtest, chisquare

from cristae.errors import LabelError, RecipeError
from cristae.sampling import RandomPatches

NAMES = ("background", "mito", "er", "golgi")


def bands() -> np.ndarray:
    """Four classes in bands so far apart that a patch holds one class."""
    target = np.full((2, 20, 400), 255, np.uint8)
    for k in range(4):
        target[:, :, 100 * k : 100 * k + (60, 9, 3, 1)[k]] = k
    return target


@pytest.mark.parametrize(
    ("frequencies", "expected"),
    [
        ({"mito": 0.5, "er": 0.3, "background": 0.2}, [0.2, 0.5, 0.3, 0]),
        ({"mito": 5, "er": 3, "background": 2, "golgi": 0}, [0.2, 0.5, 0.3, 0]),
        ({"golgi": 1}, [0, 0, 0, 1]),
    ],
)
def test_each_class_has_its_share_of_patches(frequencies: dict[str, float], expected: list[float]) -> None:
    target, n = bands(), 3000
    plan = RandomPatches(size=(8, 8), per_epoch=n, class_frequencies=frequencies).plan(
        [part_of(target, n_classes=4, names=NAMES)], seed=2
    )
    found = np.zeros(4, int)
    for index in range(n):
        voxels = inside(target, plan.place(0, index).box)
        (k,) = np.unique(voxels[voxels != 255])
        found[k] += 1
    for hits, share in zip(found, expected, strict=True):
        assert binomtest(int(hits), n, share).pvalue > 0.001 if 0 < share < 1 else hits == n * share


def test_a_foreground_share_holds_within_binomial_bounds() -> None:
    """A part of nothing but background, and one of structures: 30 % of patches are placed on those, plus chance."""
    dull, rich = np.zeros((1, 30, 30), np.uint8), np.ones((1, 10, 10), np.uint8)
    parts = [part_of(dull, n_classes=2), part_of(rich, n_classes=2)]
    plan = RandomPatches(size=(5, 5), per_epoch=4000, foreground_share=0.3).plan(parts, seed=1)
    hits = sum(plan.place(3, index).part for index in range(4000))
    assert binomtest(hits, 4000, 0.3 + 0.7 * 100 / 1000).pvalue > 0.001


def test_volumes_of_different_size_come_by_their_voxels_or_evenly() -> None:
    """Three volumes, one of them in two parts; mito is in two of them."""
    shapes = {"large": [(1, 40, 40), (1, 40, 20)], "small": [(1, 10, 10)], "none": [(1, 20, 20)]}
    parts = []
    for volume, own in shapes.items():
        parts += [
            part_of(np.full(s, int(volume != "none"), np.uint8), n_classes=2, names=NAMES[:2], volume=volume)
            for s in own
        ]
    for volumes, of_mito, of_all in (
        ("by_voxels", [1600, 800, 100, 0], [1600, 800, 100, 400]),
        ("evenly", [2 / 3, 1 / 3, 1, 0], [2 / 3, 1 / 3, 1, 1]),
    ):
        for share, expected in ((1, of_mito), (0, of_all)):
            plan = RandomPatches(size=(4, 4), per_epoch=3000, foreground_share=share, volumes=volumes).plan(parts, 0)
            found = np.bincount([plan.place(0, index).part for index in range(3000)], minlength=4)
            wanted = np.array(expected) / sum(expected) * 3000
            assert found[wanted == 0].sum() == 0
            assert chisquare(found[wanted > 0], wanted[wanted > 0]).pvalue > 0.001


def test_draws_of_a_class_are_even_over_parts_and_within_them_though_lists_are_samples() -> None:
    """600 voxels of a class in one part and 60 in another; of either, 50 are remembered."""
    one, two = np.ones((1, 20, 30), np.uint8), np.ones((1, 6, 10), np.uint8)
    parts = [part_of(one, n_classes=2, listed=50), part_of(two, n_classes=2, listed=50)]
    plan = RandomPatches(size=(1, 1), per_epoch=4000, foreground_share=1).plan(parts, 0)
    places = [plan.place(0, index) for index in range(4000)]
    assert binomtest(sum(place.part for place in places), 4000, 60 / 660).pvalue > 0.001
    assert len({place.box for place in places if place.part == 0}) == 50


def test_what_cannot_be_sampled_is_said() -> None:
    part = part_of(np.zeros((1, 8, 8), np.uint8), n_classes=2, names=("background", "mito"))
    with pytest.raises(RecipeError, match="class_frequencies: there is no class 'golgi'; the classes are background"):
        RandomPatches(size=(4, 4), class_frequencies={"golgi": 1}).plan([part], 0)
    with pytest.raises(LabelError, match=r"placed on 'mito'.*\(voxels: background 64, mito 0\); choose regions"):
        RandomPatches(size=(4, 4), class_frequencies={"mito": 1, "background": 3}).plan([part], 0)
    with pytest.raises(ValueError, match="not both"):
        RandomPatches(foreground_share=0.5, class_frequencies={"mito": 1})
    for nothing in ({}, {"mito": 0}):
        with pytest.raises(ValueError, match="at least one class with a frequency above 0"):
            RandomPatches(class_frequencies=nothing)
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        RandomPatches(class_frequencies={"mito": -1})


def test_the_recipe_of_a_run_says_what_share_it_had() -> None:
    assert RandomPatches().sized((64, 64)).foreground_share == 0.33
    config = RandomPatches(class_frequencies={"mito": 1}).sized((64, 64))
    assert config.foreground_share is None
    assert RandomPatches.model_validate(config.model_dump()) == config
