"""Whether labels lie on their image, or on another one: mirrored, transposed, turned or moved.

Labels are compared with the image as they are and in all ways that keep the shape, each moved by many voxels. Where one
way explains them clearly better than all others, that is how they belong. Nothing needs to be known of the structure;
where no way stands out, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from scipy import fft, stats

from cristae.data.box import Box, Triple
from cristae.data.label_fit import (
    FEATURES_REACH,
    LabelFit,
    add_window,
    features_of,
    marks_of,
    outlines,
    standardized,
)
from cristae.data.turned import Turn, symmetries, turned
from cristae.data.volume import Volume

_PLANES, _CANDIDATES = 6, 18
"""So many slices are compared, those with the most outlines among so many at even distances."""
_COARSE_SIDE = 512
"""Slices are compared in pixels that make them about so wide."""
_COARSE_REACH = 4
"""The labels are moved by up to this part of the slice in all directions."""
_SLICES_OFF = 5
"""The labels are moved by up to so many slices."""
_CLEAR = 1.5
"""Times as much as in every other way the labels must be explained for one way to stand out."""
_LEAST = 0.004
"""No way stands out that explains less of the labels' variance than this."""
_WINDOW, _LEAST_WINDOW, _WINDOWS = 256, 32, 24
"""Pixels along y and x of parts of slices that are judged by themselves, and how many parts are."""
_FEW_PLANES = 3
"""Fewer slices are cut into four parts along y and x, others into two at least: too few parts agree by chance."""
_LEAST_OUTLINES = 40
"""Voxels of outlines that a window must have to have a say."""
_HABIT_VOX = 1.5
"""People draw a little to one side; labels are called moved from this distance on."""
_CHANCE = 0.01
"""Windows that choose between two ways by chance agree as much no more often than this (Wilcoxon's signed ranks)."""


@dataclass(frozen=True)
class Alignment:
    """How labels lie on an image."""

    turn: Turn | None
    """What brings the labels where the image explains them best; `Turn()` where they lie right, None where the data
    cannot tell."""
    slices: int
    """How many were looked at."""
    explained: float = 0.0
    """Share of the labels' variance that the image explains as they are, from 0 to 1."""
    explained_best: float = 0.0
    """The same after the turn, or the best that was found."""
    relation: np.ndarray | None = None
    """(K, F) correlations of classes and outlines with features of the image, where the labels lie right."""


def align(volume: Volume, classes: Sequence[int], *, exclusive: bool, slices: Sequence[int] | None = None) -> Alignment:
    """Compare the labels of a volume with its image in all ways.

    Args:
        volume: With labels.
        classes: Which classes to compare: ids of exclusive ones, otherwise positions of the masks.
        exclusive: Whether a voxel has one class only.
        slices: Slices that may be looked at; None is every labelled one.

    Raises:
        CristaeError: Labels or image cannot be read.
    """
    labelled = volume.labelled_slices
    there = range(volume.image.shape[0]) if labelled is None else labelled
    chosen = there if slices is None else sorted({*there} & {*slices})
    return _Comparison(volume, tuple(classes), exclusive, tuple(chosen)).judge()


@dataclass(frozen=True)
class _Window:
    z: int
    y: int
    x: int
    shape: tuple[int, int]

    def box(self, grown: tuple[int, int] = (0, 0)) -> Box:
        (dy, dx), (h, w) = grown, self.shape
        return Box((self.z, self.y - dy, self.x - dx), (self.z + 1, self.y + h + dy, self.x + w + dx))


