"""Post-processing of class maps: steps of a recipe, or of a file, that each turn maps into maps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from cristae.data.classes import Classes
from cristae.postprocess.fill_holes import FillHoles
from cristae.postprocess.remove_small import RemoveSmall
from cristae.postprocess.smooth import Close, Open
from cristae.postprocess.split_touching import SplitTouching
from cristae.postprocess.threshold import Threshold

Step = Annotated[
    Close | FillHoles | Open | RemoveSmall | SplitTouching | Threshold,
    Field(discriminator="name"),
]
"""One step of post-processing."""

__all__ = ["Close", "FillHoles", "Open", "RemoveSmall", "SplitTouching", "Step", "Threshold", "step_problems"]


def step_problems(steps: Sequence[Step], classes: Classes) -> list[str]:
    """What is wrong with steps for labels of these classes, each as `place.field: what is wrong`."""
    problems = [
        f"{place}.{problem}" for place, step in enumerate(steps) if (problem := step.problem(classes)) is not None
    ]
    kinds = [step.name for step in steps]
    for place, kind in enumerate(kinds):
        if kind == "split_touching" and set(kinds[place:]) != {kind}:
            problems.append(
                f"{place}.name: split_touching numbers the objects of the class map, so the steps that change that map "
                "come before it"
            )
    split = [name for step in steps if isinstance(step, SplitTouching) for name in step.chosen(classes)]
    if doubles := {name for name in split if split.count(name) > 1}:
        problems.append(f"{kinds.index('split_touching')}.name: two steps split the class '{min(doubles)}'; give one")
    return problems
