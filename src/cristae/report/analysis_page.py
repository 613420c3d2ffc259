"""The page of an analysis: fractions of the cell, sizes, distances, and what it looks like, from its tables alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from cristae.analysis.render import Rendering
from cristae.report.distributions import Sample, histograms
from cristae.report.facts import rows_of
from cristae.report.page import Fact, Section, build_page, fold, render, table
from cristae.report.scores import Cell, Row
from cristae.report.views import views_markup

Rows = Sequence[Mapping[str, Any]]
"""Rows of a table, as numbers or as the text of a CSV file; empty and 'nan' are undefined."""
MAX_OBJECTS = 500
"""More objects are left to the file, the largest shown."""
MAX_CELLS = 200
_GREY = "#8c959f"


def analysis_page(
    name: str,
    classes_table: Rows,
    objects_table: Rows,
    *,
    settings: Mapping[str, Any],
    rules: Mapping[str, str] | None = None,
    cells: Rows = (),
    views: Sequence[Rendering] = (),
    colors: Mapping[str, str] | None = None,
) -> str:
    """Make the page.

    Args:
        name: What the page is called.
        classes_table: The rows of `classes.csv`: each class in each cell.
        objects_table: The rows of `objects.csv`.
        settings: What was measured and how, nested.
        rules: What the numbers mean, by column.
        cells: Rows with `cell`, `voxels` and `volume_um3`.
        views: Pictures of the surfaces.
        colors: '#rrggbb' by class name; classes without one are grey.
    """
    names = list(dict.fromkeys(str(row["class"]) for row in classes_table))
    shown = {one: (colors or {}).get(one, _GREY) for one in names}
    sections = [Section("View", views_markup(views, shown))] if views else []
    sections.append(Section("Classes", _classes(classes_table, objects_table, shown)))
    sizes = histograms(_samples(objects_table, "volume_um3", shown), axis="volume", unit="µm³", logarithmic=True)
    if sizes:
        sections.append(Section("Sizes of objects", _paragraph(_SIZES) + sizes))
    distances = _samples(objects_table, "distance_to_membrane_nm", shown)
    near = histograms(distances, axis="distance", unit="nm", logarithmic=False)
    if near:
        sections.append(Section("Distance to the membrane", _paragraph(_DISTANCES) + near))
    if objects_table:
        sections.append(Section("Objects", _objects(objects_table)))
    sections.append(Section("How it was measured", _how(settings, rules or {})))
    return build_page(f"Analysis {name}", sections, facts=_facts(classes_table, objects_table, cells))


_SIZES = (
    "How many objects have which volume, all classes on one axis. Pale: objects that reach the edge of the volume, "
    "which may continue outside. The dashed line is the median of the others."
)
_DISTANCES = (
    "From the voxel of an object that is nearest to the membrane. Pale: objects that reach the edge of the volume; "
    "the dashed line is the median of the others."
)


def _facts(classes_table: Rows, objects_table: Rows, cells: Rows) -> list[Fact]:
    facts = []
    if cells:
        volumes = [_number(row["volume_um3"]) for row in cells]
        note = "in the volume" if len(cells) == 1 else f"{len(cells)} cells, median {np.median(volumes):.4g} µm³"
        facts.append(Fact("Cell volume", f"{sum(volumes):.4g} µm³", note))
    cut = sum(_truth(row.get("touches_border")) for row in objects_table)
    note = f"{cut:,} reach the edge of the volume" if cut else ""
    facts.append(Fact("Objects", f"{len(objects_table):,}", note))
    classes = dict.fromkeys(str(row["class"]) for row in classes_table)
    facts.append(Fact("Classes", str(len(classes))))
    return facts


def _classes(classes_table: Rows, objects_table: Rows, colors: Mapping[str, str]) -> Markup:
    cells = list(dict.fromkeys(str(row["cell"]) for row in classes_table))
    rows = [_class_row(name, classes_table, objects_table, color, len(cells)) for name, color in colors.items()]
    share = "Fraction of the cell" if len(cells) == 1 else "Fraction of the cell, mean ± SD"
    columns = [share, "Volume (µm³)", "Voxels", "Objects", "Median (µm³)", "Mean (µm³)", "Surface (µm²)"]
    notes = ["Median and mean are of the volumes of all objects. A dash means undefined: there is nothing to measure."]
    if len(cells) > 1:
        notes.insert(0, f"Fractions are means over {len(cells)} cells; volumes, voxels, objects and surfaces are sums.")
    parts = [render("scores.html.j2", first="Class", columns=columns, rows=rows, notes=notes)]
    if len(cells) > 1:
        parts.append(fold(f"Each cell ({len(cells)})", _by_cell(classes_table, cells, list(colors))))
    return Markup("").join(parts)


def _class_row(name: str, classes_table: Rows, objects_table: Rows, color: str, n_cells: int) -> Row:
    own = [row for row in classes_table if str(row["class"]) == name]
    volumes = _column([row for row in objects_table if str(row["class"]) == name], "volume_um3")
    shares = _column(own, "fraction_of_cell")
    shares = shares[np.isfinite(shares)]
    mean = float(shares.mean()) if len(shares) else math.nan
    spread = f" ± {100 * shares.std(ddof=1):.2f}" if n_cells > 1 and len(shares) > 1 else ""
    text = "–" if math.isnan(mean) else f"{100 * mean:.2f}{spread} %"
    bar = None if math.isnan(mean) else round(100 * min(mean, 1), 1)
    median, average = (float(of(volumes)) if len(volumes) else math.nan for of in (np.median, np.mean))
    cells = (
        Cell(text, share=bar, hint=f"{mean:.6g}"),
        Cell(_text(_column(own, "volume_um3").sum())),
        Cell(f"{_column(own, 'voxels').sum():,.0f}"),
        Cell(f"{_column(own, 'objects').sum():,.0f}"),
        Cell(_text(median)),
        Cell(_text(average)),
        Cell(_text(_column(own, "surface_um2").sum())),
    )
    return Row(name, cells, color)


def _by_cell(classes_table: Rows, cells: Sequence[str], names: Sequence[str]) -> Markup:
    found = {(str(row["cell"]), str(row["class"])): _number(row["fraction_of_cell"]) for row in classes_table}
    rows = []
    for cell in cells[:MAX_CELLS]:
        shares = [found.get((cell, name), math.nan) for name in names]
        rows.append(Row(f"cell {cell}", tuple(_share(value) for value in shares)))
    notes = ["Fraction of the cell that each class takes."]
    if len(cells) > MAX_CELLS:
        notes.append(f"The first {MAX_CELLS} of {len(cells)} cells; the file has them all.")
    return render("scores.html.j2", first="Cell", columns=names, rows=rows, notes=notes)


def _share(value: float) -> Cell:
    return Cell("–") if math.isnan(value) else Cell(f"{100 * value:.2f} %", share=round(100 * min(value, 1), 1))


def _samples(objects_table: Rows, column: str, colors: Mapping[str, str]) -> dict[str, Sample]:
    samples = {}
    for name, color in colors.items():
        own = [row for row in objects_table if str(row["class"]) == name]
        values = _column(own, column)
        pale = np.array([_truth(row.get("touches_border")) for row in own], bool)
        # Volumes are above 0; distances of 0 are real.
        there = np.isfinite(values) & ((values > 0) | (column != "volume_um3"))
        samples[name] = Sample(values[there], pale[there], color)
    return samples


_OBJECT_COLUMNS = {
    "Class": "class",
    "Object": "object",
    "Cell": "cell",
    "Voxels": "voxels",
    "Volume (µm³)": "volume_um3",
    "Surface (µm²)": "surface_um2",
    "Diameter (nm)": "equivalent_diameter_nm",
    "z (nm)": "z_nm",
    "y (nm)": "y_nm",
    "x (nm)": "x_nm",
    "To the membrane (nm)": "distance_to_membrane_nm",
}


def _objects(objects_table: Rows) -> Markup:
    ordered = sorted(objects_table, key=lambda row: -_number(row["voxels"]))[:MAX_OBJECTS]
    rows = []
    for row in ordered:
        shown = {title: _plain(row.get(column)) for title, column in _OBJECT_COLUMNS.items()}
        rows.append(shown | {"At the edge": "yes" if _truth(row.get("touches_border")) else ""})
    count = len(objects_table)
    some = f"The {MAX_OBJECTS} largest of {count:,}" if count > MAX_OBJECTS else f"All {count:,}"
    numbers = [title for title, column in _OBJECT_COLUMNS.items() if column != "class"]
    caption = f"{some} objects, the largest first; the diameter is that of the ball of the same volume."
    return fold(f"{some} objects", table(rows, numbers=numbers, caption=caption))


def _how(settings: Mapping[str, Any], rules: Mapping[str, str]) -> Markup:
    parts = []
    if rules:
        names = {key: Markup('<span style="white-space:nowrap">{}</span>').format(key) for key in rules}
        parts.append(table([{"Number": names[key], "Rule": rule} for key, rule in rules.items()]))
    if settings:
        parts.append(fold("Settings", table(rows_of(settings))))
    return Markup("").join(parts)


def _paragraph(text: str) -> Markup:
    return Markup('<p class="note">{}</p>').format(text)


def _column(rows: Rows, name: str) -> np.ndarray:
    return np.array([_number(row.get(name)) for row in rows], float)


def _number(value: Any) -> float:
    return math.nan if value is None or value == "" else float(value)


def _truth(value: Any) -> bool:
    return str(value).lower() in ("true", "1")


def _text(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4g}"


def _plain(value: Any) -> str:
    """Whole numbers and names as they are, others with five digits."""
    try:
        number = _number(value)
    except ValueError:
        return str(value)
    if math.isnan(number):
        return "–"
    return f"{number:,.0f}" if number.is_integer() else f"{number:.5g}"
