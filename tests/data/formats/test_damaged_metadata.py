"""Metadata of Zarr, N5 and precomputed volumes with one value replaced or lost: read, or refused in words."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cristae.data.box import Box
from cristae.data.inspection import images_in
from cristae.errors import CristaeError

STACK = np.random.default_rng(2).integers(0, 9, (2, 6, 7)).astype("u2")
AXES = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
STEPS = [{"type": "scale", "scale": [40, 4, 4]}, {"type": "translation", "translation": [1, 2, 3]}]
VALUES: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2.5, 1e308, float("nan"), 10**30, -(2**63), "", "x", "../0", "nm", "\ud800", "a\0b", [], [1],
    [1, 2, 3], ["a", "b", "c"], ["x", "y", "z"], [None] * 3, [[1]], {}, {"a": 1}, {"name": "q"},
)  # fmt: skip


def old(path: Path) -> Path:
    label = {"colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}], "properties": [{"label-value": 1, "name": "m"}]}
    scale = {"version": "0.4", "axes": AXES, "datasets": [{"path": "0", "coordinateTransformations": STEPS}]}
    omero = {"channels": [{"label": "SE"}]}
    attributes = {"multiscales": [scale], "omero": omero, "image-label": label, "labels": ["x"]}
    zarr.create_group(path, zarr_format=2, attributes=attributes).create_array("0", data=STACK)
    return path / ".zattrs"


def new(path: Path) -> Path:
    own = {"type": "sequence", "transformations": STEPS, "input": {"path": "0"}, "output": {"name": "physical"}}
    matrix = {"type": "affine", "affine": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]}
    order = {"type": "mapAxis", "mapAxis": {"z": "z", "y": "y", "x": "x"}}
    part = {"transformation": {"type": "identity"}, "input_axes": [0, 1, 2], "output_axes": [0, 1, 2]}
    split = {"type": "byDimension", "transformations": [part]}
    whole = {"type": "sequence", "transformations": [matrix, order, split], "input": "physical", "output": "world"}
    scale = {
        "coordinateSystems": [{"name": "physical", "axes": AXES}, {"name": "world", "axes": AXES}],
        "datasets": [{"path": "0", "coordinateTransformations": [own]}],
        "coordinateTransformations": [whole],
    }
    attributes = {"ome": {"version": "0.6", "multiscales": [scale]}}
    zarr.create_group(path, attributes=attributes).create_array("0", data=STACK)
    return path / "zarr.json"


def array(path: Path) -> Path:
    zarr.create_array(
        path, data=STACK, zarr_format=2, filters=[numcodecs.Delta("u2")], compressors=numcodecs.LZ4(), chunks=(1, 3, 7)
    )
    return path / ".zarray"


def n5(path: Path) -> Path:
    metadata = {
        "dimensions": STACK.shape[::-1],
        "blockSize": [7, 3, 1],
        "dataType": "uint16",
        "compression": {"type": "gzip"},
    }
    spec = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{path}/s0/"}, "metadata": metadata, "create": True}
    tensorstore.open(spec).result()[...].write(STACK.T).result()
    file = path / "s0" / "attributes.json"
    said = {
        "pixelResolution": {"dimensions": [4, 4, 40], "unit": "nm"},
        "downsamplingFactors": [1, 1, 1],
        "axes": ["x", "y", "z"],
    }
    file.write_text(json.dumps(json.loads(file.read_text()) | said))
    return file


def precomputed(path: Path) -> Path:
    scale = {
        "size": STACK.shape[::-1],
        "encoding": "raw",
        "chunk_size": [7, 3, 1],
        "resolution": [4, 4, 40],
        "voxel_offset": [1, 2, 3],
    }
    spec = {
        "driver": "neuroglancer_precomputed", "kvstore": {"driver": "file", "path": f"{path}/"}, "create": True,
        "multiscale_metadata": {"type": "image", "data_type": "uint16", "num_channels": 1}, "scale_metadata": scale,
    }  # fmt: skip
    tensorstore.open(spec).result()[..., 0].write(STACK.T).result()
    return path / "info"


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*place, key)
        yield from places(inner, (*place, key))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "name"),
    [(old, "a.zarr"), (new, "a.zarr"), (array, "a.zarr"), (n5, "a.n5"), (precomputed, "a")],
    ids=["0.4", "0.6", "array", "n5", "precomputed"],
)
def test_one_value_replaced_or_lost(tmp_path: Path, make: Callable[[Path], Path], name: str) -> None:
    file = make(tmp_path / name)
    whole = json.loads(file.read_text())

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        damaged = copy.deepcopy(whole)
        *above, last = data.draw(st.sampled_from(list(places(whole))))
        holder = damaged
        for key in above:
            holder = holder[key]
        if data.draw(st.booleans()):
            holder[last] = data.draw(st.sampled_from(VALUES))
        else:
            del holder[last]
        file.write_text(json.dumps(damaged))
        said = f"{tmp_path}"
        try:
            for _, image, _ in images_in(tmp_path / name):
                image.read(Box((0, 0, 0), (1, 1, 1)))
        except CristaeError as error:
            said = str(error)
        assert str(tmp_path) in said
        assert len(said) < 1000

    check()
