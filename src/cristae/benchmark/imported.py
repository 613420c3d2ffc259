"""Results of other programs, scored like the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cristae.benchmark.cells import slug
from cristae.benchmark.plan import Imported, Plan
from cristae.data.files import write_json
from cristae.data.names import name_of
from cristae.data.open import open_data
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import MissingFileError, RecipeError
from cristae.evaluation.comparison import Comparison, align
from cristae.evaluation.scoring.borders import scored_classes
from cristae.evaluation.scoring.evaluation import Evaluation, predictions_in
from cristae.evaluation.scoring.ledger import key_of
from cristae.evaluation.scoring.score import Outputs, score
from cristae.evaluation.scoring.settings import ScoreOptions, Scoring
from cristae.evaluation.segmentation import Meaning, open_segmentation
from cristae.progress import Progress
from cristae.recipe.benchmark_folder import CellFacts
from cristae.recipe.folder import read_facts
from cristae.recipe.load import load_recipe
from cristae.recipe.recipe import Recipe
from cristae.workflows.evaluate import evaluate

IMPORTED = "imported"
"""The folder of their scores."""


def imported_cells(plan: Plan, trained: Mapping[str, str] = {}) -> tuple[CellFacts, ...]:
    """A cell for each method.

    Args:
        plan: Names the methods.
        trained: Labels of the cells that are trained, by their names, which no method may have.

    Raises:
        MissingFileError: A folder is not there.
        RecipeError: Two cells would have the same name.
        ScoreError: It holds no predictions.
    """
    if plan.imported is None:
        return ()
    found, names = _methods(plan, plan.imported), dict(trained)
    for name in found:
        if slug(name) in names:
            raise RecipeError(
                f"{plan.place(('imported', 'predictions'))}: imported.predictions: '{name}' and the cell "
                f"'{names[slug(name)]}' would both be called {slug(name)}; give it another name"
            )
        names[slug(name)] = name
    return tuple(CellFacts(slug(name), name, {}, {}, imported=str(path)) for name, path in found.items())


def score_imported(plan: Plan, cells: Sequence[CellFacts], out: Path, progress: Progress) -> None:
    """Score what is imported, unless that was done with the same files: `NAME.csv` with tables beside it for each cell.

    Args:
        plan: Names where the predictions and their truth are.
        cells: As `imported_cells` gives them.
        out: The folder of the scores.
        progress: Where to report.

    Raises:
        CristaeError: Truth and predictions do not fit together.
    """
    asked = plan.imported
    assert asked is not None
    out.mkdir(exist_ok=True)
    for cell in cells:
        assert cell.imported is not None
        table, kept, inputs = out / f"{cell.name}.csv", out / f"{cell.name}.inputs.json", _inputs(plan, asked, cell)
        if table.exists():
            if kept.is_file() and read_facts(kept) == inputs:
                continue
            progress.say(f"{cell.label}: is scored again, since its predictions, the truth or the plan changed")
            for path in Outputs.at(table).tables:
                path.unlink(missing_ok=True)
        _score(plan, asked, cell, table, progress)
        write_json(kept, inputs)


def _score(plan: Plan, asked: Imported, cell: CellFacts, table: Path, progress: Progress) -> None:
    place, options = Path(cell.imported or ""), ScoreOptions(binarize=asked.binarize)
    if asked.truth is not None:
        evaluate({cell.label: place}, plan.folder / asked.truth, out=table, options=options, progress=progress)
        return
    recipe = load_recipe(plan.folder / plan.base, plan.overrides)
    comparisons = tuple(_comparisons(recipe, place, asked, progress))
    classes = scored_classes(comparisons[0].truth.classes, options)
    score([Evaluation(Scoring(cell.label, classes, asked.binarize, options), comparisons)], table, progress)


def _inputs(plan: Plan, asked: Imported, cell: CellFacts) -> dict[str, str]:
    """What scores follow from: names, sizes and times of the files, and what the plan says of them."""
    files, settings = [Path(cell.imported or "")], {"label": cell.label, "binarize": asked.binarize}
    if asked.truth is not None:
        return {"inputs": key_of([*files, plan.folder / asked.truth], settings)}
    recipe = load_recipe(plan.folder / plan.base, plan.overrides)
    files += [recipe.folder / path for volume in recipe.data.volumes for path in volume.paths]
    return {"inputs": key_of(files, {**settings, "data": recipe.data.model_dump(mode="json")})}


def _methods(plan: Plan, asked: Imported) -> Mapping[str, Path]:
    if isinstance(asked.predictions, str):
        truth = plan.folder / asked.truth if asked.truth is not None else "-"
        return predictions_in(plan.folder / asked.predictions, truth)
    found = {name: plan.folder / path for name, path in asked.predictions.items()}
    for name, path in found.items():
        if not path.exists():
            raise MissingFileError(f"{plan.place(('imported', 'predictions', name))}: {path}: does not exist")
    return found


def _comparisons(recipe: Recipe, place: Path, asked: Imported, progress: Progress) -> Iterator[Comparison]:
    """Each region that is scored with its prediction: the test regions, else all that is trained and validated on."""
    dataset = open_data(recipe.data, recipe.folder)
    meaning = Meaning(recipe=recipe, threshold=asked.binarize)
    for part in dataset.test or (*dataset.train, *dataset.validate):
        truth = open_segmentation(part.volume, Meaning(dataset.classes), role="truth", progress=progress)
        source = _prediction_of(part, place)
        found = open_segmentation(
            source, meaning, role="prediction", like=truth.geometry("the truth"), progress=progress
        )
        for box in labelled_boxes(part):
            yield align(truth, found, box=box, progress=progress)


def _prediction_of(part: Part, place: Path) -> Path:
    """The file of a volume: the only one, the one of its name, or a whole folder of slices of a stack.

    Raises:
        MissingFileError: There is none of an image.
        RecipeError: There are several.
    """
    if place.is_file() or place.suffix == ".zarr":
        return place
    wanted = part.volume.name.rsplit("/", 1)[-1]
    found = [file for file in sorted(place.iterdir()) if name_of(file) in (wanted, part.volume.image.path.stem)]
    if not found and "/" not in part.volume.name:
        return place
    if not found:
        raise MissingFileError(f"{place}: has no prediction for '{part.volume.name}'; name its file {wanted}")
    if len(found) > 1:
        raise RecipeError(f"{place}: {found[0].name} and {found[1].name} are both of '{part.volume.name}'; keep one")
    return found[0]
