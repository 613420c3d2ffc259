"""Where does the warning of far grey values fire, and what do such volumes cost?

For every public set that lies under CRISTAE_DATA: the training regions against the held-out ones, against single images
that were left out, against the held-out ones changed as in `benchmarks.brightness`, and against other sets. With
`--work FOLDER` a small U-Net is trained as there with the range of the training data, and scored on small steps of
brightness, contrast and gamma, so that the limit of the warning can be judged by the IoU that is left.

    CRISTAE_DATA=/data python -m benchmarks.grey_shifts --work build/grey_shifts
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial, reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brightness import AGAIN, CHANGES, FIRST, NORMALIZATIONS, RECIPE, tiles_of
from benchmarks.machine import write_result
from cristae.data.image import image_of_array
from cristae.data.open import open_data
from cristae.data.public import PUBLIC_SETS, find_set_folder, missing_set
from cristae.data.volume import Volume
from cristae.preprocess import Percentiles
from cristae.preprocess.form import fit, range_again
from cristae.preprocess.histogram import IntensityHistogram
from cristae.preprocess.normalize import Normalizer
from cristae.preprocess.shift import FAR, distance
from cristae.recipe.load import parse_recipe
from cristae.workflows.predict import predict
from cristae.workflows.train import train

Change = Callable[[np.ndarray], np.ndarray]
_EVERY = 8
"""Of stacks of more than 40 slices, which are left out one by one."""


def main() -> None:
    """Measure, print and keep."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--work", type=Path, help="where the run is kept; without it nothing is trained")
    asked = options.parse_args()
    sets = {chosen: SetGreys(chosen) for chosen in known_sets()}
    if not sets:
        raise SystemExit("no public set is on this machine; fetch some with `cristae data fetch`, or set CRISTAE_DATA")
    figures: dict[str, Any] = {"limit": FAR, "sets": {name: greys.figures() for name, greys in sets.items()}}
    figures["other sets"] = {
        f"{one} -> {other}": judged(greys.normalizer, histogram(sets[other].held_out))
        for one, greys in sets.items()
        for other in sets
        if one != other
    }
    if asked.work is not None:
        figures["steps"] = dict(steps(asked.work))
    write_result("grey_shifts", figures)


def known_sets() -> list[str]:
    """Sets of micrographs with a split that are on this machine."""
    found = [one for one in PUBLIC_SETS if one.compute is None and missing_set(one.name) is None]
    return [one.name for one in found if one.find_task(None)[1].train and one.find_task(None)[1].validate]


class SetGreys:
    """Grey values of a set: lists of arrays (Z, Y, X)."""

    def __init__(self, name: str) -> None:
        chosen = next(one for one in PUBLIC_SETS if one.name == name)
        opened = open_data(chosen.find_task(None)[1], find_set_folder(name))
        self.train = [part.volume.image.read(part.box) for part in opened.train]
        self.held_out = [part.volume.image.read(part.box) for part in opened.validate]
        self.normalizer = normalizer_of(self.train)

    def figures(self) -> dict[str, Any]:
        """How far the held-out regions are, as they are and changed, and single images from all the others."""
        changes = {
            name: judged(self.normalizer, histogram([changed(grey, change) for grey in self.held_out]))
            for name, change in CHANGES.items()
            if self.held_out[0].dtype == np.uint8 or name == FIRST
        }
        images = [image[None] for volume in (*self.train, *self.held_out) for image in volume]
        images = images[:: _EVERY if len(images) > 40 else 1]
        singles = [
            judged(normalizer_of(images[:place] + images[place + 1 :]), histogram([image]))
            for place, image in enumerate(images if len(images) > 2 else [])
        ]
        farthest = sorted(float(one["farthest"]) for one in singles)
        return {
            "held out": changes,
            "single images left out": {
                "images": len(singles),
                "warned of": sum(bool(one["warned"]) for one in singles),
                "farthest": farthest[-3:],
            },
        }


def normalizer_of(greys: Sequence[np.ndarray]) -> Normalizer:
    """Percentiles of the training data."""
    return fit(Percentiles(), histogram(greys))


def histogram(greys: Sequence[np.ndarray]) -> IntensityHistogram:
    """All of them together."""
    return reduce(add, map(IntensityHistogram.of, greys))


def changed(grey: np.ndarray, change: Change) -> np.ndarray:
    """With more bits, so that nothing is cut off."""
    found: np.ndarray = np.round(change(grey.astype(np.float64))).astype(np.int32)
    return found


def judged(normalizer: Normalizer, other: IntensityHistogram) -> dict[str, Any]:
    """The statistics, and whether there is a warning; the type alone, which the changes change, gives none."""
    shift = distance(normalizer, other, range_again(Percentiles(), other))
    return {
        "farthest": round(max(map(abs, shift.differences)), 3),
        "median": round(shift.median, 3),
        "contrast": round(shift.range_ratio, 2),
        "outside": round(shift.outside, 3),
        "with its own range": round(max(map(abs, shift.remaining or (0.0,))), 3),
        "inverted": shift.inverted,
        "warned": shift.message() is not None,
    }


def _brighter(by: int, grey: np.ndarray) -> np.ndarray:
    return grey + by


def _contrast(times: float, grey: np.ndarray) -> np.ndarray:
    return (grey - 128) * times + 128


def _gamma(exponent: float, grey: np.ndarray) -> np.ndarray:
    return 255 * (grey / 255) ** exponent


STEPS: Mapping[str, Change] = {
    **{f"brighter by {by}": partial(_brighter, by) for by in (-40, -30, -20, -10, 0, 10, 20, 30, 40)},
    **{f"contrast times {times}": partial(_contrast, times) for times in (0.5, 0.6, 0.7, 0.8, 0.9, 1.2, 1.5)},
    **{f"gamma {exponent}": partial(_gamma, exponent) for exponent in (0.7, 0.8, 1.25, 1.5, 2)},
}


def steps(work: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The IoU of emnet-cardiac's held-out tiles after each step, and whether it is warned of."""
    work.mkdir(parents=True, exist_ok=True)
    text = RECIPE.format(normalize=NORMALIZATIONS[AGAIN], seed=0, epochs=4)
    run = train(parse_recipe(text, "grey_shifts"), out=work / "run", resume=(work / "run").exists())
    grey, truth = tiles_of(run.recipe)
    for name, change in STEPS.items():
        image = changed(grey, change)
        shutil.rmtree(work / "changed.zarr", ignore_errors=True)
        found = (
            predict([run], Volume("changed", image_of_array(image)), out=work / "changed.zarr").labels[0].read() == 1
        )
        iou = float((found & truth).sum() / (found | truth).sum())
        judgement = judged(run.normalizer, IntensityHistogram.of(image))
        print(f"{name}: IoU {iou:.3f}, farthest {judgement['farthest']}", flush=True)
        yield name, {"iou": round(iou, 3), **judgement}


if __name__ == "__main__":
    main()
