"""Voxel sizes in attributes, convention by convention, and the units they are written in."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from cristae.data.formats.conventions import attribute_calibration
from cristae.data.formats.units import Calibration, nm_per_unit, offset_to_nm, to_nm

SIZE, ORIGIN = (40.0, 4.0, 4.5), (400.0, 40.0, 45.0)


@pytest.mark.parametrize(
    ("attributes", "axes", "order", "origin"),
    [
        ({"voxel_size_nm": [40, 4, 4.5], "origin_nm": ORIGIN}, "zyx", "array", ORIGIN),
        ({"element_size_um": np.array([0.04, 0.004, 0.0045])}, "zyx", "array", None),
        ({"resolution": (40.0, 4.0, 4.5), "offset": ORIGIN}, "zyx", "array", ORIGIN),
        ({"resolution": np.array([40, 4, 4.5], np.float32)}, "zyx", "array", None),
        ({"resolution": [4.5, 4, 40], "offset": [45, 40, 400]}, "zyx", "xyz", ORIGIN),
        ({"resolution": [4.5, 4, 40]}, "xyz", "array", None),
        ({"resolution": [1, 40, 4, 4.5], "offset": [0, *ORIGIN]}, "czyx", "array", ORIGIN),
        (
            {"voxel_size": [40, 4, 4.5], "units": ["nm", "nm", "nm"], "axis_names": ["z", "y", "x"]},
            "zyx",
            "array",
            None,
        ),
        ({"voxel_size": [4.5, 4, 40], "units": "nm", "axis_names": ["x", "y", "z"]}, "zyx", "array", None),
        ({"voxel_size": [0.04, 0.004, 4.5], "units": ["um", "µm", "nm"]}, "zyx", "array", None),
        ({"voxel_size": [40, 4, 4.5], "axis_names": ["c^", "z", "y", "x"]}, "czyx", "array", None),
        ({"pixelResolution": {"dimensions": [0.0045, 0.004, 0.04], "unit": "um"}}, "zyx", "xyz", None),
        ({"pixelResolution": [0.0045, 0.004, 0.04]}, "zyx", "xyz", None),
        (
            {"transform": {"axes": ["z", "y", "x"], "scale": SIZE, "translate": ORIGIN, "units": ["nm"] * 3}},
            "zyx",
            "array",
            ORIGIN,
        ),
        ({"transform": {"axes": ["x", "y", "z"], "scale": [4.5, 4, 40], "units": ["nm"] * 3}}, "zyx", "array", None),
        ({"resolution": [b"40", b"4", b"4.5"], "units": b"nm"}, "zyx", "array", None),
    ],
)
def test_conventions(attributes: dict[str, Any], axes: str, order: Any, origin: Any) -> None:
    assert attribute_calibration(attributes, tuple(axes), order=order) == Calibration(SIZE, origin)


@pytest.mark.parametrize(
    ("attributes", "note"),
    [
        ({"resolution": [4, 4]}, "'resolution' .* does not fit the axes z,y,x"),
        ({"resolution": "high"}, "'resolution' high does not fit"),
        ({"voxel_size": [40, 4, 4], "units": ["px"] * 3}, "the file only says z 40 px, y 4 px"),
        ({"voxel_size": [40, 4, 4], "units": ["nm", "nm"]}, "'units' .* does not fit"),
        ({"voxel_size": [40, 0, 4]}, "z 40 nm, y 0 nm"),
        ({"pixelResolution": {"unit": "nm"}}, "'pixelResolution' is not understood"),
        ({"transform": {"scale": [1, 1, 1]}}, "'transform' is not understood"),
    ],
)
def test_attributes_that_say_nothing_are_named(attributes: dict[str, Any], note: str) -> None:
    import re

    found = attribute_calibration(attributes, ("z", "y", "x"))
    assert found.voxel_size_nm is None
    assert re.search(note, found.note), found.note


def test_no_convention_no_calibration() -> None:
    assert attribute_calibration({"author": "me"}, ("z", "y", "x")) == Calibration()


@pytest.mark.parametrize(
    ("unit", "nm"),
    [
        ("nm", 1), ("Nanometers", 1), ("nanometre", 1), ("nanometer(s)", 1), ("um", 1000), ("µm", 1000), ("μm", 1000),
        ("\\u00B5m", 1000), ("micron", 1000), ("Microns", 1000), ("micrometres", 1000), ("A", Fraction(1, 10)),
        ("Å", Fraction(1, 10)), ("\u212b", Fraction(1, 10)), ("angstroms", Fraction(1, 10)), ("pm", Fraction(1, 1000)),
        ("mm", 10**6), ("cm", 10**7), ("m", 10**9), ("meter", 10**9), ("picometer", Fraction(1, 1000)),
        ("kilometre", 10**12), (" nm\0", 1),
    ],
)  # fmt: skip
def test_units(unit: str, nm: int | Fraction) -> None:
    factor = nm_per_unit(unit)
    assert factor is not None
    assert Fraction(factor) == nm


@pytest.mark.parametrize("unit", ["pixel", "px", "", None, 3, "inch", "voxels", "s", "ms", "reference frame"])
def test_words_that_are_no_length_of_a_microscope(unit: Any) -> None:
    assert nm_per_unit(unit) is None
    assert to_nm(1.0, unit) is None


@pytest.mark.parametrize("value", ["", "nan", "inf", "1e999", "x", None, True, [1]])
def test_values_that_are_no_number(value: Any) -> None:
    assert to_nm(value, "nm") is None
    assert offset_to_nm(value, "nm") is None


def test_lengths_are_exact_and_positive() -> None:
    assert to_nm("0.0046", "µm") == 4.6
    assert to_nm(4e-9, "m") == 4.0
    assert to_nm(-4, "nm") is None
    assert offset_to_nm(-4, "nm") == -4.0
