"""Propose a recipe for data, a machine and some minutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cristae.data.files import require_new, write_text
from cristae.data.formats.paths import signed_path
from cristae.data.image import VoxelSize
from cristae.data.open import open_data
from cristae.data.public import find_set, missing_set
from cristae.errors import CristaeError, RecipeError, TrainingError
from cristae.progress import Progress, Task
from cristae.recipe.findings import Findings, examine
from cristae.recipe.load import parse_recipe
from cristae.recipe.proposal.choice import Choice
from cristae.recipe.proposal.draft import Draft
from cristae.recipe.proposal.facts import DataFacts, Measured
from cristae.recipe.proposal.lines import draft_lines, method_lines
from cristae.recipe.proposal.looking import facts_of_image, look_at_data
from cristae.recipe.proposal.machine import find_machine
from cristae.recipe.proposal.options import DEFAULT_MINUTES, ProposalOptions
from cristae.recipe.proposal.propose import Proposal, propose
from cristae.recipe.proposal.working_grid import common_grid
from cristae.recipe.recipe import Recipe
from cristae.recipe.starter import set_starter_lines, starter_lines
from cristae.training.forecast import Validating, forecast
from cristae.workflows.new_plan import plan_text
from cristae.workflows.prepare_training import Prepared
from cristae.workflows.recipes import check_loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_USUAL = ProposalOptions()
_WHY = "`cristae recipe check` says why"
_STEPS = 5
"""Steps that are measured, of which the first is not counted."""


def new_recipe(
    out: str | Path,
    *,
    image: str | None = None,
    labels: str | None = None,
    signed: bool | None = None,
    label_slices: Sequence[int] | None = None,
    set_name: str | None = None,
    plan: str | Path | None = None,
    options: ProposalOptions = _USUAL,
    progress: Progress = Progress(),
) -> Path:
    """Write a commented recipe that suits the data, this machine and the minutes that there are.

    The data are looked at in parts, and a few steps of the training are measured: seconds in all. Where no training can
    begin yet, the recipe is written all the same, with a usual length, and a warning says what is missing.

    Args:
        out: The recipe file; it must not exist yet.
        image: File, folder or glob of the image.
        labels: The same for its labels.
        signed: Whether the 8-bit values of an MRC image are signed, where its header does not say.
        label_slices: For labels with fewer slices than the image: the image slice of each, from 0.
        set_name: A public data set, instead of files.
        plan: Also write a plan here, with which a benchmark compares networks that suit the data; the file must not
            exist yet.
        options: Time, memory, and what the files do not say.
        progress: Where to show how far it is.

    Raises:
        RecipeError: Neither or both of `image` and `set_name` were given, or the minutes are not enough for one epoch.
        OutputExistsError: There is a file already.
        CristaeError: The data cannot be read or do not fit together.

    Example:
        >>> options = cristae.ProposalOptions(minutes=60)  # doctest: +SKIP
        >>> cristae.new_recipe("mito.yaml", image="stack.tif", labels="mito.tif", options=options)  # doctest: +SKIP
    """
    out = Path(out)
    require_new(out, what="the recipe")
    if plan is not None:
        require_new(Path(plan), what="the plan")
    if set_name is None:
        begun = _of_files(out, image, labels, signed, label_slices, options, progress)
    else:
        begun = _of_set(set_name, image, labels, options)
    if options.working_voxel_size_nm is not None:
        begun = replace(
            begun, working=Choice(options.working_voxel_size_nm, "the working voxel size (z, y, x), as given")
        )
    out.parent.mkdir(parents=True, exist_ok=True)  # paths of the recipe lead through it
    begun, proposal = _propose(begun, out, options, progress)
    text = begun.text(proposal.draft, method_lines(proposal))
    parse_recipe(text, str(out))
    compared = None if plan is None else plan_text(text, out, Path(plan), proposal, absent=begun.absent)
    write_text(out, text)
    if plan is not None and compared is not None:
        write_text(Path(plan), compared)
    return out


@dataclass(frozen=True)
class _Begun:
    """A recipe whose data are described."""

    data_lines: Callable[[Choice[VoxelSize] | None, Choice[VoxelSize] | None], list[str]]
    """Name and data, from a working voxel size and from a coarser one that may be offered."""
    usual: DataFacts
    """What is known before the data are opened."""
    absent: str = ""
    """Why the data cannot be opened yet."""
    working: Choice[VoxelSize] | None = None
    """The working voxel size."""

    def text(self, draft: Draft, method: Sequence[str]) -> str:
        """The whole recipe."""
        return "\n".join([*self.data_lines(self.working, draft.grid), "", *method]) + "\n"

    def recipe(self, draft: Draft, out: Path) -> Recipe:
        """The recipe of a draft, which is not written."""
        return parse_recipe(self.text(draft, draft_lines(draft)), str(out)).read_from(out)


def _of_files(
    out: Path,
    image: str | None,
    labels: str | None,
    signed: bool | None,
    label_slices: Sequence[int] | None,
    options: ProposalOptions,
    progress: Progress,
) -> _Begun:
    if image is None:
        raise RecipeError("give either an image (--image) or a public data set (--set-name) to start from")
    if options.task is not None:
        raise RecipeError("--task chooses a labelling of a public data set; name it with --set-name")
    if labels is not None and options.masks:
        raise RecipeError("give either one file with all classes (--labels) or one for each class (--mask), not both")
    found: Findings = replace(
        examine(
            str(signed_path(image, signed)),
            dict(options.masks) or labels,
            label_slices=label_slices,
            folder=out.absolute().parent,
            progress=progress,
        ),
        given_voxel_size_nm=options.voxel_size_nm,
    )
    size = options.voxel_size_nm or found.voxel_size_nm
    usual = facts_of_image(found.shape, size, flat=found.kind == "images")
    absent = "there are no labels yet" if found.labels is None else ""
    return _Begun(partial(starter_lines, found), usual, absent)


def _of_set(name: str, image: str | None, labels: str | None, options: ProposalOptions) -> _Begun:
    if image is not None:
        raise RecipeError("give either an image (--image) or a public data set (--set-name) to start from")
    if labels is not None or options.masks or options.voxel_size_nm is not None:
        raise RecipeError("--labels, --mask and --voxel-size-nm are for an image; a public data set brings its own")
    chosen = find_set(name)
    task, description = chosen.find_task(options.task)

    size = description.volumes[0].voxel_size_nm
    flat = all(volume.kind == "images" for volume in description.volumes)
    missing = missing_set(name)
    usual = facts_of_image((2, 512, 512), size, flat=flat)
    lines = partial(set_starter_lines, chosen.name, task, description, tuple(chosen.tasks))
    return _Begun(lines, usual, "" if missing is None else f"the data are not here; {missing}")


def _propose(begun: _Begun, out: Path, options: ProposalOptions, progress: Progress) -> tuple[_Begun, Proposal]:
    """The method, and the data with the working grid that it is for."""
    machine = find_machine(options.max_ram)
    if not options.measure and options.minutes != DEFAULT_MINUTES:
        progress.warn(
            f"--minutes {options.minutes:g} cannot decide the length of the training with --no-measure, which leaves "
            "out what a step takes here; the recipe has a usual length"
        )
    usual = propose(begun.usual, machine, options.minutes)
    if begun.absent:
        if options.measure:
            progress.warn(f"the length of the training is not measured: {begun.absent}")
        return begun, usual
    try:
        begun, facts = _look(begun, usual.draft, out, progress)
    except CristaeError:  # files that do not fit together, which the recipe can mend
        progress.warn("the data cannot be opened as they are, so that usual settings are proposed; " + _WHY)
        return begun, usual
    if options.measure:
        try:
            measure = partial(_measure, begun, out, progress)
            return begun, propose(facts, machine, options.minutes, measure)
        except _NotMeasuredError:
            progress.warn("the length of the training is not measured, because it cannot begin yet; " + _WHY)
    return begun, propose(facts, machine, options.minutes)


def _look(begun: _Begun, usual: Draft, out: Path, progress: Progress) -> tuple[_Begun, DataFacts]:
    """Facts of the data, on a common grid where their voxel sizes differ.

    Raises:
        CristaeError: They cannot be opened or read.
    """
    recipe = begun.recipe(usual, out)
    dataset = open_data(recipe.data, recipe.folder)
    if begun.working is None:
        begun = replace(begun, working=common_grid([volume.voxel_size_nm for volume in dataset.volumes]))
        if begun.working is not None:
            recipe = begun.recipe(usual, out)
            dataset = open_data(recipe.data, recipe.folder)
    return begun, look_at_data(dataset, progress)


class _NotMeasuredError(Exception):
    """No training of a recipe can begin."""


def _measure(begun: _Begun, out: Path, progress: Progress, draft: Draft) -> Measured:
    """Some steps of the training of a draft.

    Raises:
        _NotMeasuredError: It cannot begin.
    """
    found: list[Measured] = []

    def steps(network: nn.Module, prepared: Prepared, _: float) -> None:
        count = prepared.epoch_validation.counts
        boxes = [box for _, box in prepared.validation.slabs()]
        validation = Validating(lambda *args: count(args[0], 1, args[1]), len(boxes))
        taken = forecast(network, prepared.step, prepared.feed, validation, most_steps=_STEPS)
        voxels = sum(box.size for box in boxes)
        found.append(Measured(taken.seconds_per_batch, taken.validation_seconds, taken.peak_bytes, voxels))

    try:
        check_loaded(begun.recipe(draft, out), _Quiet(progress), steps)
    except TrainingError as error:
        if "memory" not in str(error):
            raise _NotMeasuredError from error
        return Measured.too_large()
    except CristaeError as error:
        raise _NotMeasuredError from error
    if not found:
        raise _NotMeasuredError
    return found[0]


class _Quiet(Progress):
    """Shows how far it is; what a check warns of is for `recipe check`."""

    def __init__(self, shown: Progress) -> None:
        self._shown = shown

    @contextmanager
    def task(self, title: str, total: int, *, unit: str = "", done: int = 0) -> Iterator[Task]:
        """As it is shown."""
        with self._shown.task(title, total, unit=unit, done=done) as task:
            yield task
