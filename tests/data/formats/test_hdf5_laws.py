"""Whatever h5py writes comes back as the same values under the axes that were said, or as a refusal in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.errors import CristaeError

AXES = st.permutations("zyx").map(lambda order: tuple(order))
DTYPES = st.sampled_from(["u1", "i1", ">u2", "<i2", "u4", "i8", "f2", ">f4", "f8", "?"])
EDGES = st.tuples(*[st.decimals("0.05", "9000", places=3).map(float)] * 3)
LAYOUTS: list[dict[str, Any]] = [
    {},
    {"chunks": True},
    {"chunks": True, "compression": "gzip", "shuffle": True},
    {"chunks": True, "compression": "lzf", "fletcher32": True},
]


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    return np.arange(np.prod(shape)).reshape(shape).astype(draw(DTYPES))


def said(file: Any, array: Any, way: str, axes: tuple[str, ...], size: dict[str, float]) -> None:
    """Write axes and voxel size in one of the ways of `hdf5_dialects`."""
    if way == "tags":
        tags = [{"key": axis, "typeFlags": 2, "resolution": size.get(axis, 0), "description": ""} for axis in axes]
        array.attrs["axistags"] = json.dumps({"axes": tags})
        array.attrs["axis_units"] = json.dumps(dict.fromkeys(size, "nm"))
    elif way == "labels":
        for dimension, axis in zip(array.dims, axes, strict=True):
            dimension.label = axis
        array.attrs["resolution"] = [size.get(axis, 1.0) for axis in axes]
    else:
        for i, axis in enumerate(axes):
            scale = file.create_dataset(axis, data=size.get(axis, 1.0) * np.arange(array.shape[i]))
            scale.attrs["units"] = "nm" if axis in size else ""
            scale.make_scale(axis)
            array.dims[i].attach_scale(scale)


@settings(max_examples=80, deadline=None)
@given(
    stack=stacks(),
    axes=AXES,
    channels=st.integers(1, 3),
    size=EDGES,
    way=st.sampled_from(["tags", "labels", "scales"]),
    layout=st.sampled_from(LAYOUTS),
    version=st.sampled_from(["earliest", "latest"]),
)
def test_axes_values_and_voxel_size(
    tmp_path_factory: pytest.TempPathFactory,
    stack: np.ndarray,
    axes: tuple[str, ...],
    channels: int,
    size: tuple[float, float, float],
    way: str,
    layout: dict[str, Any],
    version: str,
) -> None:
    edges = dict(zip("zyx", size, strict=True))
    named = axes if channels == 1 else (*axes, "c")
    stored = stack.transpose(["zyx".index(axis) for axis in axes])
    stored = stored if channels == 1 else np.stack([stored] * channels, axis=-1)
    path = tmp_path_factory.mktemp("h") / "a.h5"
    with h5py.File(path, "w", libver=version) as file:
        said(file, file.create_dataset("em", data=stored, **layout), way, named, edges)
    images = open_channels(path)
    assert len(images) == channels
    whole = Box.of_shape(stack.shape)
    for image in images:
        assert image.dtype == (np.uint8 if stack.dtype == bool else stack.dtype.newbyteorder("="))
        np.testing.assert_array_equal(image.read(whole), stack)
        if way != "scales" or min(stack.shape) > 1:
            assert image.voxel_size_nm == pytest.approx(size, rel=1e-6)
        elif image.voxel_size_nm is None:
            assert "incomplete" in image.details.get("voxel size", "incomplete")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(2**40), 2**40) | st.text(max_size=4),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.sampled_from(["axes", "key", "x"]), inside),
    max_leaves=8,
)
ATTRIBUTES = st.one_of(
    JSON.map(json.dumps),
    st.binary(max_size=9).map(np.bytes_),
    st.lists(st.floats(), max_size=5).map(lambda values: np.array(values, "f8")),
    st.integers(-(2**40), 2**40),
    st.sampled_from([h5py.Empty("f4"), np.array(["z", "y", "x"], object), np.zeros(3, "S2"), np.zeros((2, 2), "?")]),
)
NAMES = st.sampled_from(
    ["axistags", "axis_units", "element_size_um", "resolution", "voxel_size", "offset", "units", "axis_names",
     "transform", "pixelResolution", "channel_names", "MATLAB_class", "_Unsigned", "scale_factor", "add_offset",
     "voxel_size_nm", "origin_nm", "cristae_colors", "DIMENSION_LABELS", "DIMENSION_LIST",
     "CLASS", "NAME", "signal", "axes", "emd_group_type", "MATLAB_empty", "_Netcdf4Dimid"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(shape=st.lists(st.integers(1, 4), max_size=5), attributes=st.dictionaries(NAMES, ATTRIBUTES, max_size=4))
def test_any_attributes_are_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], attributes: dict[str, Any]
) -> None:
    path = tmp_path_factory.mktemp("h") / "a.h5"
    with h5py.File(path, "w") as file:
        array = file.create_dataset("em", data=np.arange(np.prod(shape), dtype="i2").reshape(shape))
        for key, value in attributes.items():
            array.attrs[key] = value
    try:
        image = open_image(path)
        voxels = image.read()
    except CristaeError:
        return
    assert sorted(voxels.ravel().tolist()) == list(range(int(np.prod(shape))))
    assert image.voxel_size_nm is None or all(0 < edge < np.inf for edge in image.voxel_size_nm)


def test_the_same_names_in_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is found from its own folder, whatever the folder of work."""
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = np.ones((2, 3, 4), "u1")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = h5py.ExternalLink("b.h5", "x")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    assert open_image("../a.h5").read().all()
