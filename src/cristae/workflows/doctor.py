"""What is wrong with a recipe and its data, before an hour is spent on a training."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from textwrap import dedent
from typing import TYPE_CHECKING, Any

from cristae.classical.config import RandomForestConfig
from cristae.data.class_repairs import voxels_by_section, with_absent_classes
from cristae.data.finding import Finding
from cristae.data.label_findings import label_findings
from cristae.data.open import Dataset, open_data, resolve_data
from cristae.data.repairs import Copies
from cristae.data.section_findings import section_findings, splits_of
from cristae.data.split_repairs import kept_apart
from cristae.errors import CristaeError
from cristae.progress import Handed, Progress
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.workflows.prepare_training import Prepared
from cristae.workflows.recipes import check_loaded, missing_data

if TYPE_CHECKING:
    from torch import nn

    from cristae.training.forecast import Forecast

_FULL = 0.9
"""Part of the memory from which on a training is called too large."""
_NAMES = (
    ("overlap in", "splits overlap"),
    ("touch in", "splits touch"),
    ("is not kept apart", "splits touch"),
    ("have trained neighbours", "splits touch"),
    ("slip of the unit", "unit slip"),
    ("were confused", "unit slip"),
    ("mask of 0 and 255", "0/255 mask"),
    ("holds value", "values outside the classes"),
    ("are larger than", "patch larger than the volume"),
    ("a constant image", "constant image"),
    ("a network cannot learn it", "class absent from a split"),
    ("regions hold no", "class absent from a split"),
    ("read, hold no", "class absent from a split"),
    ("fit into the memory", "memory"),
    ("read in part", "large data"),
    ("bf16 is many times slower", "slow precision"),
)
"""What messages of `recipe check` are about, by words in them."""
_SPLITS = re.compile(r"data\.(train|validate|test)\b")


@dataclass(frozen=True)
class Diagnosis:
    """All that was found, in the order in which it was looked at."""

    recipe: str
    findings: tuple[Finding, ...]
    forecast: Forecast | None
    """None where a training cannot begin, or is none of a network."""

    @property
    def meaningless(self) -> bool:
        """Whether a training is refused, or would teach nothing that holds."""
        return any(finding.severity == "error" for finding in self.findings)

    @property
    def summary(self) -> str:
        """How many errors and warnings there are, and whether a training makes sense."""
        counts = {level: sum(one.severity == level for one in self.findings) for level in ("error", "warning")}
        said = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
        verdict = "training would be meaningless" if self.meaningless else "training can begin"
        return f"{self.recipe}: {', '.join(said) or 'nothing wrong found'}; {verdict}"

    def __str__(self) -> str:
        """All findings and the summary, as the command prints them."""
        return "\n".join([*map(str, self.findings), self.summary])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        forecast = self.forecast
        return {
            "recipe": self.recipe,
            "meaningless": self.meaningless,
            "findings": [finding.to_dict() for finding in self.findings],
            "forecast": None if forecast is None else {**asdict(forecast), "seconds": forecast.seconds},
        }


def doctor(path: str | Path, overrides: Sequence[str] = (), *, progress: Progress = Progress()) -> Diagnosis:
    """Look for what makes a training worthless, and measure what it will take.

    Everything that `check_recipe` refuses or warns of; labels that are mirrored, transposed or moved against their
    image; sections that are constant, repeated or black; volumes of opposite contrast; time and memory, from a few
    steps of the training. Nothing is left behind.

    Args:
        path: The recipe file.
        overrides: Changes such as `training.epochs=5`.
        progress: Where to show how far it is.

    Returns:
        What was found, each with what to do; also what was looked at and is right, and what the data cannot tell.

    Raises:
        RecipeError: The recipe file is not valid.

    Example:
        >>> diagnosis = cristae.doctor("mito.yaml")  # doctest: +SKIP
        >>> [finding.fix for finding in diagnosis.findings if finding.severity == "error"]  # doctest: +SKIP
    """
    recipe, noted = load_recipe(path, overrides), _Noted(progress)
    dataset = _open(recipe)
    checked, found = _check(recipe, dataset, noted)
    looked = [] if dataset is None else list(_look(recipe, dataset, noted))
    return Diagnosis(recipe.name, (*checked, *looked, _of_runtimes(recipe), _of_forecast(recipe, found)), found)


class _Noted(Handed):
    """Keeps warnings, which become findings; shows the rest."""

    def __init__(self, shown: Progress) -> None:
        super().__init__(shown)
        self.warned: dict[str, None] = {}

    def warn(self, message: str) -> None:
        """Once each."""
        self.warned[message] = None


def _open(recipe: Recipe) -> Dataset | None:
    """The data, also where parts overlap; None where they cannot be opened, which the check says."""
    try:
        return None if missing_data(recipe) else open_data(recipe.data, recipe.folder, apart=False)
    except CristaeError:
        return None


def _check(recipe: Recipe, dataset: Dataset | None, noted: _Noted) -> tuple[list[Finding], Forecast | None]:
    """What `recipe check` says, and a forecast where it lets a training begin."""
    findings, measured = list[Finding](), list["Forecast"]()

    def measure(network: nn.Module, prepared: Prepared, share: float) -> None:
        from cristae.training.forecast import Validating, forecast

        count = prepared.epoch_validation.counts
        pieces = sum(1 for _ in prepared.validation.slabs())
        whole = recipe.training.validation.name == "whole"  # otherwise some patches, of however many
        validate = Validating(lambda *args: count(args[0], 1, args[1]), pieces, share if whole else 1.0)
        measured.append(forecast(network, prepared.step, prepared.feed, validate))

    try:
        check_loaded(recipe, noted, measure)
    except CristaeError as error:
        findings.append(_of_message("error", str(error), recipe, dataset))
    warned = [_of_message("warning", message, recipe, dataset) for message in noted.warned]
    findings += [replace(one, severity="unknown") if one.what == "large data" else one for one in warned]
    if not findings:
        text = "training refuses nothing of it and warns of nothing"
        findings.append(Finding("fine", "recipe check", recipe.name, text))
    return findings, measured[0] if measured else None


def _of_message(severity: Any, message: str, recipe: Recipe, dataset: Dataset | None) -> Finding:
    """A message of `recipe check`, whose last clause says what to do."""
    what = next((name for words, name in _NAMES if words in message), "recipe check")
    text, fix = message, ""
    for mark in ("\n", "; ", ". Give ", ", since "):
        before, found, after = message.partition(mark) if mark == "\n" else message.rpartition(mark)
        if found and not fix:
            text, fix = before, f"give {after}" if mark == ". Give " else dedent(after.strip("\n"))
    sides = sorted({*_SPLITS.findall(message)}, key=("train", "validate", "test").index)
    if dataset is not None and dataset.split is None and not recipe.is_study:
        if what.startswith("splits") and len(sides) > 1:
            fix = "\n".join(kept_apart(splits_of(dataset), sides[0], sides[1])) or fix
        elif what == "class absent from a split" and (voxels := voxels_by_section(dataset)) is not None:
            split = "train" if "a network cannot learn it" in message else "validate"
            fix = "\n".join(with_absent_classes(dataset, voxels, split)) or fix
    return Finding(severity, what, recipe.name, text, fix)


def _look(recipe: Recipe, dataset: Dataset, noted: _Noted) -> Iterator[Finding]:
    """What voxels say."""
    copies = Copies(*resolve_data(recipe.data, recipe.folder), recipe.folder)
    looks: tuple[Callable[[], Iterator[Finding]], ...] = (
        lambda: section_findings(dataset, noted),
        lambda: label_findings(dataset, copies, noted),
    )
    for look in looks:
        try:
            yield from look()
        except CristaeError as error:  # the check says what is damaged, too
            yield Finding("unknown", "voxels", recipe.name, f"not everything could be looked at: {error}")


def _of_runtimes(recipe: Recipe) -> Finding:
    """What can compute predictions here."""
    from cristae.inference.runtimes.installed import about_runtimes

    return Finding("fine", "runtimes", recipe.name, about_runtimes())


def _of_forecast(recipe: Recipe, found: Forecast | None) -> Finding:
    """Time and memory."""
    what = "time and memory"
    if found is None:
        forest = isinstance(recipe.model, RandomForestConfig)
        text = "not measured: a random forest learns in minutes" if forest else "not measured: no training can begin"
        return Finding("unknown", what, recipe.name, text)
    text = found.text
    if not found.finite:
        return Finding(
            "warning", "loss not finite", recipe.name, f"the loss of the first steps is not a finite number; {text}",
            "training.learning_rate: a tenth of what it is",
        )  # fmt: skip
    if found.peak_bytes > _FULL * found.total_bytes:
        return Finding("warning", what, recipe.name, text, "lower training.batch_size or sampling.size")
    return Finding("fine", what, recipe.name, text)
