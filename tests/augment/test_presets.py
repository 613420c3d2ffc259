"""Presets are names for lists of augmentations; a recipe that was read holds the parts."""

import json

import pytest
from pydantic import TypeAdapter

from cristae.augment import PRESETS, Augmentations, Brightness, Contrast, Flip, Noise, Rotate90

VALIDATE = TypeAdapter(Augmentations).validate_python


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_stands_for_its_parts(name):
    parts = VALIDATE(name)
    assert [part.name for part in parts] == [part["name"] for part in PRESETS[name]]
    for part, written in zip(parts, PRESETS[name], strict=True):
        assert {key: json.loads(part.model_dump_json())[key] for key in written} == written
    assert parts == VALIDATE([name]) == VALIDATE(parts)


def test_seget_trains_without_augmentation():
    """SegET: no data augmentation was used."""
    assert VALIDATE("seget") == ()


def test_fib_sem_is_that_of_the_paper():
    """Quarter turns k uniform in 0 to 3, left-right flip 0.5, up-down flip 0.5."""
    assert VALIDATE("fib-sem") == (Rotate90(probability=0.75), Flip(axes=("x",)), Flip(axes=("y",)))


def test_dense_cell_is_that_of_the_paper():
    """Brightness of 0.12 of the range, then a factor of 1 + 0.2 u, always; flips along z, y and x.

    The paper multiplies images of mean 0; ours lie between 0 and 1, so it is about their mean.
    """
    written = [part for part in PRESETS["dense-cell"] if part["name"] != "elastic"]
    assert VALIDATE(written) == (
        Flip(axes=("z", "y", "x"), probability=0.5),
        Brightness(amount=0.12, probability=1),
        Contrast(amount=0.2, about="mean", probability=1),
    )
    assert PRESETS["dense-cell"][0]["name"] == "elastic"


def test_presets_and_parts_mix_in_a_list():
    noise = {"name": "noise", "amount": 0.2}
    expected = (Noise(amount=0.2), *VALIDATE("fib-sem"), Brightness(), *VALIDATE("fib-sem"))
    assert VALIDATE([noise, "fib-sem", Brightness(), "fib-sem"]) == expected


@pytest.mark.parametrize("value", ["stron", ["nois"], 5, None, {"name": "noise"}])
def test_what_is_no_preset_is_refused_with_the_list(value):
    with pytest.raises(ValueError, match="fib-sem, sections, seget, strong"):
        VALIDATE(value)


def test_options_of_presets_are_not_shared():
    """A preset that is taken twice gives equal parts that are built from fresh values."""
    first, second = VALIDATE("fib-sem"), VALIDATE("fib-sem")
    assert first == second
    assert all(a is not b for a, b in zip(first, second, strict=True))


def test_presets_and_parts_that_are_written_as_the_other_are_told_apart():
    with pytest.raises(ValueError, match=r"'noise' is an augmentation, not a preset; write \{name: noise\}"):
        VALIDATE(["noise"])
    with pytest.raises(ValueError, match=r"'strong' is a preset; write its name alone, as in \[strong\]"):
        VALIDATE([{"name": "strong"}])
