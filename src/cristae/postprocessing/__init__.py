"""Post-processing of class maps: steps of a recipe, or of a file, that each turn maps into maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, TypeAdapter

from cristae.data.classes import Classes
from cristae.data.image import VoxelSize
from cristae.errors import RunError, VoxelSizeError
from cristae.postprocessing.fill_holes import FillHoles
from cristae.postprocessing.remove_small import RemoveSmall
from cristae.postprocessing.smooth import Close, Open
from cristae.postprocessing.split import SplitStep
from cristae.postprocessing.split_at_boundary import SplitAtBoundary
from cristae.postprocessing.split_by_affinities import SplitByAffinities
from cristae.postprocessing.split_touching import SplitTouching
from cristae.postprocessing.threshold import Threshold

Step = Annotated[
    Close | FillHoles | Open | RemoveSmall | SplitAtBoundary | SplitByAffinities | SplitTouching | Threshold,
    Field(discriminator="name"),
]
"""One step of post-processing."""
Split = SplitAtBoundary | SplitByAffinities | SplitTouching
"""A step that numbers objects: every `SplitStep`."""

__all__ = [
    "Close",
    "FillHoles",
    "Open",
    "RemoveSmall",
    "Split",
    "SplitAtBoundary",
    "SplitByAffinities",
    "SplitStep",
    "SplitTouching",
    "Step",
    "Threshold",
    "parse_steps",
    "require_fit",
    "split_classes",
    "step_problems",
]

_STEPS: TypeAdapter[tuple[Step, ...]] = TypeAdapter(tuple[Step, ...])


def parse_steps(content: object) -> tuple[Step, ...]:
    """Steps from plain values, as they are stored.

    Raises:
        ValidationError: They are none.
    """
    return _STEPS.validate_python(content)


def step_problems(steps: Sequence[Step], classes: Classes) -> list[str]:
    """What is wrong with steps for labels of these classes, each as `place.field: what is wrong`."""
    problems = [
        f"{place}.{problem}" for place, step in enumerate(steps) if (problem := step.problem(classes)) is not None
    ]
    splits = [isinstance(step, SplitStep) for step in steps]
    for place, step in enumerate(steps):
        if splits[place] and not all(splits[place:]):
            problems.append(
                f"{place}.name: {step.name} numbers the objects of the class map, so the steps that change that map "
                "come before it"
            )
    split = split_classes(steps, classes)
    if doubles := {name for name in split if split.count(name) > 1}:
        problems.append(f"{splits.index(True)}.name: two steps split the class '{min(doubles)}'; give one")
    return problems


def split_classes(steps: Sequence[Step], classes: Classes) -> list[str]:
    """The classes whose objects are numbered, step by step."""
    return [name for step in steps if isinstance(step, SplitStep) for name in step.chosen(classes)]


def require_fit(steps: Sequence[Step], classes: Classes, voxel_size_nm: VoxelSize | None) -> None:
    """Make sure, before any work, that steps can be carried out on labels of these classes.

    Raises:
        RunError: One cannot, or a value of one is still to be chosen.
        VoxelSizeError: One measures in nm and the voxel size is not known.
    """
    if problems := step_problems(steps, classes):
        raise RunError("\n".join(f"step {problem}" for problem in problems))
    for place, step in enumerate(steps):
        if step.is_open:
            raise RunError(
                f"step {place}.{step.auto_field}: auto is chosen on the validation regions of a training, so it may "
                "only stand in a recipe; give a number"
            )
        if voxel_size_nm is None and step.needs_voxel_size():
            raise VoxelSizeError(
                f"step {place}: '{step.name}' measures in nm, but the voxel size is not known; give it with "
                "--voxel-size-nm Z Y X, or give sizes in voxels"
            )
