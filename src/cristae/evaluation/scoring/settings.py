"""What an evaluation is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.image import VoxelSize, check_voxel_size
from cristae.errors import ScoreError
from cristae.metrics.binary import check_threshold
from cristae.metrics.score import read_scores
from cristae.metrics.surface import check_tolerance
from cristae.metrics.tally import ALL
from cristae.metrics.uncertainty.units import parse_unit

Family = Literal["overlap", "ranking", "partition", "detection", "instances", "surfaces", "centrelines"]
"""Families of scores that can be asked for."""
FAMILIES: tuple[Family, ...] = get_args(Family)
OF_OBJECTS: tuple[Family, ...] = ("partition", "detection", "instances")
"""Those that object ids have, and that change with borders."""
SEARCHED = ("V_rand", "V_info")
"""Metrics that are by their definition taken at the best of eleven thresholds."""


@dataclass(frozen=True)
class ScoreOptions:
    """How to score, whatever is scored. The fields are the options of `cristae evaluate`.

    Raises:
        ScoreError: A family of scores is unknown or none is named; the threshold, unit or tolerance cannot be one.
        VoxelSizeError: Nor can the voxel size.
    """

    binarize: float | None = None
    """The threshold of probability maps of one class. With a recipe, the prediction is such a map and the truth is read
    by the recipe; without, both are."""
    objects: bool = False
    """Both hold object ids, and objects are compared."""
    merge: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Classes that are merged before anything is counted: old names by new name."""
    box: Box | str | None = None
    """`Z0:Z1,Y0:Y1,X0:X1` in voxels: the part of the volume to score; None takes all that was predicted."""
    scores: tuple[Family, ...] = FAMILIES
    """Families of scores that are wanted."""
    unit: str | None = None
    """What counts as independent for intervals: `volume`, `slice` or `slab:500nm`; None gives no intervals."""
    thresholds_from: str | Path | None = None
    """Scores of validation data; the thresholds that were best there are applied here."""
    tolerance_nm: float | None = None
    """Distance at which two surfaces still agree; None takes the longest edge of a voxel."""
    voxel_size_nm: VoxelSize | None = None
    """(z, y, x), where no file says it."""
    slices_apart: bool = False
    """Slices are unrelated images: nothing is scored in 3D, and surfaces are those of slices."""
    complement: bool = False
    """Also take the background as a positive class, as some published tables do."""
    over: tuple[str, ...] = ()
    """Classes, after merging, that a mean IoU of their own is taken over, such as the organelles."""
    borders: tuple[str, ...] | None = None
    """Classes that separate objects, after merging: partition, detection and instance scores are of the regions
    between. None takes what the classes state; empty takes every class for objects itself."""

    def __post_init__(self) -> None:
        if not self.scores or set(self.scores) - set(FAMILIES):
            raise ScoreError(
                f"{', '.join(self.scores) or 'nothing'}: no families of scores; there are {', '.join(FAMILIES)}"
            )
        if self.binarize is not None:
            check_threshold(self.binarize)
        if self.unit is not None and parse_unit(self.unit).kind == "column":
            raise ScoreError(
                "a column names units in tables, for `cristae compare`; here give volume, slice or slab:500nm"
            )
        if self.tolerance_nm is not None:
            check_tolerance(self.tolerance_nm)
        if self.voxel_size_nm is not None:
            check_voxel_size(self.voxel_size_nm)


@dataclass(frozen=True)
class Scoring:
    """What is known when counting begins."""

    run: str
    """What stands in the `run` column."""
    classes: Classes
    threshold: float | None
    """Above which a probability is foreground, where probability maps are scored; None for labels."""
    options: ScoreOptions
    thresholds: Mapping[tuple[str, str], float] = field(default_factory=dict)
    """What validation data chose, by class and metric."""

    def chosen(self, class_name: str, metric: str) -> float | None:
        """The threshold at which this metric of this class was best on validation data, where there are such."""
        return self.thresholds.get((class_name, metric))

    def is_border(self, class_name: str) -> bool:
        """Whether the objects of a class are the regions that it separates."""
        return class_name in (self.classes.borders or ())

    def wants(self, *families: Family) -> bool:
        """Whether one of these families is asked for."""
        return any(family in self.options.scores for family in families)


def parse_families(text: str | None) -> tuple[Family, ...]:
    """The families named in a list such as `overlap,partition`; all when None.

    Raises:
        ScoreError: A name is unknown.
    """
    if text is None:
        return FAMILIES
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in FAMILIES]:
        raise ScoreError(f"'{unknown[0]}' is no family of scores; there are {', '.join(FAMILIES)}")
    if not names:
        raise ScoreError(f"no family of scores is named; there are {', '.join(FAMILIES)}")
    return tuple(family for family in FAMILIES if family in names)


def thresholds_of(path: str | Path, run: str) -> dict[tuple[str, str], float]:
    """The thresholds that were best in scores of validation data, by class and metric.

    Args:
        path: A table that an evaluation of probability maps wrote.
        run: Whose thresholds; not looked at where the table has only one run.

    Raises:
        MissingFileError: There is no such file.
        ScoreError: It is no table of scores, has no such run, or no threshold was chosen in it.
    """
    rows = read_scores(path := Path(path))
    runs = list(dict.fromkeys(row.run for row in rows))
    if len(runs) > 1 and run not in runs:
        raise ScoreError(f"{path}: has no scores of '{run}', only of {', '.join(runs[:8])}; name the runs alike")
    volumes = {row.volume for row in rows}
    own = [row for row in rows if (len(runs) == 1 or row.run == run) and (len(volumes) == 1 or row.volume == ALL)]
    found = {
        (row.class_name, row.metric): row.threshold
        for row in own
        if row.threshold is not None and (row.metric.endswith("_best") or row.metric in SEARCHED)
    }
    if wrong := [threshold for threshold in found.values() if not 0 <= threshold <= 1]:
        raise ScoreError(f"{path}: holds the threshold {wrong[0]:g}; expected 0 to 1, as an evaluation writes them")
    if not found:
        raise ScoreError(
            f"{path}: holds no threshold that was searched for; evaluate probability maps of validation data first "
            "(--binarize, or a prediction made with --probabilities)"
        )
    return found


def parse_merge(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Groups of classes from texts such as `cell=granule+mitochondrion`.

    Raises:
        ScoreError: A text has another form, or a name stands twice.
    """
    groups: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, sign, members = text.partition("=")
        parts = tuple(member.strip() for member in members.split("+"))
        if not sign or not name.strip() or not all(parts):
            raise ScoreError(f"'{text}': classes are merged as NAME=A+B, such as cell=granule+mitochondrion")
        if name.strip() in groups:
            raise ScoreError(f"'{name.strip()}' is given twice; name all its classes at once, NAME=A+B+C")
        groups[name.strip()] = parts
    return groups


def parse_borders(names: Sequence[str]) -> tuple[str, ...] | None:
    """The classes of `--border NAME`, given any number of times; `none` alone means that no class is one.

    Raises:
        ScoreError: `none` stands beside a name, or a name is given twice.
    """
    if len(set(names)) != len(names) or ("none" in names and len(names) > 1):
        raise ScoreError(f"--border {' --border '.join(names)}: name each border once, or `none` alone")
    return None if not names else tuple(name for name in names if name != "none")
