"""Whether there will be the score that a plan ranks cells by."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.benchmark.fair import PlannedCell
from cristae.benchmark.plan import Plan
from cristae.errors import RecipeError
from cristae.metrics.table import COMPARED, family_of
from cristae.metrics.tally import ALL


def require_score(plan: Plan, cells: Sequence[PlannedCell]) -> None:
    """Make sure that cells can be ranked as a plan asks, before any is trained.

    Raises:
        RecipeError: No score has that name, or none of its values is better than another, or a cell lacks the class.
    """
    asked = plan.rank_by
    family = family_of(asked.metric)
    if family is None or not family.better:
        why = "there is no such score" if family is None else "it is neither good nor bad"
        raise RecipeError(
            f"{plan.place(('rank_by', 'metric'))}: rank_by.metric: cells cannot be ranked by '{asked.metric}': {why}; "
            f"such as {', '.join(COMPARED)} can be"
        )
    for one in cells:
        classes = one.study.recipe.data.classes
        assert classes is not None, "the recipe is complete"
        if asked.class_name not in (ALL, *classes.foreground):
            raise RecipeError(
                f"{plan.place(('rank_by', 'class'))}: rank_by.class: cell '{one.cell.label}' has no class "
                f"'{asked.class_name}'; there are {', '.join(classes.foreground)}, and `{ALL}` for the mean over them"
            )
