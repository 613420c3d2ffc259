from __future__ import annotations

from cristae.cli.comparison import findings_text
from cristae.workflows.compare import Finding


def finding(run: str, reason: str) -> Finding:
    return Finding(
        run=run,
        other="",
        class_name="mito",
        metric="F1",
        quantity="score",
        value=0.9,
        low=None,
        high=None,
        p=None,
        p_holm=None,
        n=4,
        unit="slice",
        method="",
        reason=reason,
    )


def test_a_reason_that_rows_share_is_told_once() -> None:
    few = "an interval needs at least 6 independent units, found 4"
    text = findings_text([finding("a", few), finding("b", few), finding("c", "all units agree")])
    assert text.splitlines()[-2:] == [f"2 rows: {few}", "c [mito]: all units agree"]
