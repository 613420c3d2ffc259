"""CDeep3M's sampling without rejecting: the same distribution as its accept/reject loop, and no stall."""

from collections import Counter

import numpy as np
import pytest
from sampled_parts import part_of
from scipy.stats import chi2_contingency, chisquare

from cristae.data.classes import Classes
from cristae.errors import LabelError, RecipeError
from cristae.sampling import Place, RejectionPatches, counted_names
from cristae.sampling.part import box_at

NAMES = ("background", "mito", "er")


def targets() -> list[np.ndarray]:
    """Three slices of 11 x 13, another volume of 5 x 40, and voxels that do not count."""
    rng = np.random.default_rng(1)
    first = rng.choice([0, 0, 0, 1, 2, 255], (3, 11, 13)).astype(np.uint8)
    second = rng.choice([0, 0, 1, 255], (1, 5, 40)).astype(np.uint8)
    return [first, second]


def accept_and_reject(
    parts: list[np.ndarray], size: tuple[int, int, int], accept: np.ndarray, rng: np.random.Generator
) -> Place:
    """The published loop, by the letter: a patch anywhere inside y and x, kept by the class of its middle."""
    places = [part.shape[0] * (part.shape[1] - size[1] + 1) * (part.shape[2] - size[2] + 1) for part in parts]
    while True:
        number = int(rng.choice(len(parts), p=np.array(places) / sum(places)))
        target = parts[number]
        z, y, x = (
            int(rng.integers(0, target.shape[0])),
            int(rng.integers(0, target.shape[1] - size[1] + 1)),
            int(rng.integers(0, target.shape[2] - size[2] + 1)),
        )
        middle = int(target[z, y + size[1] // 2, x + size[2] // 2])
        if middle != 255 and rng.random() < accept[middle]:
            return Place(number, box_at((z - size[0] // 2, y, x), size))


def test_patches_are_distributed_as_those_of_the_published_loop() -> None:
    """CDeep3M keeps background one time in four, foreground always: a chi-square test over all places."""
    parts, size = targets(), (1, 4, 5)
    plan = RejectionPatches(size=(4, 5), per_epoch=20_000).plan(
        [part_of(target, n_classes=3, names=NAMES) for target in parts], seed=3
    )
    rng = np.random.default_rng(8)
    drawn = Counter(plan.place(0, index) for index in range(20_000))
    looped = Counter(accept_and_reject(parts, size, np.array([0.25, 1, 1]), rng) for _ in range(20_000))
    every = sorted(drawn | looped, key=lambda place: (place.part, place.box))
    assert len(every) == 233
    assert chi2_contingency([[drawn[place], looped[place]] for place in every]).pvalue > 0.001
    # The test has teeth: without the rejection the same sample fails it.
    plain = RejectionPatches(size=(4, 5), accept={"background": 1}).plan(
        [part_of(target, n_classes=3, names=NAMES) for target in parts], seed=3
    )
    uniform = Counter(plain.place(0, index) for index in range(20_000))
    assert chi2_contingency([[uniform[place], looped[place]] for place in every]).pvalue < 1e-9


def test_classes_come_with_the_probabilities_of_the_formula() -> None:
    """n_k a_k / sum(n_j a_j), with n_k counted where a patch fits; places that are a sample change nothing of it."""
    (target, _), accept = targets(), {"background": 0.1, "er": 0.5}
    part = part_of(target, n_classes=3, names=NAMES, listed=6)
    plan = RejectionPatches(size=(4, 5), per_epoch=10_000, accept=accept).plan([part], seed=0)
    inner = target[:, 2:10, 2:11]
    wanted = np.array([np.sum(inner == k) for k in range(3)]) * [0.1, 1, 0.5]
    boxes = [plan.place(1, index).box for index in range(10_000)]
    middles = [int(target[b.start[0], b.start[1] + 2, b.start[2] + 2]) for b in boxes]
    assert all(b.start[1] >= 0 and b.stop[1] <= 11 and b.start[2] >= 0 and b.stop[2] <= 13 for b in boxes)
    assert chisquare(np.bincount(middles, minlength=3), wanted / wanted.sum() * 10_000).pvalue > 0.001


def test_thick_patches_lie_inside_in_y_and_x_and_reach_outside_in_z() -> None:
    target = np.ones((3, 8, 8), np.uint8)
    plan = RejectionPatches(size=(3, 4, 4), per_epoch=300).plan([part_of(target, n_classes=2)], seed=0)
    boxes = [plan.place(0, index).box for index in range(300)]
    assert {box.start[0] for box in boxes} == {-1, 0, 1}
    assert {box.start[1] for box in boxes} == {box.start[2] for box in boxes} == {0, 1, 2, 3, 4}


def test_the_default_is_a_quarter_of_the_background_whatever_it_is_called() -> None:
    target = np.array([[[0, 1, 1]]], np.uint8)
    config = RejectionPatches(size=(1, 1))
    assert config.plan([part_of(target, n_classes=2, names=("resin", "cell"))], 0).accept.tolist() == [0.25, 1]
    everywhere = part_of(target, n_classes=2, names=("resin", "cell"), first_foreground=0)
    assert config.plan([everywhere], 0).accept.tolist() == [1, 1]
    overlapping = counted_names(Classes(names=("er", "mito"), exclusive=False))
    by_name = RejectionPatches(size=(1, 1), accept={"none": 0.5, "mito": 0.1})
    part = part_of(target, n_classes=3, names=overlapping)
    assert by_name.plan([part], 0).accept.tolist() == [0.5, 1, 0.1]


def test_what_cannot_be_sampled_is_said() -> None:
    target = np.zeros((1, 8, 8), np.uint8)
    target[0, 0, 0] = 1
    part = part_of(target, n_classes=2, names=("background", "mito"))
    with pytest.raises(LabelError, match=r"no voxel of mito can be in the middle .* a sampling.size below"):
        RejectionPatches(size=(4, 4), accept={"background": 0}).plan([part], 0)
    with pytest.raises(RecipeError, match="accept: there is no class 'golgi'; the classes are background, mito"):
        RejectionPatches(size=(4, 4), accept={"golgi": 0.5}).plan([part], 0)
    with pytest.raises(RecipeError, match="accept: is 0 for every class"):
        RejectionPatches(size=(4, 4), accept={"background": 0, "mito": 0}).plan([part], 0)
    with pytest.raises(ValueError, match="less than or equal to 1"):
        RejectionPatches(accept={"mito": 1.5})
