"""What is known of a network's features, and the files that it is written to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from cristae.data.files import write_bytes, write_json, write_text
from cristae.evaluation.features.options import FeatureOptions
from cristae.evaluation.features.store import FeatureStore
from cristae.evaluation.features.tile import BINS
from cristae.evaluation.features.tiles import ChannelCorrelations
from cristae.inference.feature_maps import FeatureBlock

FACTS = "features.json"
PICTURE = "map.npy"
SHEETS = "sheets.npz"
SHEET_CHANNELS = 32
"""Of each block, those that stand for most, are shown as pictures."""


@dataclass(frozen=True, eq=False)
class FeatureCorrelation:
    """The result of `correlate`: Pearson correlations between channels of networks, within and between blocks.

    Channels are numbered over all blocks in their order. Constant ones have no correlations: they are counted, and are
    left out of everything else.
    """

    path: Path
    """The folder."""
    runs: Mapping[str, str]
    """The run folder of each network, by the name that blocks have."""
    places: tuple[Mapping[str, str], ...]
    """The image and the box, on the grid that networks work on, of each slice that was looked at."""
    options: FeatureOptions
    blocks: tuple[FeatureBlock, ...]
    found: ChannelCorrelations
    sheets: tuple[np.ndarray, ...] = ()
    """Of each block uint8 (K, size, size): the first K channels that are kept, at the first place, from black (their
    smallest value) to white."""

    @property
    def bounds(self) -> tuple[int, ...]:
        """The first channel of each block, and the number of all."""
        return bounds_of(self.blocks)

    def mean_abs(self) -> np.ndarray:
        """(B, B) means of |r| over pairs of different channels; NaN where there are none."""
        return _means(self.found.sums[..., 1], self.found.pairs)

    def mean(self) -> np.ndarray:
        """(B, B) means of r, likewise."""
        return _means(self.found.sums[..., 0], self.found.pairs)

    def best_match(self) -> np.ndarray:
        """(B, B) how well a channel of the row's block is found again in the column's: the mean of its largest |r|."""
        sums = np.full((len(self.blocks), len(self.blocks)), np.nan)
        for row, (start, stop) in enumerate(pairwise(self.bounds)):
            best = self.found.best[start:stop]
            known = ~np.isnan(best)
            sums[row] = _means(np.where(known, best, 0).sum(axis=0, dtype=np.float64), known.sum(axis=0))
        return sums

    def block_rows(self) -> list[dict[str, Any]]:
        """A row for each block: its channels, how alike they are, and how many of them would do."""
        mean, mean_abs = self.mean(), self.mean_abs()
        return [self._block_row(at, mean[at, at], mean_abs[at, at]) for at in range(len(self.blocks))]

    def _block_row(self, at: int, mean: float, mean_abs: float) -> dict[str, Any]:
        block, own = self.blocks[at], slice(self.bounds[at], self.bounds[at + 1])
        best, alive = self.found.best[own, at], int(self.found.alive[own].sum())
        known = best[~np.isnan(best)]
        kept = len(self.found.kept[at])
        return {
            "network": block.network,
            "block": block.name,
            "stage": block.stage,
            "scale": "x".join(f"{one:g}" for one in block.scale),
            "layers": len(block.layers),
            "channels": block.channels,
            "constant": block.channels - alive,
            "pairs": int(self.found.pairs[at, at]),
            "mean_r": float(mean),
            "mean_abs_r": float(mean_abs),
            "median_best_r": float(np.median(known)) if known.size else math.nan,
            "close": int((known >= np.float32(self.options.close)).sum()),
            "kept": kept,
            "kept_share": kept / block.channels,
        }

    def pair_rows(self) -> list[dict[str, Any]]:
        """A row for each two blocks, and for each block with itself."""
        mean, mean_abs, best = self.mean(), self.mean_abs(), self.best_match()
        rows = []
        for a, one in enumerate(self.blocks):
            for b in range(a, len(self.blocks)):
                other = self.blocks[b]
                rows.append(
                    {
                        "network_a": one.network,
                        "block_a": one.name,
                        "network_b": other.network,
                        "block_b": other.name,
                        "pairs": int(self.found.pairs[a, b]),
                        "mean_r": float(mean[a, b]),
                        "mean_abs_r": float(mean_abs[a, b]),
                        "best_match_of_a_in_b": float(best[a, b]),
                        "best_match_of_b_in_a": float(best[b, a]),
                    }
                )
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a JSON file, without what stands in the other files; what is undefined is None."""
        return {
            "runs": dict(self.runs),
            "places": [dict(place) for place in self.places],
            "options": vars(self.options) | {"blocks": self.options.blocks and list(self.options.blocks)},
            "pixels": len(self.places) * self.options.size**2,
            "channels": self.bounds[-1],
            "constant": int((~self.found.alive).sum()),
            "largest_error": self.found.largest_error,
            "blocks": [_plain(row) for row in self.block_rows()],
            "pairs": [_plain(row) for row in self.pair_rows()],
            "cell_starts": [int(one) for one in self.found.cell_starts],
        }

    def write(self, folder: str | Path) -> None:
        """Write tables (CSV), all facts (JSON), the picture of the whole map and the channels' pictures to a folder.

        Raises:
            StorageError: The disk is full or the place may not be written.
        """
        folder = Path(folder)
        write_text(folder / "blocks.csv", csv_text(self.block_rows()))
        write_text(folder / "pairs.csv", csv_text(self.pair_rows()))
        write_text(folder / "distributions.csv", csv_text(self._distribution_rows()))
        write_text(folder / "channels.csv", csv_text(self._channel_rows()))
        write_bytes(folder / PICTURE, _npy(self.found.picture))
        write_bytes(folder / SHEETS, _npz({f"block_{at}": sheet for at, sheet in enumerate(self.sheets)}))
        write_json(folder / FACTS, self.to_dict())

    def _distribution_rows(self) -> Iterable[dict[str, Any]]:
        edges = np.linspace(-1, 1, BINS + 1).round(10).tolist()
        for a, one in enumerate(self.blocks):
            for b in range(a, len(self.blocks)):
                other, counts = self.blocks[b], self.found.histograms[a, b]
                names = {"network_a": one.network, "block_a": one.name, "network_b": other.network}
                for at in np.flatnonzero(counts):
                    bins = {"low": edges[at], "high": edges[at + 1], "pairs": int(counts[at])}
                    yield names | {"block_b": other.name} | bins

    def _channel_rows(self) -> Iterable[dict[str, Any]]:
        bounds = self.bounds
        for at, block in enumerate(self.blocks):
            stands_for = {one.channel: one.stands_for for one in self.found.kept[at]}
            inside = 0
            for layer in block.layers:
                for channel in range(layer.channels):
                    number = bounds[at] + inside
                    yield {
                        "channel": number,
                        "network": block.network,
                        "block": block.name,
                        "layer": layer.name,
                        "channel_of_layer": channel,
                        "constant": int(not self.found.alive[number]),
                        "best_r_in_block": float(self.found.best[number, at]),
                        "kept": int(inside in stands_for),
                        "stands_for": stands_for.get(inside, 0),
                    }
                    inside += 1


