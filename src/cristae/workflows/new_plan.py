"""A starter plan beside a proposed recipe: networks worth comparing on its data, in the folds that these allow."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from cristae.data.box import Triple
from cristae.data.folds.config import FoldsConfig
from cristae.errors import CristaeError
from cristae.progress import Progress
from cristae.recipe.load import parse_recipe
from cristae.recipe.proposal.lines import comment, flow
from cristae.recipe.proposal.network import with_width
from cristae.recipe.proposal.propose import Proposal
from cristae.recipe.recipe import Recipe
from cristae.recipe.text import scalar_to_yaml
from cristae.workflows.plan_study import fold_guards, plan_study
from cristae.workflows.training_data import check_form

_LONGEST_NAME = 70
"""Letters of the recipe's name that the plan's keeps, so that what is added fits."""


def plan_text(text: str, recipe: Path, plan: Path, proposal: Proposal, *, absent: str = "") -> str:
    """A plan that compares networks on the data of a proposed recipe.

    Args:
        text: The recipe.
        recipe: Its file.
        plan: The file of the plan, which names the recipe relative to it.
        proposal: What the recipe was made of.
        absent: Why the data cannot be opened yet; the folds are then left to the benchmark.
    """
    networks = _networks(proposal)
    fitting = {} if absent else dict(_fitting(text, recipe, networks))
    cells = {label: networks[label] for label in fitting or networks}
    folds, why = _folds([*fitting.values()]) if fitting else (FoldsConfig(), "as many folds as the data allow")
    name = parse_recipe(text, str(recipe)).name[:_LONGEST_NAME]
    count = len(cells) * (1 if folds is None else folds.count if isinstance(folds.count, int) else 5)
    draft = proposal.draft
    return "\n".join(
        [
            "# Which network suits these data? A start, with the recipe's own network beside others:",
            f"#     cristae benchmark {plan.name} --out {name}-networks",
            *comment(
                f"It makes up to {count} trainings of as many epochs as the recipe has{_length(proposal)}; for a quick "
                "look write `budget: {epochs: 3}`"
            ),
            f"name: {name}-networks",
            "description: Which network suits these data?",
            f"recipe: {scalar_to_yaml(_relative(recipe, plan))}",
            "",
            *comment(f"{draft.dimensions.value}: {draft.dimensions.reason}. All are about as wide"),
            "cells:",
            *(f"  {scalar_to_yaml(label)}: {flow(changes)}" for label, changes in cells.items()),
            "",
            *comment(why),
            *([] if folds is None else [f"folds: {flow(folds.model_dump(exclude_defaults=True)) or '{}'}"]),
            "rank_by: {metric: Jaccard, class: all}  # the mean IoU over the foreground classes",
            "",
        ]
    )


def _networks(proposal: Proposal) -> dict[str, dict[str, Any]]:
    """What each cell changes, by its name; the first is the recipe's own network."""
    draft = proposal.draft
    own, width = dict(draft.model.value), draft.width
    flat = dict(with_width({"name": "unet_bn"}, width))
    if draft.dimensions.value == "3D":
        shape = {"shape": "thin", "padded": True} if "anisotropy" in own else {"shape": "thick"}
        return {
            "residual U-Net, 3D": {"model": own},
            "U-Net, 3D": {"model": {"name": "unet_3d", "base": width, **shape}},
            "U-Net, slice by slice": {
                "model": flat,
                "sampling.size": [*draft.size.value[1:]],
                "augment": [_within_slices(one) for one in draft.augment.value],
            },
        }
    slices = {"slices": own["slices"]} if "slices" in own else {}
    others: dict[str, dict[str, Any]] = {
        "SegET": {"name": "seget", "base": width // 2},
        "EM-net V1 2X": {"name": "emnet", "variant": "v1_2x", "base": width // 4},
        "ResNet": {"name": "resnet_small", "base": width // 2},
    }
    alone = {"U-Net, slice by slice": {"model": flat}} if slices else {}
    return {"U-Net": {"model": own}, **alone, **{label: {"model": one | slices} for label, one in others.items()}}


def _fitting(text: str, recipe: Path, networks: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, Recipe]]:
    """The recipes of the networks that these patches and classes are for."""
    for label, changes in networks.items():
        overrides = [f"{path}={flow(value)}" for path, value in changes.items()]
        with suppress(CristaeError):
            own = parse_recipe(text, str(recipe), overrides).read_from(recipe)
            yield label, check_form(own, Progress())


def _within_slices(augmentation: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**augmentation, "axes": ["y", "x"]} if "axes" in augmentation else augmentation


def _folds(recipes: Sequence[Recipe]) -> tuple[FoldsConfig | None, str]:
    """Folds with the widest gap that any of the networks needs, as a benchmark makes them, and why; None where the data
    allow none."""
    folds = FoldsConfig()
    try:
        guards = [fold_guards(one.model_copy(update={"folds": folds})) for one in recipes]
        widest = _widest([gap for one in guards for gap in one.values()])
        gapped = recipes[0].model_copy(update={"folds": folds.model_copy(update={"guard_vox": widest})})
        facts = plan_study(gapped, Progress()).facts
    except CristaeError as error:
        first = str(error).splitlines()[0]
        return None, f"no folds, so all are trained and validated as the recipe says: {first}"
    return FoldsConfig(count=facts["count"], by=facts["by"]), f"folds by {facts['by']}: {facts['why']}"


def _widest(gaps: Sequence[Triple]) -> Triple:
    z, y, x = (max(gap[axis] for gap in gaps) for axis in range(3))
    return z, y, x


def _length(proposal: Proposal) -> str:
    return "" if proposal.length is None else f", {proposal.minutes:g} minutes or so each"


def _relative(recipe: Path, plan: Path) -> str:
    try:
        return Path(os.path.relpath(recipe.absolute(), plan.absolute().parent)).as_posix()
    except ValueError:  # on another drive of Windows
        return recipe.absolute().as_posix()
