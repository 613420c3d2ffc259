"""OME-Zarr 0.6: coordinate systems and the transformations between them, in the spellings of its drafts."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cristae.data.formats import open_image
from cristae.errors import FormatError

STACK = np.random.default_rng(5).integers(0, 255, (4, 20, 30)).astype(np.uint8)
PHYSICAL = ("physical", "zyx", "micrometer")
SCALE: dict[str, Any] = {"type": "scale", "scale": [0.05, 0.004, 0.005]}
SIZE = (50.0, 4.0, 5.0)


def system(name: str, axes: str, unit: str | None = None) -> dict[str, Any]:
    kinds = {"c": "channel", "t": "time"}
    described = [{"name": a, "type": kinds.get(a, "space")} for a in axes]
    return {"name": name, "axes": [d | ({"unit": unit} if unit and d["type"] == "space" else {}) for d in described]}


def image(
    path: Path, systems: list[Any], own: list[Any], whole: list[Any] | None = None, array: np.ndarray = STACK
) -> Path:
    scale = {"coordinateSystems": systems, "datasets": [{"path": "0", "coordinateTransformations": own}]}
    scale |= {"coordinateTransformations": whole} if whole else {}
    attributes = {"ome": {"version": "0.6", "multiscales": [scale]}}
    zarr.create_group(path, attributes=attributes).create_array("0", data=array)
    return path


ENDS: list[dict[str, Any]] = [
    {"input": "0", "output": "physical"},
    {"input": {"path": "0"}, "output": {"name": "physical"}},
    {"input": "/0", "output": "physical"},
    {"input": {"path": "0", "name": None}, "output": {"path": None, "name": "physical"}},
    {"output": "physical"},
    {},
]


@pytest.mark.parametrize("ends", ENDS)
def test_inputs_and_outputs_in_every_draft(tmp_path: Path, ends: dict[str, Any]) -> None:
    found = open_image(image(tmp_path / "a.zarr", [system(*PHYSICAL)], [SCALE | ends]))
    np.testing.assert_array_equal(found.read(), STACK)
    assert (found.voxel_size_nm, found.origin_nm, found.details["OME-Zarr"]) == (SIZE, None, "0.6")


def test_axes_as_an_object(tmp_path: Path) -> None:
    axes = {name: {"type": "space", "unit": "micrometer"} for name in "zyx"}
    path = image(tmp_path / "a.zarr", [{"name": "physical", "axes": axes}], [SCALE | ENDS[0]])
    assert open_image(path).voxel_size_nm == SIZE


SHIFT: dict[str, Any] = {"type": "translation", "translation": [1.0, 0.5, 0.25]}
MATRIX: dict[str, Any] = {"type": "affine", "affine": [[0.05, 0, 0, 1], [0, 0.004, 0, 0.5], [0, 0, 0.005, 0.25]]}
BY_AXIS: dict[str, Any] = {
    "type": "byDimension",
    "transformations": [
        {"transformation": {"type": "sequence", "transformations": [
            {"type": "scale", "scale": [0.05]}, {"type": "translation", "translation": [1.0]}]},
         "input_axes": [0], "output_axes": [0]},
        {"transformation": {"type": "sequence", "transformations": [
            {"type": "scale", "scale": [0.004, 0.005]}, {"type": "translation", "translation": [0.5, 0.25]}]},
         "input_axes": [1, 2], "output_axes": [1, 2]},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    "own",
    [
        [{"type": "sequence", "transformations": [SCALE, SHIFT]} | ENDS[0]],
        [SCALE, SHIFT],
        [{"type": "sequence", "transformations": [SCALE, {"type": "identity"}, SHIFT]} | ENDS[1]],
        [MATRIX | ENDS[0]],
        [BY_AXIS | ENDS[0]],
    ],
)
def test_size_and_place(tmp_path: Path, own: list[Any]) -> None:
    found = open_image(image(tmp_path / "a.zarr", [system(*PHYSICAL)], own))
    assert (found.voxel_size_nm, found.origin_nm) == (SIZE, (1000.0, 500.0, 250.0))


@pytest.mark.parametrize(
    "swap",
    [
        {"type": "mapAxis", "mapAxis": [2, 1, 0]},
        {"type": "mapAxis", "mapAxis": {"z": "dim_2", "y": "dim_1", "x": "dim_0"}},
        {"type": "rotation", "rotation": [[0, 0, 1], [0, 1, 0], [1, 0, 0]]},
    ],
)
def test_axes_that_are_swapped(tmp_path: Path, swap: dict[str, Any]) -> None:
    own = [{"type": "sequence", "transformations": [swap, SCALE]} | ENDS[0]]
    found = open_image(image(tmp_path / "a.zarr", [system(*PHYSICAL)], own, array=STACK.T))
    np.testing.assert_array_equal(found.read(), STACK)
    assert found.voxel_size_nm == SIZE


TILTED: list[list[float]] = [[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"type": "rotation", "rotation": TILTED}, "turns or shears"),
        ({"type": "affine", "affine": [[*row, 0] for row in TILTED]}, "turns or shears"),
        ({"type": "displacements", "path": "field"}, "'displacements' is not understood"),
        ({"type": "scale", "path": "sizes"}, "stored as an array"),
        ({"type": "scale", "scale": [0.05, -0.004, 0.005]}, "axis y is no size"),
        ({"type": "scale", "scale": [0.05, 0.0, 0.005]}, "axis y is no size"),
    ],
)
def test_what_leaves_the_voxel_size_unknown(tmp_path: Path, step: dict[str, Any], words: str) -> None:
    found = open_image(image(tmp_path / "a.zarr", [system(*PHYSICAL)], [step | ENDS[0]]))
    np.testing.assert_array_equal(found.read(), STACK)
    assert found.voxel_size_nm is None
    assert words in found.details["voxel size"]


class TestSeveralSystems:
    own = (SCALE | {"input": {"path": "0"}, "output": {"name": "intrinsic"}},)
    systems = (system(*PHYSICAL), system("intrinsic", "zyx", "micrometer"))

    def whole(self, step: dict[str, Any]) -> list[Any]:
        return [step | {"input": {"name": "intrinsic"}, "output": {"name": "physical"}}]

    def test_that_of_the_levels_counts(self, tmp_path: Path) -> None:
        lost = {"type": "mapAxis", "mapAxis": [0, 0, 0]}
        for step in (SHIFT, {"type": "rotation", "rotation": TILTED}, lost):
            path = image(tmp_path / f"{step['type']}.zarr", [*self.systems], [*self.own], self.whole(step))
            found = open_image(path)
            assert (found.voxel_size_nm, found.origin_nm) == (SIZE, None)

    def test_that_with_units_counts(self, tmp_path: Path) -> None:
        pixels = SCALE | {"scale": [1, 1, 1], "input": "0", "output": "pixels"}
        scale = SCALE | {"input": "pixels", "output": "physical"}
        path = image(tmp_path / "a.zarr", [system("pixels", "zyx"), system(*PHYSICAL)], [pixels], [scale])
        assert open_image(path).voxel_size_nm == SIZE

    def test_two_that_disagree_are_not_believed(self, tmp_path: Path) -> None:
        ten = {"type": "scale", "scale": [10, 10, 10]}
        found = open_image(image(tmp_path / "a.zarr", [*self.systems], [*self.own], self.whole(ten)))
        assert found.voxel_size_nm is None
        assert found.details["voxel size"] == (
            "the coordinate system 'intrinsic' says 50 x 4 x 5 nm, 'physical' says 500 x 40 x 50 nm"
        )


@pytest.mark.parametrize(
    ("systems", "own", "words"),
    [
        ([system(*PHYSICAL)], [SCALE | {"input": "0", "output": "nowhere"}], "no transformation leads"),
        ([system(*PHYSICAL)], [], "no transformation leads"),
        ([system("physical", "yx", "nanometer")], [SCALE | ENDS[0]], "do not fit an array of 3 axes"),
        ([system(*PHYSICAL)], [{"type": "scale", "scale": [1, 1]} | ENDS[0]], "expected 3 numbers"),
        ([system(*PHYSICAL)], [{"type": "scale", "scale": [1, 1, None]} | ENDS[0]], "expected 3 numbers"),
        ([system(*PHYSICAL)], [{"type": "byDimension", "transformations": []} | ENDS[0]], "does not give every axis"),
        ([system(*PHYSICAL)], [{"type": "mapAxis", "mapAxis": {"z": "k", "y": "j"}} | ENDS[0]], "no permutation"),
        ([system(*PHYSICAL)], [{"type": "mapAxis", "mapAxis": [0, 0, 1]} | ENDS[0]], "no permutation"),
        ([{"axes": []}], [SCALE | ENDS[0]], "'coordinateSystems' are damaged"),
        ([{"name": "physical", "axes": 3}], [SCALE | ENDS[0]], "not a list"),
    ],
)
def test_damage_is_refused(tmp_path: Path, systems: list[Any], own: list[Any], words: str) -> None:
    with pytest.raises(FormatError, match=words):
        open_image(image(tmp_path / "a.zarr", systems, own))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.sampled_from(["".join(p) for n in (2, 3) for p in itertools.permutations("zyx", n) if {*"yx"} <= {*p}]),
    lead=st.sampled_from(["", "c", "t", "tc"]),
    scale=st.lists(st.integers(1, 999), min_size=5, max_size=5),
    shift=st.none() | st.lists(st.integers(-999, 999), min_size=5, max_size=5),
    unit=st.sampled_from([("nanometer", 1.0), ("micrometer", 1000.0), (None, None)]),
    version=st.sampled_from(["0.4", "0.5", "0.6"]),
)  # fmt: skip
def test_any_valid_description(
    tmp_path_factory: pytest.TempPathFactory,
    order: str,
    lead: str,
    scale: list[int],
    shift: list[int] | None,
    unit: Any,
    version: str,
) -> None:
    axes = lead + order
    shape = dict(zip("zyx", STACK.shape, strict=True)) | {"c": 1, "t": 1}
    array = np.arange(np.prod([shape[a] for a in axes]), dtype="u4").reshape([shape[a] for a in axes])
    steps: list[dict[str, Any]] = [{"type": "scale", "scale": scale[: len(axes)]}]
    steps += [{"type": "translation", "translation": shift[: len(axes)]}] if shift else []
    described = system("s", axes, unit[0])
    path = tmp_path_factory.mktemp("a") / "a.zarr"
    if version == "0.6":
        image(
            path,
            [described],
            [{"type": "sequence", "transformations": steps} | {"input": "0", "output": "s"}],
            array=array,
        )
    else:
        item = {
            "version": version,
            "axes": described["axes"],
            "datasets": [{"path": "0", "coordinateTransformations": steps}],
        }
        attributes: dict[str, Any] = {"multiscales": [item]}
        two = version == "0.4"
        root = zarr.create_group(
            path, attributes=attributes if two else {"ome": attributes}, zarr_format=2 if two else 3
        )
        root.create_array("0", data=array)
    found = open_image(path)
    kept = np.moveaxis(
        array.reshape([shape[a] for a in order]), [order.index(a) for a in "zyx" if a in order], range(len(order))
    )
    np.testing.assert_array_equal(found.read(), kept if kept.ndim == 3 else kept[None])
    if unit[1] is None or "z" not in order:
        assert found.voxel_size_nm is None
        assert "voxel size" in found.details
    else:
        assert found.voxel_size_nm == tuple(scale[axes.index(a)] * unit[1] for a in "zyx")
        assert found.origin_nm == (tuple(shift[axes.index(a)] * unit[1] for a in "zyx") if shift else None)
