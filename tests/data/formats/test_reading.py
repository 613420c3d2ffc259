"""What a person says behind a path: channel, signedness, axes."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cristae.data.formats import open_channels, open_image
from cristae.data.formats.paths import Reading, find_source, split_options
from cristae.errors import ChannelError, FormatError

READINGS = st.builds(
    Reading,
    channel=st.none() | st.integers(0, 99) | st.just("color"),
    signed=st.none() | st.booleans(),
    axes=st.none() | st.sampled_from(["zyx", "czyx", "xyz", "tyx"]),
)


@given(st.sampled_from(["a.h5", "a.h5:/raw/x", "C:/data/a.h5", "slices/*.png"]), READINGS)
def test_options_come_back_from_the_path(path: str, reading: Reading) -> None:
    assert split_options(reading.on(path)) == (path, reading)


def test_later_options_replace_earlier_ones() -> None:
    assert Reading(channel=2).on("a.h5::channel=1::signed=true") == "a.h5::channel=2::signed=true"


@pytest.mark.parametrize(
    "option", ["::channel=-1", "::channel=red", "::signed=maybe", "::axes=zz", "::axes=ab", "::scale=2", "::channel="]
)
def test_options_that_are_not_understood(option: str) -> None:
    with pytest.raises(FormatError, match="is not understood; expected ::channel=1"):
        split_options(f"a.h5{option}")


def test_an_option_is_given_once() -> None:
    with pytest.raises(FormatError, match="twice"):
        split_options("a.h5::channel=1::channel=2")


def test_axes_are_named_by_the_person(tmp_path: Path) -> None:
    voxels = np.arange(2 * 3 * 4 * 5, dtype=np.uint16).reshape(2, 3, 4, 5)
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["p"] = voxels
    with pytest.raises(FormatError, match=r"4 axes without names, of 2, 3, 4, 5.*::axes=czyx"):
        open_image(path)
    with pytest.raises(ChannelError, match="2 channels"):
        open_image(f"{path}::axes=czyx")
    first, second = open_channels(f"{path}::axes=czyx")
    np.testing.assert_array_equal(first.read(), voxels[0])
    np.testing.assert_array_equal(second.read(), voxels[1])
    image = open_image(f"{path}:/p::axes=zcyx::channel=2")
    np.testing.assert_array_equal(image.read(), voxels[:, 2])
    np.testing.assert_array_equal(open_image(str(image.path)).read(), voxels[:, 2])
    assert find_source(image.path).inner == "p"
    with pytest.raises(FormatError, match=r"has 4 axes, but '::axes=zyx' names 3"):
        open_image(f"{path}::axes=zyx")


@pytest.mark.parametrize("option", ["::signed=true", "::axes=zyx"])
def test_options_that_do_not_apply_are_refused(tmp_path: Path, option: str) -> None:
    from PIL import Image

    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(FormatError, match="leave it out"):
        open_image(f"{tmp_path}/a.png{option}")
    with pytest.raises(ChannelError, match="no channel 1"):
        open_image(f"{tmp_path}/a.png::channel=1")
    assert open_image(f"{tmp_path}/a.png::channel=0").shape == (1, 4, 4)
