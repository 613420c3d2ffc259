"""Which classes are borders, and what their objects are: the regions that a border separates.

Networks that learn membranes are scored by how well they separate cells (ISBI 2012 and SNEMI challenges;
Arganda-Carreras et al., 2015, https://doi.org/10.3389/fnana.2015.00142). The objects of a border are therefore the
components of its complement, with the neighbours that a border one voxel wide separates: 4 in 2D, 6 in 3D.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.errors import ScoreError
from cristae.evaluation.comparison import Comparison
from cristae.evaluation.scoring.settings import OF_OBJECTS, SEARCHED, ScoreOptions, Scoring
from cristae.evaluation.scoring.voxels import masks_of
from cristae.metrics.agreement import check_subset
from cristae.metrics.binary import binarize, inverted
from cristae.metrics.score import read_scores

_NAMES_OF_BORDERS = re.compile(r"membranes?|boundary|boundaries|borders?", re.IGNORECASE)


def scored_classes(classes: Classes, options: ScoreOptions) -> Classes:
    """The classes with their borders stated: those of the options, else those of the classes, else none.

    Raises:
        ScoreError: A class to average over is unknown, named twice, or alone; a border is not a class, has no effect on
            the scores that are asked for, or is not stated although the only class is called like one; or a background
            is to be scored and there is none.
    """
    if options.complement and classes.exclusive and classes.background_name is None:
        raise ScoreError(
            f"the classes ({classes.listed}) all have scores of their own; leave --complement out, which adds those of "
            "a background"
        )
    _check_over(classes, options)
    borders = classes.borders if options.borders is None else options.borders
    if unknown := [name for name in options.borders or () if name not in classes.foreground]:
        raise ScoreError(
            f"--border: there is no class '{unknown[0]}'; the classes are {', '.join(classes.foreground)} (or none)"
        )
    if options.borders and not set(OF_OBJECTS) & set(options.scores):
        raise ScoreError(
            f"--border has no effect on {', '.join(options.scores)}; it is for {', '.join(OF_OBJECTS)} (--scores)"
        )
    if borders is None and "partition" in options.scores:
        _ask(classes)
    return classes.model_copy(update={"borders": tuple(borders or ())})


def _check_over(classes: Classes, options: ScoreOptions) -> None:
    if not options.over:
        return
    check_subset(options.over, classes)
    if len(options.over) < 2:
        raise ScoreError(f"--over {options.over[0]}: a mean is over several classes; the IoU of one is its Jaccard")
    if "overlap" not in options.scores:
        raise ScoreError(f"--over has no effect on {', '.join(options.scores)}; it is for overlap (--scores)")


def check_thresholds(path: Path, classes: Classes) -> None:
    """Refuse thresholds of V scores that were searched for with other objects.

    Raises:
        ScoreError: There, a class was a border and is none now, or the other way round.
    """
    for row in read_scores(path):
        if row.metric in SEARCHED and row.class_name in classes.foreground:
            was, now = row.rule.startswith("border="), row.class_name in (classes.borders or ())
            if was != now:
                raise ScoreError(
                    f"{path}: '{row.class_name}' is {'a' if was else 'no'} border there and {'a' if now else 'none'} "
                    "here, and its thresholds are of other objects; evaluate both with the same --border"
                )


def object_reader(comparison: Comparison, scoring: Scoring, number: int, *, truth: bool) -> Callable[[Box], np.ndarray]:
    """Reads where the objects of a class are, uint8 (Z, Y, X) of 0 and 1.

    Args:
        comparison: What is compared.
        scoring: Says which classes are borders, and the threshold of binarised maps.
        number: Of the class among the foreground classes.
        truth: Whether of the truth, else of the prediction.
    """
    is_border = scoring.is_border(scoring.classes.foreground[number])
    maps = comparison.maps[number] if comparison.maps else None
    grey = comparison.truth_map if truth else maps

    def read(box: Box) -> np.ndarray:
        if is_border and grey is not None and scoring.threshold is not None:
            return binarize(inverted(grey.read(box)), scoring.threshold)
        labels = (comparison.truth if truth else comparison.prediction).read(box)
        mask = list(masks_of(labels, scoring.classes))[number]
        return regions_between(mask) if is_border else mask

    return read


def regions_between(
    border: np.ndarray, probabilities: np.ndarray | None = None, threshold: float | None = None
) -> np.ndarray:
    """What a border leaves, uint8 0 and 1: all other voxels or, of a binarised map, where 1 - p is above the threshold.

    Args:
        border: Mask of the border.
        probabilities: Its probability map, of the same shape.
        threshold: At which maps are binarised; None where masks are labels.
    """
    if probabilities is None or threshold is None:
        left: np.ndarray = (border == 0).view(np.uint8)
        return left
    return binarize(inverted(probabilities), threshold)


def subject_of(name: str, components: int, where: str, comparison: Comparison, scoring: Scoring) -> str:
    """What the rule of a score of objects begins with.

    Args:
        name: The class.
        components: How many neighbours a voxel has.
        where: Where components are taken, such as ', slice by slice'.
        comparison: Says whether there is a probability map.
        scoring: Says whether the class is a border, and the map binarised.
    """
    if not scoring.is_border(name):
        return f"positive={name}; components with {components} neighbours{where}"
    cut = "; the threshold acts on 1 - p" if comparison.maps and scoring.threshold is not None else ""
    return f"border={name}; objects are the components of all other voxels with {components} neighbours{where}{cut}"


def _ask(classes: Classes) -> None:
    """Refuse to guess what the objects of a lone class are that is called like a border."""
    if len(classes.foreground) == 1 and _NAMES_OF_BORDERS.fullmatch(classes.foreground[0]):
        name = classes.foreground[0]
        raise ScoreError(
            f"the only class is called '{name}', and it is not stated whether V scores are of the regions that it "
            f"separates or of its own components; give --border {name} for the regions (as ISBI 2012 and SNEMI do) or "
            f"--border none for its components, or state `borders: [{name}]` or `borders: []` under data.classes of "
            "the recipe"
        )
