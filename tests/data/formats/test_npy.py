"""NumPy's own files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.errors import ChannelError, CristaeError, FormatError

STACK = np.random.default_rng(6).integers(0, 255, (5, 20, 30)).astype(np.uint8)


def save(path: Path, array: np.ndarray) -> Path:
    np.save(path, array)
    return path


@pytest.mark.parametrize("dtype", ["u1", "?", ">u2", "f2", "f4", "i8"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_stack(tmp_path: Path, dtype: str, order: str) -> None:
    array = np.asarray(STACK, dtype=dtype, order=order)  # type: ignore[call-overload]
    image = open_image(save(tmp_path / "a.npy", array))
    assert image.dtype == (np.uint8 if dtype == "?" else np.dtype(dtype).newbyteorder("="))
    np.testing.assert_array_equal(image.read(Box((1, 2, 3), (4, 9, 20))), array[1:4, 2:9, 3:20])
    assert image.voxel_size_nm is None


def test_axes_are_named_where_they_must_be(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", np.stack([STACK, STACK + 1], axis=-1))
    with pytest.raises(FormatError, match="without names"):
        open_image(path)
    with pytest.raises(ChannelError):
        open_image(f"{path}::axes=zyxc")
    np.testing.assert_array_equal(open_image(f"{path}::axes=zyxc::channel=1").read(), STACK + 1)
    assert len(open_channels(f"{path}::axes=zyxc")) == 2
    colours = save(tmp_path / "b.npy", np.stack([STACK[0]] * 3, axis=-1))
    with pytest.raises(FormatError, match="or colours"):
        open_image(colours)
    assert open_image(f"{colours}::axes=yxc::channel=color").colors == 3


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.array([{"a": 1}], object), "could run any code"),
        (np.zeros((2, 3, 4), "c8"), "complex64"),
        (np.zeros((2, 3), [("a", "u1")]), "holds"),
        (np.array("text"), "one number|holds"),
        (np.arange(4), "a list of 4 numbers"),
        (np.zeros((0, 3, 4)), "no voxels|damaged"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        open_image(save(tmp_path / "a.npy", array))


def test_truncated_and_damaged(tmp_path: Path) -> None:
    path = save(tmp_path / "a.npy", STACK)
    content = path.read_bytes()
    for length in (0, 5, 12, 60, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(FormatError, match=r"truncated|damaged|empty"):
            open_image(path)
    path.write_bytes(content[:20] + b"__import__('os')" + content[36:])
    with pytest.raises(FormatError, match="damaged"):
        open_image(path)


@settings(max_examples=60, deadline=None)
@given(shape=array_shapes(min_dims=1, max_dims=5, max_side=18), dtype=st.sampled_from(["u1", "i2", "f4", "c8", "S3"]))
def test_any_array_gives_its_values_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, shape: tuple[int, ...], dtype: str
) -> None:
    array = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    path = save(tmp_path_factory.mktemp("n") / "a.npy", array)
    try:
        image = open_image(path)
    except CristaeError:
        assert len(shape) not in (2, 3) or shape[-1] in (3, 4) or dtype in ("c8", "S3")
        return
    np.testing.assert_array_equal(image.read().ravel(), array.ravel())
    assert image.shape[-len(shape) :] == shape[-3:] or 1 in shape
