"""The page of a table of scores, of one run or of several side by side."""

from __future__ import annotations

from collections.abc import Sequence

from cristae.metrics.score import Score
from cristae.report.page import Section, build_page
from cristae.report.scores import comparison_markup, headline_fact, scores_markup


def scores_page(name: str, scores: Sequence[Score]) -> str:
    """One table for each run of the file, or a comparison when there are several.

    Args:
        name: What the page is called.
        scores: At least one row.
    """
    runs = list(dict.fromkeys(score.run for score in scores))
    if len(runs) > 1:
        lead = f"{len(runs)} runs side by side."
        return build_page(f"Scores: {name}", [Section("Comparison", comparison_markup(scores))], lead=lead)
    facts = headline_fact(scores)
    return build_page(f"Scores: {name}", [Section("Scores", scores_markup(scores, {}))], facts=facts)
