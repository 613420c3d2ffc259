"""The page of feature correlations, made from the files that `FeatureCorrelation.write` leaves."""

from __future__ import annotations

import base64
import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from cristae.data.files import write_bytes, write_text
from cristae.errors import MissingFileError, ScoreError
from cristae.report.feature_figures import (
    draw_contours,
    draw_distributions,
    draw_map,
    draw_matrix,
    draw_sheet,
    figure_files,
)
from cristae.report.matrices import matrix_markup
from cristae.report.page import Fact, Section, build_page, fold, table

PAGE = "report.html"
_BINS = 200
_MOST_CELLS = 40
"""Blocks of which there is a table of each with each; with more, the figure is all."""


@dataclass(frozen=True, eq=False)
class FeatureFiles:
    """What a folder of feature correlations holds."""

    facts: Mapping[str, Any]
    histograms: np.ndarray
    """(B, B, bins) pairs by r."""
    picture: np.ndarray
    sheets: tuple[np.ndarray, ...]

    @property
    def blocks(self) -> Sequence[Mapping[str, Any]]:
        """A row for each block."""
        rows: Sequence[Mapping[str, Any]] = self.facts["blocks"]
        return rows

    @cached_property
    def names(self) -> list[str]:
        """Of blocks; with the network where there are several."""
        several = len(self.networks) > 1
        return [f"{row['network']} {row['block']}" if several else row["block"] for row in self.blocks]

    @cached_property
    def networks(self) -> dict[str, list[int]]:
        """The numbers of the blocks of each network."""
        found: dict[str, list[int]] = {}
        for number, row in enumerate(self.blocks):
            found.setdefault(row["network"], []).append(number)
        return found

    def matrix(self, name: str, back: str | None = None) -> np.ndarray:
        """(B, B) a column of the rows of pairs; `back` is that of the second block with the first."""
        places = {(row["network"], row["block"]): number for number, row in enumerate(self.blocks)}
        values = np.full((len(places), len(places)), np.nan)
        for row in self.facts["pairs"]:
            a, b = (places[row[f"network_{end}"], row[f"block_{end}"]] for end in "ab")
            values[b, a] = math.nan if row[back or name] is None else row[back or name]
            values[a, b] = math.nan if row[name] is None else row[name]
        return values


