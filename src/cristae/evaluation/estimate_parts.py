"""The populations that are estimated: the slices of volumes, with those that are labelled and were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from cristae.data.slice_ranges import ranges_text
from cristae.errors import ScoreError
from cristae.evaluation.estimation import PartAmounts
from cristae.evaluation.slice_amounts import Amounts
from cristae.metrics.uncertainty.designs import WHAT_TO_LABEL, Design, Sample, sample_of, slabs_of
from cristae.progress import Progress

_WHOLE = 1 - 1e-9


@dataclass(frozen=True, eq=False)
class Labelled:
    """A volume's amounts, and what is known of its slices."""

    volume: str
    amounts: Amounts
    trained: frozenset[int]
    """Slices that the network was trained on."""
    design: Design | None
    """What was stated."""


def part_of(one: Labelled, of: str, progress: Progress) -> tuple[PartAmounts, str]:
    """The population of a volume's slices.

    Slices that were trained on are no sample of the others, as a network is better on them: those that are labelled
    completely are added as they are, and the others are estimated from slices that were not trained on. For
    `of="foreground"` they are left out altogether, as their size is not known on equal terms.

    Returns:
        The population, and what a unit is: `slice` or `slab`.

    Raises:
        ScoreError: Too few slices are labelled, all of them were trained on, or they are no sample of the volume.
    """
    amounts, where = one.amounts, f"volume '{one.volume}': "
    trained = np.isin(amounts.slices, list(one.trained))
    known = trained & (amounts.labelled >= _WHOLE)
    inside = (amounts.size > 0) | (of != "cell")
    population = amounts.of_slices(inside & ~known)
    fit = (population.labelled > 0) & ~np.isin(population.slices, list(one.trained))
    _check(one, trained, known, fit, where, progress)
    if of == "foreground" and known.any():
        progress.say(f"{where}fractions of the foreground are of the slices that were not trained on")
    places = np.flatnonzero(fit)
    runs, slabs = slabs_of(places.tolist(), len(fit))
    slabs = slabs and one.design in (None, "random")
    if slabs:
        sample = Sample.of("random", int(runs[-1]) + 1, max(round(len(fit) * (runs[-1] + 1) / len(runs)), runs[-1] + 1))
        progress.say(
            f"{where}the {len(runs)} labelled slices are {sample.n} slabs of neighbours; each slab is one unit"
        )
    else:
        sample = sample_of(places.tolist(), len(fit), one.design, where=where)
    taken = _grouped(population.of_slices(places), runs) if slabs else population.of_slices(places)
    added = amounts.of_slices(known if of != "foreground" else np.zeros_like(known))
    part = _part(sample, taken, population, added)
    return part, "slab" if slabs else "slice"


def images_part(found: Sequence[Labelled], of: str) -> PartAmounts:
    """The population of unrelated images, each of one slice.

    Raises:
        ScoreError: Fewer than two are labelled that were not trained on.
    """
    every = Amounts(
        *(np.concatenate([getattr(one.amounts, name) for one in found]) for name in Amounts.__dataclass_fields__)
    )
    trained = np.array([bool(one.trained) for one in found])
    known = trained & (every.labelled >= _WHOLE)
    fit = (every.labelled > 0) & ~trained
    if np.count_nonzero(fit) < 2:
        raise ScoreError(
            f"{np.count_nonzero(fit)} of {len(fit)} images are labelled and were not trained on; an estimate needs at "
            "least two"
        )
    sample = Sample.of("random", int(np.count_nonzero(fit)), int(np.count_nonzero(~known)))
    added = every.of_slices(known if of != "foreground" else np.zeros_like(known))
    return _part(sample, every.of_slices(fit), every.of_slices(~known), added)


def _part(sample: Sample, taken: Amounts, population: Amounts, added: Amounts) -> PartAmounts:
    """What is labelled of a population, all of it as predicted, and what is known besides."""
    return PartAmounts(
        sample,
        taken.truth,
        taken.truth_size,
        taken.predicted_there,
        taken.size_there,
        population.predicted.sum(axis=0),
        float(population.size.sum()),
        added.truth.sum(axis=0),
        added.predicted.sum(axis=0),
        float(added.size.sum()),
        len(added.slices),
    )


def _check(
    one: Labelled, trained: np.ndarray, known: np.ndarray, fit: np.ndarray, where: str, progress: Progress
) -> None:
    """Say what of the labels is used, and refuse where too few are left."""
    amounts = one.amounts
    if (trained & (amounts.labelled > 0)).any():
        slices = ranges_text(amounts.slices[trained & (amounts.labelled > 0)].tolist())
        progress.say(
            f"{where}the network was trained on the labelled slices {slices}: they say nothing of its error elsewhere "
            "and are not used to correct it"
        )
    if (trained & ~known).any():
        share = np.count_nonzero(trained & ~known) / len(trained)
        progress.warn(
            f"{where}{share:.0%} of the slices were trained on but are not labelled completely here; they are taken to "
            "be like the others, although the network is better on them"
        )
    if np.count_nonzero(fit) >= 2:
        return
    if not (amounts.labelled > 0).any():
        raise ScoreError(f"{where}no slice is labelled; {WHAT_TO_LABEL}")
    why = " that the network was not trained on" if trained.any() else ""
    raise ScoreError(
        f"{where}{np.count_nonzero(fit)} labelled slices{why} are too few to estimate anything; label at least two "
        "more, from all over the volume, or predict it out of fold"
    )


def _grouped(amounts: Amounts, runs: np.ndarray) -> Amounts:
    """Amounts added up by run."""

    def total(values: np.ndarray) -> np.ndarray:
        sums = np.zeros((int(runs[-1]) + 1, *values.shape[1:]))
        np.add.at(sums, runs, values)
        return sums

    names = (name for name in Amounts.__dataclass_fields__ if name != "slices")
    first = amounts.slices[np.searchsorted(runs, np.arange(runs[-1] + 1))]
    return replace(amounts, slices=first, **{name: total(getattr(amounts, name)) for name in names})