@dataclass(frozen=True, eq=False)
class _Comparison:
    """One volume's labels against its image."""

    volume: Volume
    classes: tuple[int, ...]
    exclusive: bool
    slices: tuple[int, ...]
    small: dict[tuple[Turn, int], np.ndarray] = field(default_factory=dict)
    """Masks of slices in coarse pixels, by turn and slice."""

    @property
    def shape(self) -> Triple:
        return self.volume.image.shape

    @property
    def dense(self) -> bool:
        """Whether labels can be moved from slice to slice: where all have some."""
        return self.volume.labelled_slices is None and self.shape[0] > 1

    @property
    def step(self) -> int:
        """Voxels (y, x) along a coarse pixel."""
        return max(1, round(max(self.shape[1:]) / _COARSE_SIDE))

    @property
    def reach(self) -> tuple[int, int]:
        """Coarse pixels that labels are moved by at most."""
        height, width = (side // self.step // _COARSE_REACH for side in self.shape[1:])
        return height, width

    @cached_property
    def planes(self) -> tuple[int, ...]:
        """The slices that are compared."""
        there: Sequence[int] = self.slices
        if len(there) > _CANDIDATES:
            there = [there[i] for i in np.linspace(0, len(there) - 1, _CANDIDATES).round().astype(int)]
        amount = {z: int(outlines(self.coarse(Turn(), z)).sum()) for z in there}
        most = sorted((z for z in there if amount[z]), key=lambda z: -amount[z])[:_PLANES]
        return tuple(sorted(most))

    def judge(self) -> Alignment:
        """The way that stands out, refined to voxels."""
        if not self.planes or min(self.reach) < 4:
            return Alignment(None, len(self.planes))
        best, scores = self.compare()
        given = scores[Turn().axes, Turn().mirrored]
        way = (best.axes, best.mirrored)
        rival = max((score for other, score in scores.items() if other != way), default=0.0)
        found = scores[way]
        if found < _LEAST or found < _CLEAR * rival:
            return Alignment(None, len(self.planes), given, found)
        return self.refine(best, given, found)

    def compare(self) -> tuple[Turn, dict[tuple[Triple, tuple[bool, bool, bool]], float]]:
        """The best way of all, and how well each way to turn explains the labels at its best displacement."""
        spectra, covariance = [], np.zeros(())
        for z in self.planes:
            features = standardized(features_of(self.coarse_image(z)))
            flat = features.reshape(len(features), -1)
            covariance = covariance + flat @ flat.T
            spectra.append(np.conj(fft.rfft2(features)))
        scores: dict[tuple[Triple, tuple[bool, bool, bool]], float] = {}
        best, most = Turn(), -1.0
        for turn in self.ways():
            explained = self.explained(turn, spectra, covariance)
            place = np.unravel_index(int(explained.argmax()), explained.shape)
            score = float(explained[place])
            scores[turn.axes, turn.mirrored] = max(score, scores.get((turn.axes, turn.mirrored), 0.0))
            if score > most:
                y, x = (int(p - r) * self.step for p, r in zip(place, self.reach, strict=True))
                best, most = replace(turn, shift=(turn.shift[0], y, x)), score
        return best, scores

    def ways(self) -> Iterator[Turn]:
        """Ways to turn the labels, and slices to move them by."""
        size = self.volume.voxel_size_nm
        cubes = size is None or max(size) <= 1.2 * min(size)
        for turn in symmetries(self.shape, across_slices=cubes and self.dense):
            if self.dense or not turn.mirrored[0]:
                yield turn
        for steps in range(1, min(_SLICES_OFF, self.shape[0] // 4) + 1 if self.dense else 0):
            yield Turn(shift=(steps, 0, 0))
            yield Turn(shift=(-steps, 0, 0))

    def explained(self, turn: Turn, spectra: Sequence[np.ndarray], covariance: np.ndarray) -> np.ndarray:
        """(2 reach + 1, 2 reach + 1) share that is explained, by displacement (y, x) in coarse pixels."""
        crossed, variance, shape = np.zeros(()), np.zeros(()), (0, 0)
        for z, spectrum in zip(self.planes, spectra, strict=True):
            marks = marks_of(self.coarse(turn, z), self.coarse_valid(turn, z))
            shape = (marks.shape[1], marks.shape[2])
            crossed = crossed + spectrum[None] * fft.rfft2(marks)[:, None]
            variance = variance + (marks**2).sum((1, 2), dtype=np.float64)
        found = fft.irfft2(crossed, s=shape)
        (ry, rx) = self.reach
        around = np.roll(found, (ry, rx), (-2, -1))[..., : 2 * ry + 1, : 2 * rx + 1][..., ::-1, ::-1]
        return LabelFit(covariance, around, variance).explained()

    def refine(self, best: Turn, given: float, found: float) -> Alignment:
        """The displacement to the voxel, and whether windows agree that it is better than what is given."""
        windows = self.windows(best)
        moved, fit, place = self.in_plane(best, windows)
        moved = self.across(moved, windows)
        y, x = (
            step if abs(exact) >= _HABIT_VOX else 0
            for step, exact in zip(moved.shift[1:], self.subvoxel(moved, fit, place), strict=True)
        )
        moved = replace(moved, shift=(moved.shift[0], y, x))
        if moved.moves_nothing:
            return Alignment(moved, len(self.planes), found, found, fit.relation(place))
        steps = abs(moved.shift[0])
        inner = [window for window in windows if steps <= window.z < self.shape[0] - steps]
        if not self.agree(moved, Turn(), inner):
            return Alignment(None, len(self.planes), given, found)
        before, after = (float(np.mean([self.fit(turn, window) for window in inner])) for turn in (Turn(), moved))
        return Alignment(moved, len(self.planes), before, after)

    def in_plane(self, turn: Turn, windows: Sequence[_Window]) -> tuple[Turn, LabelFit, tuple[int, int]]:
        """The turn with the best displacement around its own, what it follows from, and its place there."""
        reach = 2 * self.step + 4
        fit = LabelFit()
        for window in windows:
            masks, valid = self.labels(turn, window, (reach, reach))
            add_window(fit, self.features(window), marks_of(masks, valid), (reach, reach))
        explained = fit.explained()
        y, x = (int(place) for place in np.unravel_index(int(explained.argmax()), explained.shape))
        z, dy, dx = turn.shift
        return replace(turn, shift=(z, dy + y - reach, dx + x - reach)), fit, (y, x)

    def subvoxel(self, turn: Turn, fit: LabelFit, place: tuple[int, int]) -> tuple[float, float]:
        """The displacement (y, x) with the fraction at which a parabola through the neighbours is highest."""
        explained, (y, x) = fit.explained(), place
        return (
            turn.shift[1] + _vertex(explained[max(0, y - 1) : y + 2, x]),
            turn.shift[2] + _vertex(explained[y, max(0, x - 1) : x + 2]),
        )

    def across(self, turn: Turn, windows: Sequence[_Window]) -> Turn:
        """The turn with the slices by which labels fit best, where windows agree on another number."""
        if not self.dense:
            return turn
        steps = min(2, (self.shape[0] - 1) // 2)
        z, y, x = turn.shift
        inner = [window for window in windows if steps <= window.z - z < self.shape[0] - steps]
        ways = [replace(turn, shift=(z + step, y, x)) for step in range(-steps, steps + 1)]
        means = [float(np.mean([self.fit(way, window) for window in inner] or [0.0])) for way in ways]
        best = ways[int(np.argmax(means))]
        return best if best != turn and self.agree(best, turn, inner) else turn

    def agree(self, first: Turn, second: Turn, windows: Sequence[_Window]) -> bool:
        """Whether so many windows fit the first way better than the second that it is no chance."""
        better = [self.fit(first, window) - self.fit(second, window) for window in windows]
        return any(better) and bool(stats.wilcoxon(better, alternative="greater").pvalue <= _CHANCE)

    def fit(self, turn: Turn, window: _Window) -> float:
        """The share of the turned labels that a window of the image explains."""
        masks, valid = self.labels(turn, window, (0, 0))
        fit = LabelFit()
        add_window(fit, self.features(window), marks_of(masks, valid), (0, 0))
        return float(fit.explained()[0, 0])

    def windows(self, turn: Turn) -> tuple[_Window, ...]:
        """The windows with the most outlines of the turned labels, spread over the slices that are compared."""
        cuts = 4 if len(self.planes) < _FEW_PLANES else 2
        height, width = (min(_WINDOW, max(_LEAST_WINDOW, side // cuts), side) for side in self.shape[1:])
        shape = (height, width)
        found = []
        for z in self.planes:
            lines = outlines(self.coarse(turn, z))
            lines = np.roll(lines, [step // self.step for step in turn.shift[1:]], (0, 1))
            for y in _starts(self.shape[1], shape[0]):
                for x in _starts(self.shape[2], shape[1]):
                    (top, left), (h, w) = (y // self.step, x // self.step), (n // self.step for n in shape)
                    amount = int(lines[top : top + h, left : left + w].sum()) * self.step
                    found.append((amount, _Window(z, y, x, shape)))
        full = sorted((one for one in found if one[0] >= _LEAST_OUTLINES), key=lambda one: -one[0])
        return tuple(window for _, window in full[:_WINDOWS])

    def features(self, window: _Window) -> np.ndarray:
        """(F, Y, X) of a window."""
        key = (window.z, window.y, window.x)
        if key not in self._features:
            whole = Box.of_shape(self.shape)
            wide = window.box((FEATURES_REACH, FEATURES_REACH)).intersect(whole)
            inside = window.box().relative_to(wide.start).slices[1:]
            self._features[key] = standardized(features_of(self.volume.image.read(wide)[0])[:, *inside])
        return self._features[key]

    @cached_property
    def _features(self) -> dict[tuple[int, int, int], np.ndarray]:
        return {}

    def labels(self, turn: Turn, window: _Window, grown: tuple[int, int]) -> tuple[np.ndarray, np.ndarray | None]:
        """Masks (K, Y, X) and validity (Y, X) of the turned labels in a window that is grown, repeated at edges."""
        box = window.box(grown)
        inside = box.intersect(Box.of_shape(self.shape))
        around = [(a - b, c - d) for a, b, c, d in zip(inside.start, box.start, box.stop, inside.stop, strict=True)][1:]
        masks = np.stack([np.pad(mask, around, mode="edge") for mask in self.masks(turn, inside)])
        if self.volume.valid is None:
            return masks, None
        return masks, np.pad(turned(self.volume.valid, turn).read(inside)[0] != 0, around)

    def masks(self, turn: Turn, box: Box) -> np.ndarray:
        """(K, Y, X) of the classes in a box of one slice of the turned labels."""
        labels = self.volume.labels
        if self.exclusive:
            ids = turned(labels[0], turn).read(box)[0]
            return np.stack([ids == number for number in self.classes])
        return np.stack([turned(labels[place], turn).read(box)[0] != 0 for place in self.classes])

    def coarse(self, turn: Turn, z: int) -> np.ndarray:
        """(K, Y, X) masks of a slice of the turned labels in coarse pixels."""
        in_place = turn.axes[0] == 0
        source = z - turn.shift[0] if in_place else z
        source = min(max(source, 0), self.shape[0] - 1)
        source = self.shape[0] - 1 - source if in_place and turn.mirrored[0] else source
        stored = Turn() if in_place else turn
        if (stored, source) not in self.small:
            plane = Box((source, 0, 0), (source + 1, *self.shape[1:]))
            self.small[stored, source] = _thinned(self.masks(stored, plane), self.step)
        return _in_plane(self.small[stored, source], turn) if in_place else self.small[stored, source]

    def coarse_valid(self, turn: Turn, z: int) -> np.ndarray | None:
        """(Y, X) validity of a slice of the turned labels in coarse pixels."""
        if self.volume.valid is None:
            return None
        still = replace(turn, shift=(turn.shift[0], 0, 0))
        plane = Box((z, 0, 0), (z + 1, *self.shape[1:]))
        return np.asarray(_thinned(turned(self.volume.valid, still).read(plane) != 0, self.step)[0])

    def coarse_image(self, z: int) -> np.ndarray:
        """(Y, X) grey values of a slice in coarse pixels, their means."""
        plane, step = self.volume.image.read(Box((z, 0, 0), (z + 1, *self.shape[1:])))[0], self.step
        height, width = (side // step for side in plane.shape)
        blocks = plane[: height * step, : width * step].astype(np.float32).reshape(height, step, width, step)
        return np.asarray(blocks.mean((1, 3)))


def _thinned(planes: np.ndarray, step: int) -> np.ndarray:
    """Every so many pixels of planes (K, Y, X), as many as there are whole blocks."""
    height, width = (side // step for side in planes.shape[1:])
    return planes[:, step // 2 :: step, step // 2 :: step][:, :height, :width]


def _in_plane(planes: np.ndarray, turn: Turn) -> np.ndarray:
    """Planes (K, Y, X) transposed and mirrored as a turn that leaves z in place does."""
    found = planes.swapaxes(1, 2) if turn.axes[1] == 2 else planes
    return found[:, :: -1 if turn.mirrored[1] else 1, :: -1 if turn.mirrored[2] else 1]


def _starts(side: int, window: int) -> list[int]:
    """Where windows begin that cover an axis evenly."""
    count = -(-side // window)
    return [int(start) for start in np.linspace(0, side - window, count).round()]


def _vertex(values: np.ndarray) -> float:
    """Where the parabola through three values is highest, from the middle one; 0 at a border."""
    if len(values) < 3 or (bend := values[0] - 2 * values[1] + values[2]) >= 0:
        return 0.0
    return float(0.5 * (values[0] - values[2]) / bend)
