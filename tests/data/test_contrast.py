"""Volumes of opposite contrast are told by what labelled structures look like."""

import numpy as np

from cristae.data.contrast import opposite
from cristae.data.label_fit import ODD

RNG = np.random.default_rng(0)
LOOKS = RNG.normal(size=(3, len(ODD)))


def noisy(sign: float) -> np.ndarray:
    return LOOKS * np.where(ODD, sign, 1) + RNG.normal(0, 0.1, LOOKS.shape)


def test_alike_volumes_are_left_alone() -> None:
    assert opposite({"a": noisy(1), "b": noisy(1), "c": noisy(1)}) == ()
    assert opposite({"a": noisy(-1), "b": noisy(-1)}) == ()
    assert opposite({"a": noisy(1)}) == ()
    assert opposite({}) == ()


def test_the_minority_is_named_and_of_two_the_later() -> None:
    assert opposite({"a": noisy(-1), "b": noisy(1), "c": noisy(1)}) == ("a",)
    assert opposite({"a": noisy(1), "b": noisy(-1)}) == ("b",)


def test_structures_that_look_different_say_nothing() -> None:
    other = RNG.normal(size=LOOKS.shape)
    other -= LOOKS * (other * LOOKS)[:, ODD].sum() / (LOOKS[:, ODD] ** 2).sum()
    assert opposite({"a": noisy(1), "b": other}) == ()


def test_classes_that_one_volume_lacks_do_not_count() -> None:
    lacking = noisy(1)
    lacking[1] = 0
    assert opposite({"a": noisy(1), "b": lacking}) == ()
