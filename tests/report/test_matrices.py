"""Matrices: what they say, and that it can be read on any colour."""

import math
import re

import numpy as np
import pytest

from cristae.report.matrices import FULL, ink_on, luminance, matrix_markup, shade, short_count

COUNTS = np.array([[6_000_000, 2_000_000, 0], [10, 30, 0], [0, 0, 0]])
NAMES = ["background", "mito <b>", "cell"]


def cells(markup):
    found = re.findall(r'<td(?: class="(\w+)")? style="background:(#\w+);color:(#\w+)" title="([^"]*)">([^<]*)', markup)
    return [dict(zip(("same", "color", "ink", "hint", "text"), one, strict=True)) for one in found]


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_counts_are_coloured_by_their_share_of_the_row():
    found = cells(matrix_markup(COUNTS, NAMES, kind="counts", row_title="Truth", column_title="Prediction"))
    assert [cell["text"] for cell in found] == ["6.00 M", "2.00 M", "0", "10", "30", "0", "0", "0", "0"]
    assert [cell["color"] for cell in found] == [shade(s) for s in (0.75, 0.25, 0, 0.25, 0.75, 0, *[math.nan] * 3)]
    assert found[1]["hint"] == "Truth background, Prediction mito &lt;b&gt;: 2,000,000 (25.0 % of the row)"
    assert [bool(cell["same"]) for cell in found] == [True, False, False, False, True, False, False, False, True]


def test_shares_of_an_empty_row_are_undefined():
    found = cells(matrix_markup(COUNTS, NAMES, kind="shares"))
    assert [cell["text"] for cell in found] == ["75.0 %", "25.0 %", "0.0 %", "25.0 %", "75.0 %", "0.0 %", *["–"] * 3]


def test_scores_stand_as_they_are():
    values = np.array([[0.0, 0.91234], [np.nan, 1.0]])
    found = cells(matrix_markup(values, ["Anna", "Boris"], ["Chloe", "Boris"], kind="scores"))
    assert [cell["text"] for cell in found] == ["0.0000", "0.9123", "–", "1.0000"]
    assert [cell["color"] for cell in found] == ["#ffffff", shade(0.91234), shade(math.nan), FULL]


def test_names_are_escaped_titled_and_turned_when_there_are_many():
    markup = matrix_markup(COUNTS, NAMES, kind="counts", caption="A & B", colors={"cell": "#123456"})
    assert "mito <b>" not in markup
    assert markup.count("background:#123456") == 2
    assert "A &amp; B" in markup
    assert "turned" not in markup
    many = [f"class {number}" for number in range(12)]
    assert matrix_markup(np.eye(12), many, kind="counts").count('class="turned"') == 12


def test_names_must_fit():
    with pytest.raises(ValueError, match="3 names of rows and 2 of columns"):
        matrix_markup(COUNTS, NAMES, NAMES[:2], kind="counts")


def test_text_can_be_read_on_every_colour():
    shades = [shade(share / 200) for share in range(201)] + [shade(math.nan)]
    others = [
        f"#{r:02x}{g:02x}{b:02x}" for r in range(0, 256, 15) for g in range(0, 256, 15) for b in range(0, 256, 51)
    ]
    assert min(contrast(color, ink_on(color)) for color in shades + others) >= 4.5
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert luminance("#808080") == pytest.approx(0.2158605, abs=1e-6)


def test_shades_go_one_way():
    lights = [luminance(shade(share / 50)) for share in range(51)]
    assert lights == sorted(lights, reverse=True)
    assert shade(-1) == shade(0) == "#ffffff"
    assert shade(2) == FULL


def test_short_counts_lose_at_most_half_a_unit_of_the_third_digit():
    for count in (*range(0, 10_000, 7), 10_000, 99_950, 999_499, 999_500, 123_456_789, 2**40):
        number, _, unit = short_count(count).partition(" ")
        value = float(number.replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[unit]
        assert value == pytest.approx(count, rel=0 if count < 10_000 else 0.00501, abs=0.5 if not unit else 0)
