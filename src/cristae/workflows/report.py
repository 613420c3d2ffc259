"""Write the page of a run, a study, a benchmark, a prediction or a table of scores."""

from __future__ import annotations

from pathlib import Path

from cristae.data.address import Address, place_of
from cristae.data.files import require_new_file, write_text, write_together
from cristae.errors import MissingFileError, RunError
from cristae.metrics.score import read_scores
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import FIGURES, is_benchmark
from cristae.recipe.folder import RECIPE, is_study
from cristae.report.benchmark.files import read_benchmark_files
from cristae.report.benchmark.page import benchmark_page
from cristae.report.run_page import read_run, run_page
from cristae.report.scores_page import read_curves, scores_page
from cristae.report.study_page import read_study, study_page

PAGE = "report.html"


def report(path: str | Path, *, out: str | Path | None = None, progress: Progress = Progress()) -> Path:
    """Write one self-contained HTML page.

    Args:
        path: A run folder, a study folder, a benchmark, a prediction, or a table of scores (.csv or .json).
        out: The page; None takes `report.html` in a run, study or benchmark (where an older page gives way to the new
            one), else `<name>-report.html` beside the prediction or the table, or here
            for a prediction in a store. The figures of a benchmark are written
            to its `figures/` as well.
        progress: Where to show how far it is.

    Returns:
        Where the page is.

    Raises:
        MissingFileError: There is nothing at `path`.
        RunError: `path` is nothing that a page can be made of, or is damaged or incomplete.
        OutputExistsError: The page exists already (other than a run's own).

    Example:
        >>> report("runs/mito")  # doctest: +SKIP
        PosixPath('runs/mito/report.html')
    """
    place = place_of(path)
    if isinstance(place, Address):
        return _page_of_address(place, out, progress)
    path = place
    if not path.exists():
        raise MissingFileError(
            f"{path}: does not exist; name a run folder, a study folder, a benchmark, a prediction or a table of scores"
        )
    is_run = (path / RECIPE).is_file()
    own = is_run or is_benchmark(path)
    page = Path(out) if out else path / PAGE if own else path.with_name(f"{path.stem}-{PAGE}")
    if out or not own:
        require_new_file(page, what="the page")
    write_text(page, _content(path, is_run, progress))
    return page


def _page_of_address(address: Address, out: str | Path | None, progress: Progress) -> Path:
    """The page of a prediction in a store, in the folder where the command is given unless said otherwise."""
    from cristae.inference.prediction import open_prediction
    from cristae.report.prediction_page import prediction_page

    page = Path(out) if out else Path(f"{address.stem}-{PAGE}")
    require_new_file(page, what="the page")
    write_text(page, prediction_page(open_prediction(address), progress=progress))
    return page


def _content(path: Path, is_run: bool, progress: Progress) -> str:
    if is_benchmark(path):
        return _benchmark(path, progress)
    if is_study(path):
        return study_page(read_study(path))
    if is_run:
        return run_page(read_run(path))
    if path.is_file() and path.suffix.lower() in (".csv", ".json"):
        return scores_page(path.stem, read_scores(path), read_curves(path.with_name(f"{path.stem}.curves.csv")))
    if path.is_dir() and (path / "zarr.json").is_file():
        from cristae.inference.prediction import open_prediction
        from cristae.report.prediction_page import prediction_page

        return prediction_page(open_prediction(path), progress=progress)
    raise RunError(
        f"{path}: no page can be made of this; name a run or study folder (it has a recipe.yaml), a benchmark, a "
        "prediction (.zarr) or a table of scores (.csv)"
    )


def _benchmark(path: Path, progress: Progress) -> str:
    """The page of a benchmark; its figures are kept too."""
    made = benchmark_page(read_benchmark_files(path), progress=progress)
    write_together({path / FIGURES / name: content for name, content in made.figures.items()})
    return made.html
