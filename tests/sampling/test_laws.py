"""Laws that every sampler obeys, whatever the parts: sizes, sparse labels, classes in one of many volumes."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled_parts import INVALID, inside, part_of

from cristae.errors import LabelError
from cristae.sampling import (
    GridPatches,
    IndexedPatches,
    JitteredPatches,
    Plan,
    RandomPatches,
    RejectionPatches,
    SamplePart,
)

K = 4
NAMES = ("background", "er", "mito", "rare")
Size = tuple[int, int, int]
Planner = Callable[[Size, list[SamplePart], int], Plan]
SAMPLERS: dict[str, Planner] = {
    "grid": lambda size, parts, seed: GridPatches(size=size, stride=half(size), positive_copies=2).plan(parts, seed),
    "indexed": lambda size, parts, seed: IndexedPatches(size=size, per_epoch=12).plan(parts, seed),
    "jittered": lambda size, parts, seed: JitteredPatches(size=size, spacing=half(size)).plan(parts, seed),
    "random": lambda size, parts, seed: RandomPatches(size=size, per_epoch=12).plan(parts, seed),
    "random, by class": lambda size, parts, seed: RandomPatches(
        size=size, per_epoch=12, class_frequencies={present(parts): 1}, volumes="evenly"
    ).plan(parts, seed),
    "rejection": lambda size, parts, seed: RejectionPatches(size=size, per_epoch=12).plan(parts, seed),
}


def half(size: Size) -> Size:
    z, y, x = (max(1, side // 2) for side in size)
    return z, y, x


def present(parts: list[SamplePart]) -> str:
    return NAMES[int(np.flatnonzero(np.sum([part.class_counts for part in parts], axis=0))[-1])]


@st.composite
def layouts(draw: st.DrawFn) -> list[np.ndarray]:
    """One to three parts: dense, with single labelled slices, scribbled, with one voxel of a class, or empty."""
    targets = []
    for _ in range(draw(st.integers(1, 3))):
        shape = (draw(st.integers(1, 4)), draw(st.integers(1, 24)), draw(st.integers(1, 24)))
        rng = np.random.default_rng(draw(st.integers(0, 2**16)))
        target = rng.integers(0, 3, shape).astype(np.uint8)
        kind = draw(st.sampled_from(["dense", "slices", "scribbles", "nothing"]))
        if kind == "slices":
            target[rng.random(shape[0]) < 0.6] = INVALID
        if kind == "scribbles":
            target[rng.random(shape) < 0.97] = INVALID
        if kind == "nothing":
            target[:] = INVALID
        elif draw(st.booleans()):
            target[tuple(rng.integers(0, shape))] = 3
        targets.append(target)
    return targets


def parts_of(targets: list[np.ndarray], listed: int | None) -> list[SamplePart]:
    return [
        part_of(target, n_classes=K, names=NAMES, volume=f"v{number}", listed=listed)
        for number, target in enumerate(targets)
    ]


@pytest.mark.parametrize("name", SAMPLERS)
@settings(max_examples=60, deadline=None)
@given(
    targets=layouts(),
    size=st.tuples(st.integers(1, 3), st.integers(1, 12), st.integers(1, 12)),
    seed=st.integers(0, 3),
    listed=st.sampled_from([None, 5]),
)
def test_every_patch_holds_a_voxel_that_counts_and_follows_from_epoch_and_index(
    name: str, targets: list[np.ndarray], size: Size, seed: int, listed: int | None
) -> None:
    parts = parts_of(targets, listed)
    if not any(part.n_valid for part in parts):
        if name != "grid":
            with pytest.raises(LabelError, match="no voxel"):
                RandomPatches(size=size).plan(parts, seed)
        return
    try:
        plan = SAMPLERS[name](size, parts, seed)
    except LabelError as error:
        assert name == "rejection"  # every voxel that counts is too near to the sides
        assert "in the middle of a patch" in str(error)  # noqa: PT017
        return
    asked = [(epoch, index) for epoch in (0, 2, 1) for index in range(min(len(plan), 40))]
    places = {one: plan.place(*one) for one in asked}
    for place in places.values():
        assert place.box.shape == size
        assert np.any(inside(targets[place.part], place.box) != INVALID)
    again = SAMPLERS[name](size, parts_of(targets, listed), seed)
    for one in reversed(asked):
        assert again.place(*one) == places[one]


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(st.integers(1, 4), st.integers(1, 16), st.integers(1, 16)),
    size=st.tuples(st.integers(1, 2), st.integers(1, 8), st.integers(1, 8)),
)
def test_windows_of_all_epochs_cover_a_part(sides: Size, size: Size) -> None:
    """Grid windows in one epoch; windows with jitter, of half the size as spacing, in 300.

    The rarest voxel is a corner, which one epoch in 16 covers.
    """
    target = np.zeros(sides, np.uint8)
    for name, epochs in (("grid", 1), ("jittered", 300)):
        seen = np.zeros(sides, bool)
        plan = SAMPLERS[name](size, [part_of(target, n_classes=1)], 0)
        for epoch in range(epochs):
            for index in range(len(plan)):
                inside(seen, plan.place(epoch, index).box)[...] = True
            if seen.all():
                break
        assert seen.all()


@pytest.mark.parametrize("name", ["random", "random, by class", "indexed", "rejection"])
def test_a_voxel_of_a_rare_class_among_millions_is_found_at_once(name: str) -> None:
    """One voxel of 12 million, and a list that is no more than a sample of the other classes."""
    target = np.zeros((3, 2000, 2000), np.uint8)
    target[2, 1234, 777] = 1
    counts = np.array([target.size - 1, 1])
    some = np.argwhere(np.ones((1, 50, 50)))
    part = SamplePart(
        target.shape,
        counts,
        (some, np.array([[2, 1234, 777]])),
        lambda box: bool(target[box.slices].any()),
        lambda box: True,
        class_names=("background", "rare"),
        index_within=lambda box, once: (np.array([box.size - 1, 1]), (some + box.start, np.array([[2, 1234, 777]]))),
    )
    samplers: dict[str, Planner] = {
        "random": lambda size, parts, seed: RandomPatches(size=size, foreground_share=1).plan(parts, seed),
        "random, by class": lambda size, parts, seed: RandomPatches(size=size, class_frequencies={"rare": 1}).plan(
            parts, seed
        ),
        "indexed": lambda size, parts, seed: IndexedPatches(size=size, uniform_share=0).plan(parts, seed),
        "rejection": lambda size, parts, seed: RejectionPatches(size=size, accept={"background": 0}).plan(parts, seed),
    }
    plan = samplers[name]((1, 64, 64), [part], 0)
    assert all(inside(target, plan.place(0, index).box).any() for index in range(50))


def test_samplers_ask_every_part_in_turn_whatever_its_number() -> None:
    """A hundred parts of which one is labelled: it is the only one that comes."""
    empty, one = np.full((1, 9, 9), INVALID, np.uint8), np.full((1, 9, 9), INVALID, np.uint8)
    one[0, 4, 4] = 2
    parts = parts_of([*[empty] * 60, one, *[empty] * 39], None)
    for name, planner in SAMPLERS.items():
        plan = planner((1, 4, 4), parts, 0)
        assert Counter(plan.place(0, index).part for index in range(len(plan))) == {60: len(plan)}, name
