"""V_rand and V_info of maps of scores: slice by slice, with borders thinned, at the best of eleven thresholds.

Every slice is scored at every threshold, scores are averaged over slices, and the best threshold is taken, for V_rand
and V_info on their own (Arganda-Carreras et al., 2015, https://doi.org/10.3389/fnana.2015.00142). The threshold is
chosen on the judged data itself, which makes the score optimistic; the score at a fixed threshold and at one that was
chosen on validation data stand beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from cristae.errors import ScoreError
from cristae.metrics.overlap import mean_defined
from cristae.metrics.partition import SUMS, Parts, Rules, info_parts, rand_parts
from cristae.metrics.score import Score
from cristae.metrics.v_slice import COLUMNS, MAP_METRICS, THRESHOLDS, SliceV, Truth, slice_v

__all__ = ["COLUMNS", "MAP_METRICS", "THRESHOLDS", "SliceMean", "SliceV", "Truth", "VTable", "slice_v"]

Named = Literal["V_rand", "V_info"]
NAMES: tuple[Named, ...] = ("V_rand", "V_info")
Form = Literal["thin", "raw"]
"""With the prediction's borders thinned, or its components as they are."""


@dataclass(frozen=True)
class SliceMean:
    """A V score averaged over slices."""

    parts: Parts
    """Mean value, and means of the split and merge parts, each over the slices where it is defined."""
    n: int
    """How many slices were averaged for the value."""
    threshold: float
    """Where; NaN where no threshold gives a value."""


