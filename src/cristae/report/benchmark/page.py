"""The page of a benchmark: what it found, how sure that is, what it costs, and how to use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from cristae.progress import Progress
from cristae.report.benchmark.about import about_section, summary_section, unfinished_section, use_section
from cristae.report.benchmark.convergence import convergence_section
from cristae.report.benchmark.cost import cost_section
from cristae.report.benchmark.drawing import Figures
from cristae.report.benchmark.ensembles import ensembles_section
from cristae.report.benchmark.epochs import epochs_section
from cristae.report.benchmark.files import BenchmarkFiles
from cristae.report.benchmark.heat import heat_section
from cristae.report.benchmark.labels import labels_section
from cristae.report.benchmark.pairs import pairs_section
from cristae.report.benchmark.papers import papers_section
from cristae.report.benchmark.pictures import pictures_section
from cristae.report.benchmark.ranking import ranking_section
from cristae.report.benchmark.spread import drop_section, spread_section
from cristae.report.benchmark.verdict import facts_of, lead_of
from cristae.report.page import Section, build_page


@dataclass(frozen=True, eq=False)
class BenchmarkPage:
    """A page and the files of its figures."""

    html: str
    figures: Mapping[str, bytes]
    """Contents by file name."""


def benchmark_page(files: BenchmarkFiles, *, progress: Progress = Progress()) -> BenchmarkPage:
    """Make the page; what the tables do not have is left out.

    Args:
        files: The folder.
        progress: Where to show how far it is.
    """
    figures = Figures()
    makers: tuple[Callable[[], Section | None], ...] = (
        lambda: summary_section(files),
        lambda: ranking_section(files, figures),
        lambda: pairs_section(files),
        lambda: cost_section(files, figures),
        lambda: heat_section(files, figures),
        lambda: convergence_section(files, figures),
        lambda: epochs_section(files, figures),
        lambda: labels_section(files, figures),
        lambda: ensembles_section(files, figures),
        lambda: spread_section(files, figures),
        lambda: drop_section(files, figures),
        lambda: pictures_section(files),
        lambda: papers_section(files),
        lambda: use_section(files),
        lambda: unfinished_section(files),
        lambda: about_section(files),
    )
    sections = []
    with progress.task("Making the page", len(makers), unit="parts") as task:
        for make in makers:
            if (section := make()) is not None:
                sections.append(section)
            task.advance()
    html = build_page(files.facts.name, sections, lead=lead_of(files), facts=facts_of(files))
    return BenchmarkPage(html, dict(sorted(figures.files.items())))