def bounds_of(blocks: Sequence[FeatureBlock]) -> tuple[int, ...]:
    """The first channel of each block, and the number of all."""
    return (0, *np.cumsum([block.channels for block in blocks]).tolist())


def with_sheets(result: FeatureCorrelation, store: FeatureStore) -> FeatureCorrelation:
    """The result with pictures of the channels that stand for most of their block."""
    size = result.options.size
    sheets = []
    for at, kept in enumerate(result.found.kept):
        numbers = [result.bounds[at] + one.channel for one in kept[:SHEET_CHANNELS]]
        shown = [_stretched(store.read(0, number, number + 1).reshape(size, size)) for number in numbers]
        sheets.append(np.array(shown, np.uint8).reshape(-1, size, size))
    return replace(result, sheets=tuple(sheets))


def csv_text(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows as CSV with a header; what is undefined is an empty cell."""
    text = io.StringIO()
    writer: csv.DictWriter[str] | None = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(text, list(row), lineterminator="\n")
            writer.writeheader()
        writer.writerow({name: "" if value is None else value for name, value in _plain(row).items()})
    return text.getvalue()


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {n: None if isinstance(v, float) and math.isnan(v) else v for n, v in row.items()}


def _means(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    result = np.full(np.shape(sums), np.nan)
    np.divide(sums, counts, out=result, where=np.asarray(counts) > 0)
    return result


def _stretched(values: np.ndarray) -> np.ndarray:
    low, high = float(values.min()), float(values.max())
    return np.round((values.astype(np.float64) - low) * (255 / (high - low) if high > low else 0)).astype(np.uint8)


def _npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=False)
    return buffer.getvalue()


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()