@dataclass(eq=False)
class VTable:
    """The slices of one volume, or of several taken together; grows slice by slice."""

    thresholds: tuple[float, ...] = THRESHOLDS
    """At which slices are scored, rising."""
    fixed: float = 0.5
    """The threshold of scores that are not searched for; one of them."""
    graded: bool = True
    """False where the prediction is a mask, the same at every threshold."""
    truth_is: Truth = "mask"
    slices: list[SliceV] = field(default_factory=list)

    @classmethod
    def of_masks(cls, truth_is: Truth = "mask") -> VTable:
        """For predictions without scores; they are given as booleans."""
        return cls((0.5,), 0.5, False, truth_is)

    @classmethod
    def total(cls, tables: Sequence[VTable]) -> VTable:
        """The slices of several volumes together.

        Raises:
            ScoreError: There is none, or they were scored differently.
        """
        if len({(t.thresholds, t.fixed, t.graded, t.truth_is) for t in tables}) != 1:
            raise ScoreError("V scores of volumes add up where all were scored at the same thresholds and like truth")
        one = tables[0]
        return cls(one.thresholds, one.fixed, one.graded, one.truth_is, [s for t in tables for s in t.slices])

    def measure(
        self,
        truth: np.ndarray,
        prediction: np.ndarray,
        valid: np.ndarray | None = None,
        *,
        z: int = 0,
        highest: Literal[1, 255] = 255,
    ) -> SliceV:
        """Score a slice as this table does; `append` takes it in. Arguments and errors as in `slice_v`."""
        options = {"truth_is": self.truth_is, "thresholds": self.thresholds, "fixed": self.fixed}
        return slice_v(truth, prediction, valid, z=z, highest=highest, **options)  # type: ignore[arg-type]

    def append(self, record: SliceV) -> None:
        """Take in one more slice."""
        self.slices.append(record)

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything, as plain arrays."""
        kinds = ("grey", "mask", "instances")
        return {
            "thresholds": np.array(self.thresholds),
            "plan": np.array([self.fixed, self.graded, kinds.index(self.truth_is)], np.float64),
            "slices": np.array([(s.z, s.voxels) for s in self.slices], np.int64).reshape(-1, 2),
            "thin": self.sums("thin"),
            "raw": self.sums("raw"),
            "maps": self._maps(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> VTable:
        """What `arrays` gave."""
        kinds: tuple[Truth, ...] = ("grey", "mask", "instances")
        fixed, graded, kind = arrays["plan"].tolist()
        rows = zip(arrays["slices"].tolist(), arrays["thin"], arrays["raw"], arrays["maps"], strict=True)
        slices = [SliceV(z, voxels, thin, raw, maps) for (z, voxels), thin, raw, maps in rows]
        return cls(tuple(arrays["thresholds"].tolist()), fixed, bool(graded), kinds[int(kind)], slices)

    def sums(self, form: Form) -> np.ndarray:
        """(N, K, 9): `COLUMNS` of each slice at each threshold."""
        found = [s.thin if form == "thin" else s.raw for s in self.slices]
        return np.array(found).reshape(-1, len(self.thresholds), len(COLUMNS))

    def parts(self, named: Named, form: Form = "thin", rules: Rules = "project") -> np.ndarray:
        """(N, K, 3): value, split and merge part of each slice at each threshold; NaN where no voxel counts."""
        function = rand_parts if named == "V_rand" else info_parts
        parts = function(self.sums(form)[..., : len(SUMS)], rules=rules)
        parts[[s.voxels == 0 for s in self.slices]] = np.nan
        return parts

    def units(self, named: Named, form: Form = "thin", rules: Rules = "project") -> np.ndarray:
        """(N, K, 2): each slice's value (0 where undefined) and whether it is defined.

        The slice mean over some slices is the sum of the first over the sum of the second.
        """
        return _units(self.parts(named, form, rules)[..., 0])

    def map_units(self, metric: str) -> np.ndarray:
        """(N, 2): the same of one of `MAP_METRICS`."""
        return _units(self._maps()[:, MAP_METRICS.index(metric)])

    def curve(self, named: Named, form: Form = "thin", rules: Rules = "project") -> list[SliceMean]:
        """The slice mean at each threshold."""
        parts = self.parts(named, form, rules)
        return [self._mean(parts, place) for place in range(len(self.thresholds))]

    def best(self, named: Named, rules: Rules = "project") -> SliceMean:
        """The highest slice mean with thinned borders among the eleven thresholds, the lowest threshold of equals."""
        parts = self.parts(named, "thin", rules)
        searched = [place for place, t in enumerate(self.thresholds) if t in THRESHOLDS]
        means = [self._mean(parts, place) for place in searched]
        defined = [mean for mean in means if mean.n]
        if not defined:
            return SliceMean(Parts(math.nan, math.nan, math.nan), 0, math.nan)
        return max(defined, key=lambda mean: mean.parts.value)  # the first of equals

    def at(self, threshold: float, named: Named, form: Form = "thin", rules: Rules = "project") -> SliceMean:
        """The slice mean at one threshold.

        Raises:
            ScoreError: Slices were not scored there.
        """
        if threshold not in self.thresholds:
            known = ", ".join(f"{t:g}" for t in self.thresholds)
            raise ScoreError(f"V scores are known at the thresholds {known}, not at {threshold:g}")
        return self._mean(self.parts(named, form, rules), self.thresholds.index(threshold))

    def few_objects(self, threshold: float) -> int:
        """How many slices have fewer than two true objects at this threshold, though some of their voxels count."""
        place = self.thresholds.index(threshold)
        true = self.sums("raw")[:, place, COLUMNS.index("true objects")]
        return sum(1 for s, objects in zip(self.slices, true, strict=True) if s.voxels and objects < 2)

    def _mean(self, parts: np.ndarray, place: int) -> SliceMean:
        value, split, merge = (mean_defined(parts[:, place, part]) for part in range(3))
        return SliceMean(Parts(value.value, split.value, merge.value), value.n, self.thresholds[place])

    def _maps(self) -> np.ndarray:
        return np.array([s.maps for s in self.slices]).reshape(-1, len(MAP_METRICS))

    def score_rows(
        self,
        run: str,
        volume: str,
        class_name: str,
        *,
        validated: Mapping[str, float] | None = None,
        border: bool = False,
    ) -> Iterator[Score]:
        """The rows of the table of scores.

        Args:
            run: What stands in the `run` column.
            volume: What stands in the `volume` column.
            class_name: The positive class.
            validated: Thresholds that were chosen on other data, for `V_rand` and `V_info`.
            border: Whether the class is a border, and the slices are of the regions between: truth and probability map
                were inverted. Rules say so.

        Raises:
            ScoreError: Slices were not scored at a validated threshold.
        """
        rows = _Rows(self, run, volume, class_name, border)
        for named in NAMES:
            yield from rows.best(named, "project")
            yield from rows.best(named, "fiji")
            if self.graded:
                yield from rows.at(named, self.fixed, "thin", f"{named}_fixed", f"fixed threshold {self.fixed:g}")
            if self.graded and validated and named in validated:
                said = "threshold chosen on validation data"
                yield from rows.at(named, validated[named], "thin", f"{named}_validated", said)
            said = f"fixed threshold {self.fixed:g}" if self.graded else ""
            yield from rows.at(named, self.fixed, "raw", f"{named}_raw", said)
        yield from rows.maps()

    def curve_rows(self, run: str, volume: str, class_name: str, *, border: bool = False) -> Iterator[Score]:
        """V_rand and V_info with thinned borders at each threshold, where there are several; see `score_rows`."""
        rows = _Rows(self, run, volume, class_name, border)
        for named in NAMES if self.graded else ():
            for mean in self.curve(named):
                rule = rows.rule("thin", "", self.few_objects(mean.threshold))
                yield Score(run, volume, class_name, named, mean.parts.value, mean.n, rule, "ratio", mean.threshold)


@dataclass(frozen=True)
class _Rows:
    """Rows of one table, with rules that say everything."""

    table: VTable
    run: str
    volume: str
    class_name: str
    border: bool
    """Whether the class is a border, and the slices are of the regions between."""

    def best(self, named: Named, rules: Rules) -> Iterator[Score]:
        """Thinned, at the best threshold, with parts."""
        said = (
            f"best of {len(THRESHOLDS)} thresholds, chosen for {named} on these very data (optimistic)"
            if self.table.graded
            else ""
        )
        if rules == "fiji":
            said = "; ".join(filter(None, (said, "slices where it is undefined count as 0, as in Fiji")))
        metric = named if rules == "project" else f"{named}_fiji"
        yield from self._rows(metric, self.table.best(named, rules), "thin", said)

    def at(self, named: Named, threshold: float, form: Form, metric: str, said: str) -> Iterator[Score]:
        """At one threshold, with parts."""
        yield from self._rows(metric, self.table.at(threshold, named, form), form, said)

    def maps(self) -> Iterator[Score]:
        """What is known of the components as they are, at the fixed threshold."""
        table = self.table
        said = f"fixed threshold {table.fixed:g}" if table.graded else ""
        for metric in MAP_METRICS:
            values, defined = table.map_units(metric).T
            n = int(defined.sum())
            value = float(values.sum()) / n if n else math.nan
            unit = "ratio" if metric == "adapted_rand_error" else "bits"
            yield self._score(metric, value, n, self.rule("raw", said, 0), unit, table.fixed)

    def rule(self, form: Form, said: str, few: int) -> str:
        """What the number means."""
        truth = "true segments are the labelled objects" if self.table.truth_is == "instances" else ""
        borders = "thin: predicted borders thinned" if form == "thin" else "raw: predicted components as they are"
        count = f"{few} of {len(self.table.slices)} slices with fewer than 2 true objects" if few else ""
        subject = f"positive={self.class_name}"
        if self.border:
            cut = "; thresholds act on 1 - p" if self.table.graded else ""
            subject = f"border={self.class_name}; objects are the components of all other voxels{cut}"
        pieces = (subject, borders, "2D, 4 neighbours", truth, said, count)
        return "; ".join(filter(None, (*pieces, "mean over slices; n=slices")))

    def _rows(self, metric: str, mean: SliceMean, form: Form, said: str) -> Iterator[Score]:
        few = 0 if math.isnan(mean.threshold) else self.table.few_objects(mean.threshold)
        rule = self.rule(form, said, few)
        for suffix, value in (("", mean.parts.value), ("_split", mean.parts.split), ("_merge", mean.parts.merge)):
            yield self._score(metric + suffix, value, mean.n, rule, "ratio", mean.threshold)

    def _score(self, metric: str, value: float, n: int, rule: str, unit: str, threshold: float) -> Score:
        shown = threshold if self.table.graded and not math.isnan(threshold) else None
        return Score(self.run, self.volume, self.class_name, metric, value, n, rule, unit, shown)


def _units(values: np.ndarray) -> np.ndarray:
    """(..., 2): values, 0 where undefined, and whether they are defined."""
    defined = ~np.isnan(values)
    return np.stack([np.where(defined, values, 0.0), defined.astype(np.float64)], axis=-1)
