"""The page of an analysis says what the tables say, from numbers and from the text of CSV files alike."""

import csv
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from cristae.analysis.render import Rendering
from cristae.report.analysis_page import MAX_OBJECTS, analysis_page

NAN = float("nan")
COLORS = {"mito": "#01abfe", "vessel <v>": "#ffe000"}


def class_row(cell, name, share, objects, volume=0.25):
    return {
        "cell": cell,
        "class": name,
        "voxels": 62_500,
        "volume_um3": volume,
        "fraction_of_cell": share,
        "objects": objects,
        "median_volume_um3": volume / objects if objects else NAN,
        "mean_volume_um3": volume / objects if objects else NAN,
        "surface_um2": 3.5,
    }


def object_row(number, name="mito", volume=0.1, distance=NAN, border=False):
    return {
        "cell": 1,
        "class": name,
        "object": number,
        "voxels": round(volume * 250_000),
        "volume_um3": volume,
        "surface_um2": 1.25,
        "equivalent_diameter_nm": 576.0,
        "z_nm": 10.5,
        "y_nm": 20.0,
        "x_nm": 30.0,
        "touches_border": border,
        "distance_to_membrane_nm": distance,
    }


CLASSES = [class_row(1, "mito", 0.125, 2), class_row(1, "vessel <v>", NAN, 0, 0.0)]
OBJECTS = [object_row(1, volume=0.2, distance=0.0), object_row(2, volume=0.05, distance=80.0, border=True)]
ABOUT = {
    "settings": {"min_object_voxels": 20},
    "rules": {"fraction_of_cell": "voxels in the cell & class / voxels in the cell"},
    "cells": [{"cell": 1, "voxels": 500_000, "volume_um3": 2.0}],
    "colors": COLORS,
}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.words, self.headings, self.inside = [], [], ""
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.inside = tag

    def handle_endtag(self, tag):
        self.inside = ""

    def handle_data(self, data):
        if self.inside not in ("style", "script"):
            self.words.append(data)
        if self.inside == "h2":
            self.headings.append(data)


def as_text(rows):
    """The rows as they come back from a CSV file."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0].keys())
    writer.writeheader()
    writer.writerows([{k: str(v).lower() if isinstance(v, bool) else v for k, v in row.items()} for row in rows])
    buffer.seek(0)
    return list(csv.DictReader(buffer))


def rendering(height=60, width=100):
    return Rendering(np.full((height, width, 3), 255, np.uint8), 20.0)


def test_the_page_says_what_the_tables_say():
    page = Page(analysis_page("cell.zarr", CLASSES, OBJECTS, views=[rendering()], **ABOUT))
    assert page.headings == [
        "View", "Classes", "Sizes of objects", "Distance to the membrane", "Objects", "How it was measured",
    ]  # fmt: skip
    for fact in ("2 µm³", "1 reach the edge of the volume", "12.50 %", "0.25", "62,500", "0.125", "3.5", "500 nm"):
        assert fact in page.text
    assert "mito (2)" in page.text
    assert "median 0.2 µm³" in page.text  # of the one that is whole
    assert "median 0 nm" in page.text
    assert "voxels in the cell & class" in page.text
    assert "min_object_voxels" in page.text


def test_numbers_and_the_text_of_files_give_the_same_page():
    one = analysis_page("cell", CLASSES, OBJECTS, views=[rendering()], **ABOUT)
    two = analysis_page("cell", as_text(CLASSES), as_text(OBJECTS), views=[rendering()], **ABOUT)
    assert one == two


def test_names_are_escaped():
    page = analysis_page("a <b>", CLASSES, [*OBJECTS, object_row(1, "vessel <v>")], **ABOUT)
    assert "<v>" not in page
    assert "a <b>" not in page
    assert "vessel &lt;v&gt;" in page


def test_parts_without_content_are_left_out():
    page = Page(analysis_page("cell", CLASSES, [], settings={}))
    assert page.headings == ["Classes", "How it was measured"]
    far = [object_row(1)]
    assert "Distance to the membrane" not in Page(analysis_page("cell", CLASSES, far, settings={})).headings


def test_several_cells_are_averaged_and_listed():
    classes = [class_row(1, "mito", 0.10, 1), class_row(2, "mito", 0.20, 3), class_row(7, "mito", NAN, 0)]
    cells = [{"cell": n, "voxels": 10, "volume_um3": v} for n, v in ((1, 1.0), (2, 2.0), (7, 6.0))]
    page = Page(analysis_page("cells", classes, OBJECTS, settings={}, cells=cells))
    assert "15.00 ± 7.07 %" in page.text
    assert "3 cells, median 2 µm³" in page.text
    assert "Each cell (3)" in page.text
    assert "cell 7 –" in page.text
    assert "187,500" in page.text  # voxels of the three together


def test_only_the_largest_of_many_objects_are_listed():
    many = [object_row(number, volume=0.001 * number) for number in range(1, MAX_OBJECTS + 11)]
    page = analysis_page("cell", CLASSES, many, settings={})
    rows = re.findall(r"<td>mito</td>\s*<td class=\"number\">([\d,]+)</td>", page)
    assert rows == [str(number) for number in range(MAX_OBJECTS + 10, 10, -1)]
    assert f"The {MAX_OBJECTS} largest of {MAX_OBJECTS + 10}" in page


def test_the_page_asks_for_nothing_and_its_ids_are_unique():
    page = analysis_page("cell", CLASSES, OBJECTS, views=[rendering(), rendering(80)], **ABOUT)
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)
    ids = re.findall(r' id="([^"]*)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("value", [0.0, NAN])
def test_objects_without_volume_break_nothing(value):
    page = Page(analysis_page("cell", CLASSES, [object_row(1), object_row(2) | {"volume_um3": value}], settings={}))
    assert "mito (1)" in page.text