def read_features(folder: Path) -> FeatureFiles:
    """Read what `FeatureCorrelation.write` wrote.

    Raises:
        MissingFileError: The folder holds no correlations of features.
        ScoreError: A file of it is damaged.
    """
    if not (folder / "features.json").is_file():
        raise MissingFileError(f"{folder}: holds no correlations of features; `cristae correlate` makes such a folder")
    try:
        facts = json.loads((folder / "features.json").read_bytes())
        places = {(row["network"], row["block"]): number for number, row in enumerate(facts["blocks"])}
        histograms = np.zeros((len(places), len(places), _BINS), np.int64)
        with (folder / "distributions.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                a, b = (places[row[f"network_{end}"], row[f"block_{end}"]] for end in "ab")
                place = round((float(row["low"]) + 1) * _BINS / 2)
                histograms[a, b, place] = histograms[b, a, place] = int(row["pairs"])
        picture = np.load(folder / "map.npy", allow_pickle=False)
        with np.load(folder / "sheets.npz", allow_pickle=False) as stored:
            sheets = tuple(stored[f"block_{number}"] for number in range(len(places)))
    except (OSError, ValueError, KeyError, IndexError, TypeError, EOFError) as error:
        raise ScoreError(f"{folder}: the correlations of features are damaged ({error}); make them again") from error
    return FeatureFiles(facts, histograms, picture, sheets)


def write_features_page(folder: Path, *, title: str) -> None:
    """Draw the figures (`figures/`, SVG and PNG), the sheets of channels (`sheets/`) and the page of a folder.

    Raises:
        MissingFileError: The folder holds no correlations of features.
        ScoreError: A file of it is damaged.
        StorageError: The disk is full or the place may not be written.
    """
    files = read_features(folder)
    drawn = {
        "distributions": figure_files(
            draw_distributions(files.histograms, files.networks, [row["block"] for row in files.blocks])
        ),
        "contours": figure_files(draw_contours(files.histograms, files.networks, files.names)),
        "between-blocks": figure_files(draw_matrix(files.matrix("mean_abs_r"), files.names)),
        "map": figure_files(draw_map(files.picture, files.facts["cell_starts"], files.names)),
    }
    for name, kinds in drawn.items():
        for kind, content in kinds.items():
            write_bytes(folder / "figures" / f"{name}.{kind}", content)
    sheets = [draw_sheet(sheet) for sheet in files.sheets]
    for number, sheet in enumerate(sheets):
        write_bytes(folder / "sheets" / f"{number + 1:02d}-{files.blocks[number]['block']}.png", sheet)
    write_text(folder / PAGE, features_page(title, files, {n: kinds["png"] for n, kinds in drawn.items()}, sheets))


def features_page(title: str, files: FeatureFiles, figures: Mapping[str, bytes], sheets: Sequence[bytes]) -> str:
    """The page: blocks, distributions, blocks against each other, the whole map, redundancy, pictures of channels."""
    facts = files.facts
    networks, places = len(files.networks), len(facts["places"])
    lead = (
        f"{facts['channels']:,} channels of {networks} network{'s' * (networks > 1)} in {len(files.blocks)} blocks, "
        f"compared over {facts['pixels']:,} grid cells of {places} slice{'s' * (places > 1)}. "
        f"{_constant(facts['constant'])}"
    )
    sections = [
        Section("Redundancy", _redundancy(files)),
        Section("Within blocks", _picture(figures["distributions"], "Distributions of r within each block")),
        Section("Between blocks", _between(files, figures)),
        Section("All channels", _map(files, figures["map"])),
        Section("Channels", _sheets(files, sheets)),
        Section("How it was made", _method(facts)),
    ]
    return build_page(f"Features: {title}", sections, lead=lead, facts=_large(files))


def _constant(count: int) -> str:
    if not count:
        return "Every channel varies."
    return f"{count:,} of them are constant here; they have no correlations and are left out."


def _large(files: FeatureFiles) -> list[Fact]:
    rows = files.blocks
    kept, channels = sum(row["kept"] for row in rows), files.facts["channels"]
    within = [row for row in rows if row["mean_abs_r"] is not None]
    facts = [
        Fact("Channels", f"{channels:,}", f"{files.facts['constant']:,} constant"),
        Fact("Would stand for all", f"{kept:,}", f"{100 * kept / channels:.0f} % of the channels"),
    ]
    if within:
        most = max(within, key=lambda row: row["mean_abs_r"])
        where = f"{most['network']} {most['block']}" if len(files.networks) > 1 else most["block"]
        facts.append(Fact("Most alike", where, f"mean |r| {most['mean_abs_r']:.2f}"))
    return facts


def _redundancy(files: FeatureFiles) -> Markup:
    close = files.facts["options"]["close"]
    note = (
        "Kept: a small set of channels, by a greedy choice, such that every other channel of the block that varies has "
        f"|r| of at least {close:g} with one of them. What is not kept repeats it, on these slices; constant channels "
        "are not kept either. It is a hint for a narrower network, not a proof that nothing would be lost."
    )
    rows = [
        {
            **({"Network": row["network"]} if len(files.networks) > 1 else {}),
            "Block": row["block"],
            "Stage": row["stage"],
            "Scale": row["scale"],
            "Channels": f"{row['channels']:,}",
            "Constant": f"{row['constant']:,}",
            "Mean |r|": _number(row["mean_abs_r"]),
            "Mean r": _number(row["mean_r"]),
            "Median of largest |r|": _number(row["median_best_r"]),
            f"With |r| ≥ {close:g}": f"{row['close']:,}",
            "Kept": f"{row['kept']:,}",
            "Share": f"{100 * row['kept_share']:.0f} %",
        }
        for row in files.blocks
    ]
    texts = 3 if len(files.networks) > 1 else 2
    return Markup('<p class="note">{}</p>').format(note) + table(rows, numbers=list(rows[0])[texts:])


def _between(files: FeatureFiles, figures: Mapping[str, bytes]) -> Markup:
    note = (
        "How well a channel of the row's block is found again in the column's: the mean, over the row's channels, of "
        "the largest |r| with a channel there, for a block with itself with another channel."
    )
    parts = [_picture(figures["between-blocks"], "Mean |r| between blocks", most=52)]
    if len(files.names) <= _MOST_CELLS:
        best = files.matrix("best_match_of_a_in_b", "best_match_of_b_in_a")
        parts += [
            fold("Mean |r| in numbers", matrix_markup(files.matrix("mean_abs_r"), files.names, kind="scores")),
            fold("Best matches", Markup('<p class="note">{}</p>').format(note)
                 + matrix_markup(best, files.names, kind="scores")),
        ]  # fmt: skip
    parts.append(_picture(figures["contours"], "Contours of the distributions of r between each two blocks"))
    return Markup("").join(parts)


def _map(files: FeatureFiles, picture: bytes) -> Markup:
    cells = files.facts["cell_starts"][-1]
    each = math.ceil(files.facts["channels"] / 600)
    what = "is a channel" if each == 1 else f"stands for up to {each} channels that follow each other"
    note = (
        f"Each of the {cells} rows and columns {what}; colours are means of |r|, without that of a channel with itself."
    )
    return Markup('<p class="note">{}</p>').format(note) + _picture(picture, "Map of |r| between all channels", most=75)


def _sheets(files: FeatureFiles, sheets: Sequence[bytes]) -> Markup:
    note = (
        "Of each block the channels that stand for most others, first the one that stands for most, on the first "
        "slice: black is the channel's smallest value there, white its largest."
    )
    parts = [Markup('<p class="note">{}</p>').format(note)]
    for number, (name, sheet) in enumerate(zip(files.names, sheets, strict=True)):
        count = len(files.sheets[number])
        if count:
            shown = (
                f"{name} ({files.blocks[number]['stage']}), {count} of {files.blocks[number]['kept']:,} kept channels"
            )
            parts.append(fold(shown, _picture(sheet, f"Channels of {name}", pixelated=True)))
    return Markup("").join(parts)


def _method(facts: Mapping[str, Any]) -> Markup:
    size, features = facts["options"]["size"], facts["options"]["features"]
    which = (
        "the output of every convolution, after the normalisation and activation that follow it"
        if features == "convolutions"
        else "the output of every layer that gives an image"
    )
    text = (
        f"Features are {which}, averaged over {size} x {size} cells of the window of each slice; r is Pearson's, "
        f"over all cells of all slices. Of a sample computed in float64, too, the largest difference was "
        f"{facts['largest_error']:.1e}. Neighbouring cells are alike, so that large |r| between few large features "
        "need not mean much."
    )
    runs = [{"Network": name, "Run": run} for name, run in facts["runs"].items()]
    places = [{"Image": one["image"], "Voxels looked at": one["box"]} for one in facts["places"]]
    return Markup("<p>{}</p>").format(text) + table(runs) + table(places)


def _picture(content: bytes, label: str, *, most: int | None = None, pixelated: bool = False) -> Markup:
    """A picture inside the page, at most so many rem wide."""
    look = f"max-width:{'100%' if most is None else f'min(100%, {most}rem)'};height:auto"
    if pixelated:
        look += ";image-rendering:pixelated"
    source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    return Markup('<p style="max-width:none"><img src="{}" alt="{}" style="{}"></p>').format(source, label, look)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
