"""HDF5 as MATLAB, Imaris, BigDataViewer, netCDF4, NeXus, EMD and others lay it out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from cristae.data.box import Box
from cristae.data.formats import open_channels, open_image
from cristae.data.formats.hdf5 import list_hdf5
from cristae.data.inspection import images_in
from cristae.errors import ChannelError, FormatError

STACK = np.random.default_rng(4).integers(0, 255, (5, 20, 30)).astype(np.uint8)


class TestMatlab:
    """MATLAB stores rows fastest, so A(row, column, slice) is (slice, column, row) in HDF5."""

    def file(self, path: Path, **variables: tuple[np.ndarray, str]) -> Path:
        with h5py.File(path, "w", userblock_size=512) as file:
            for name, (array, kind) in variables.items():
                data = file.create_dataset(name, data=array.T)
                data.attrs["MATLAB_class"] = np.bytes_(kind)
                if kind == "logical":
                    data.attrs["MATLAB_int_decode"] = 1
        with path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")
        return path

    def test_volume(self, tmp_path: Path) -> None:
        rows_columns_slices = STACK.transpose(1, 2, 0)
        path = self.file(tmp_path / "a.mat", A=(rows_columns_slices, "uint8"))
        image = open_image(path)
        assert image.shape == STACK.shape
        np.testing.assert_array_equal(image.read(), STACK)
        np.testing.assert_array_equal(image.read(Box((1, 2, 3), (2, 9, 20))), STACK[1:2, 2:9, 3:20])

    def test_flat_logical_and_text(self, tmp_path: Path) -> None:
        path = self.file(
            tmp_path / "a.mat",
            mask=((STACK[0] > 99).astype("u1"), "logical"),
            size=(np.array([[4.0, 4.0, 40.0]]), "double"),
            step=(np.array([[4.0]]), "double"),
            note=(np.array([[72, 105]], "u2"), "char"),
        )
        assert list_hdf5(path) == ("mask",)
        np.testing.assert_array_equal(open_image(path).read()[0], STACK[0] > 99)

    def test_channels_need_names(self, tmp_path: Path) -> None:
        volume = np.stack([STACK, STACK + 1]).transpose(2, 3, 1, 0)
        path = self.file(tmp_path / "a.mat", A=(volume, "uint8"))
        with pytest.raises(FormatError, match=r"MATLAB array of 20 x 30 x 5 x 2.*::axes=czxy"):
            open_image(path)
        np.testing.assert_array_equal(open_image(f"{path}::axes=czxy::channel=1").read(), STACK + 1)

    def test_three_planes_may_be_colours(self, tmp_path: Path) -> None:
        path = self.file(tmp_path / "a.mat", A=(STACK[:3].transpose(1, 2, 0), "uint8"))
        with pytest.raises(FormatError, match="three slices, or colours"):
            open_image(path)
        np.testing.assert_array_equal(open_image(f"{path}::axes=zxy").read(), STACK[:3])
        assert open_image(f"{path}::axes=cxy::channel=color").colors == 3

    def test_cells_and_structures_are_named(self, tmp_path: Path) -> None:
        path = self.file(tmp_path / "a.mat")
        with h5py.File(path, "r+") as file:
            file["#refs#/a"] = STACK
            cells = file.create_dataset("cells", (1, 2), h5py.ref_dtype)
            cells[0, 0] = file["#refs#/a"].ref
            cells.attrs["MATLAB_class"] = np.bytes_("cell")
        with pytest.raises(FormatError, match=r"'/cells' is a MATLAB cell; save each array"):
            open_image(path)


def letters(text: object) -> np.ndarray:
    return np.array([bytes([letter]) for letter in str(text).encode()])


class TestImaris:
    def file(self, path: Path, channels: int = 1, times: int = 1, unit: str = "um", **image: object) -> Path:
        extent = {"ExtMin0": 0, "ExtMin1": 0, "ExtMin2": 0, "ExtMax0": 0.12, "ExtMax1": 0.08, "ExtMax2": 0.2}
        with h5py.File(path, "w") as file:
            file.attrs["ImarisVersion"] = letters("5.5.0")
            about = file.create_group("DataSetInfo/Image")
            for key, value in {**extent, "Unit": unit, **image}.items():
                about.attrs[key] = letters(value)
            for t in range(times):
                for c in range(channels):
                    group = file.create_group(f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}")
                    padded = np.full((8, 32, 32), 99, np.uint8)
                    padded[:5, :20, :30] = STACK + c
                    group.create_dataset("Data", data=padded, chunks=(4, 16, 16), compression="gzip")
                    for axis, size in zip("ZYX", STACK.shape, strict=True):
                        group.attrs[f"ImageSize{axis}"] = letters(size)
                    file.require_group(f"DataSetInfo/Channel {c}").attrs["Name"] = letters(f"dye {c}")
                    file.create_dataset(
                        f"DataSet/ResolutionLevel 1/TimePoint {t}/Channel {c}/Data", data=STACK[:, ::2, ::2]
                    )
        return path

    def test_padding_is_left_out(self, tmp_path: Path) -> None:
        path = self.file(tmp_path / "a.ims")
        image = open_image(path)
        assert (image.shape, image.voxel_size_nm, image.origin_nm) == (STACK.shape, (40.0, 4.0, 4.0), None)
        np.testing.assert_array_equal(image.read(), STACK)
        assert list_hdf5(path) == ("DataSet",)

    def test_channels(self, tmp_path: Path) -> None:
        path = self.file(tmp_path / "a.ims", channels=2)
        with pytest.raises(ChannelError, match="'dye 1'"):
            open_image(path)
        np.testing.assert_array_equal(open_image(f"{path}::channel=1").read(), STACK + 1)
        assert len(open_channels(path)) == 2

    def test_origin_is_the_centre_of_the_first_voxel(self, tmp_path: Path) -> None:
        image = open_image(self.file(tmp_path / "a.ims", ExtMin0=0.06, ExtMin1=0.04, ExtMin2=0.1))
        assert image.voxel_size_nm == (20, 2, 2)
        assert image.origin_nm == (110, 41, 61)

    def test_unknown_extents(self, tmp_path: Path) -> None:
        image = open_image(self.file(tmp_path / "a.ims", ExtMax0=30, ExtMax1=20, ExtMax2=5))
        assert image.voxel_size_nm is None
        assert "do not know" in image.details["voxel size"]

    def test_time_points_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="2 time points"):
            open_image(self.file(tmp_path / "a.ims", times=2))


class TestBigDataViewer:
    XML = """<SpimData version="0.2"><SequenceDescription><ViewSetups>
    <ViewSetup><id>0</id><size>30 20 5</size><voxelSize><unit>{unit}</unit><size>0.004 0.004 0.04</size></voxelSize>
    </ViewSetup></ViewSetups></SequenceDescription></SpimData>"""

    def file(self, path: Path, unit: str | None = "um") -> np.ndarray:
        volume = STACK.astype(np.uint16) * 257
        with h5py.File(path, "w") as file:
            file["s00/resolutions"] = [[1.0, 1, 1], [2, 2, 1]]
            file["s00/subdivisions"] = [[16, 16, 16], [16, 16, 16]]
            file["t00000/s00/0/cells"] = volume.view(np.int16)
            file["t00000/s00/1/cells"] = volume[:, ::2, ::2].view(np.int16)
        if unit is not None:
            path.with_suffix(".xml").write_text(self.XML.format(unit=unit), encoding="utf-8")
        return volume

    def test_values_are_unsigned_and_the_size_is_in_the_xml(self, tmp_path: Path) -> None:
        volume = self.file(tmp_path / "a.h5")
        image = open_image(tmp_path / "a.h5")
        assert (image.dtype, image.voxel_size_nm) == (np.dtype("u2"), (40, 4, 4))
        np.testing.assert_array_equal(image.read(), volume)
        coarse = open_image(f"{tmp_path}/a.h5:/t00000/s00/1/cells")
        assert (coarse.shape, coarse.voxel_size_nm) == ((5, 10, 15), (40, 8, 8))

    @pytest.mark.parametrize(("unit", "words"), [(None, r"a\.xml, which is not beside"), ("pixel", "pixel")])
    def test_unknown_size(self, tmp_path: Path, unit: str | None, words: str) -> None:
        self.file(tmp_path / "a.h5", unit)
        image = open_image(tmp_path / "a.h5")
        assert image.voxel_size_nm is None
        assert np.char.find(image.details["voxel size"], words.replace("\\", "").split(",")[0]) >= 0


def coordinates(file: Any, name: str, count: int, step: float, start: float = 0, units: str = "nm") -> Any:
    data = file.create_dataset(name, data=start + step * np.arange(count))
    data.attrs["units"] = units
    return data


def test_netcdf4_dimension_scales(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        data = file.create_dataset("em", data=STACK.transpose(2, 0, 1))
        for i, (axis, count, step) in enumerate((("x", 30, 4), ("depth", 5, 40), ("y", 20, 4.5))):
            scale = coordinates(file, axis, count, step, 8)
            scale.make_scale(axis)
            scale.attrs["_Netcdf4Dimid"] = i
            data.dims[i].attach_scale(scale)
        data.attrs["scale_factor"] = 0.5
    image = open_image(tmp_path / "a.nc")
    assert (image.voxel_size_nm, image.origin_nm) == ((40, 4.5, 4), (8, 8, 8))
    np.testing.assert_array_equal(image.read(), STACK)
    assert "value x 0.5 + 0" in image.details["note"]


def test_scales_without_known_names_say_nothing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nc", "w") as file:
        data = file.create_dataset("em", data=STACK.view(np.int8))
        data.attrs["_Unsigned"] = "true"
        for i, count in enumerate(STACK.shape):
            scale = file.create_dataset(f"phony_dim_{i}", data=np.zeros(count, "f4"))
            scale.make_scale("This is a netCDF dimension but not a netCDF variable")
            data.dims[i].attach_scale(scale)
    image = open_image(tmp_path / "a.nc")
    assert (image.dtype, image.voxel_size_nm) == (np.dtype("u1"), None)
    np.testing.assert_array_equal(image.read(), STACK)


@pytest.mark.parametrize("names", [("z", "y", "x"), ("Depth", "Height", "Width"), ("slice", "row", "column")])
def test_dimension_labels_with_full_names(tmp_path: Path, names: tuple[str, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("em", data=STACK.transpose(2, 1, 0))
        for dimension, name in zip(data.dims, names[::-1], strict=True):
            dimension.label = name
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5").read(), STACK)


def test_some_labels_are_no_labels(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("em", data=STACK).dims[2].label = "z"
    with pytest.raises(FormatError, match=r"names only some of its axes \(\?, \?, z\)"):
        open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.h5::axes=xyz").read(), STACK.transpose(2, 1, 0))


def test_nexus_default_and_signal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        file.attrs["default"] = "entry"
        file.create_group("entry").attrs["default"] = "data"
        data = file.create_group("entry/data")
        data.attrs.update({"signal": "counts", "axes": np.array(["z", "y", "x"], object)})
        data["counts"] = STACK
        data["errors"] = STACK + 1
        for axis, count, step in zip("zyx", STACK.shape, (0.04, 0.004, 0.004), strict=True):
            coordinates(data, axis, count, step, units="um")
    image = open_image(tmp_path / "a.nxs")
    np.testing.assert_array_equal(image.read(), STACK)
    assert (image.voxel_size_nm, image.origin_nm) == ((40, 4, 4), None)


class TestEmd:
    @pytest.mark.parametrize("unit", ["[n_m]", "nm", "[u_m]"])
    def test_berkeley(self, tmp_path: Path, unit: str) -> None:
        with h5py.File(tmp_path / "a.emd", "w") as file:
            group = file.create_group("data/stack")
            group.attrs["emd_group_type"] = 1
            group["data"] = STACK
            for i, (axis, count, step) in enumerate(zip("zyx", STACK.shape, (40, 4, 4), strict=True), 1):
                dim = coordinates(group, f"dim{i}", count, step / (1000 if "u" in unit else 1), units=unit)
                dim.attrs["name"] = axis
        image = open_image(tmp_path / "a.emd")
        np.testing.assert_array_equal(image.read(), STACK)
        assert image.voxel_size_nm == (40, 4, 4)

    def velox(self, path: Path, frames: int) -> Path:
        about = {
            "BinaryResult": {"PixelSize": {"width": "4e-9", "height": "4e-9"}, "PixelUnitX": "m", "PixelUnitY": "m"}
        }
        text = np.frombuffer(json.dumps(about).encode().ljust(400, b"\0"), np.uint8)
        with h5py.File(path, "w") as file:
            group = file.create_group("Data/Image/18df52c1")
            group["Data"] = STACK[:frames].transpose(1, 2, 0)
            group["Metadata"] = np.repeat(text[:, None], frames, 1)
        return path

    def test_velox(self, tmp_path: Path) -> None:
        image = open_image(self.velox(tmp_path / "a.emd", 1))
        np.testing.assert_array_equal(image.read(), STACK[:1])
        assert "y 4 nm, x 4 nm" in image.details["voxel size"]
        with pytest.raises(FormatError, match="5 time points"):
            open_image(self.velox(tmp_path / "b.emd", 5))


def test_predictions_of_pytorch_3dunet(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["predictions"] = np.stack([STACK, 255 - STACK]).astype("f4") / 255
    with pytest.raises(FormatError, match=r"channels first.*::axes=czyx::channel=0"):
        open_image(tmp_path / "a.h5")
    image = open_image(f"{tmp_path}/a.h5::axes=czyx::channel=1")
    np.testing.assert_array_equal(image.read(), (255 - STACK).astype("f4") / 255)


def test_arrays_that_cannot_be_shown_are_told_with_those_that_can(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["raw"] = STACK
        file["predictions"] = np.stack([STACK, STACK])
        file["table"] = np.zeros((4, 0, 4))
    shown = list(images_in(tmp_path / "a.h5"))
    assert [name for name, *_ in shown] == [f"{tmp_path}/a.h5:/raw"]
    assert [problem.split(": ")[0] for problem in shown[0][2]] == ["not shown", "not shown"]
    assert "channels first" in shown[0][2][0]


@pytest.mark.parametrize("shape", [(1, 5, 20, 30), (1, 1, 5, 20, 30), (5, 20, 30, 1), (1, 5, 20, 30, 1)])
def test_axes_of_one_voxel_say_nothing(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = STACK.reshape(shape)
    np.testing.assert_array_equal(open_image(tmp_path / "a.h5").read(), STACK)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((20, 30, 3), "or colours"),
        ((20, 30, 2), "or colours"),
        ((1, 20, 30, 4), "or colours"),
        ((1, 3, 20, 30), "4 axes"),
        ((2, 5, 20, 30), "4 axes"),
        ((5, 1, 20, 30), "4 axes"),
    ],
)
def test_axes_that_may_be_channels(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = np.zeros(shape, np.uint8)
    with pytest.raises(FormatError, match=words):
        open_image(tmp_path / "a.h5")


@pytest.mark.parametrize("attribute", ["shape", "origin"])
def test_damaged_axistags_can_be_replaced(tmp_path: Path, attribute: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = STACK
        file["x"].attrs["axistags"] = "{" if attribute == "shape" else "[" * 100_000
    with pytest.raises(FormatError, match="damaged"):
        open_image(tmp_path / "a.h5")
    np.testing.assert_array_equal(open_image(f"{tmp_path}/a.h5::axes=zyx").read(), STACK)
