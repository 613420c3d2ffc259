"""Train all folds and instances of a recipe, as one study folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cristae.classical.config import RandomForestConfig
from cristae.data.files import write_text
from cristae.errors import CristaeError, RecipeError
from cristae.evaluation.study_scores import best_members, study_scores, validation_of
from cristae.metrics.score import read_scores, score_paths, scores_csv
from cristae.progress import Progress, WarnOnce
from cristae.recipe.complete import completed
from cristae.recipe.ensemble_file import ENSEMBLE, members_named, write_ensemble
from cristae.recipe.folder import is_run
from cristae.recipe.postprocess import chosen_steps
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import is_complete, open_run, open_unfinished_run, weights_sha256
from cristae.recipe.study import SCORES, TEST_SCORES, Study, create_study, require_study_place
from cristae.recipe.study_members import Member
from cristae.workflows.held_out import score_test, tested_data
from cristae.workflows.plan_study import naming, plan_study
from cristae.workflows.report import PAGE, report
from cristae.workflows.train import train
from cristae.workflows.training_data import default_place
from cristae.workflows.tune import tune_together

_RESULTS = (SCORES, ENSEMBLE, PAGE)
"""What a study has only when all of its members are trained."""


def train_study(
    recipe: Recipe, *, out: str | Path | None = None, resume: bool = False, progress: Progress = Progress()
) -> Study:
    """Train every fold and instance that a recipe with `folds` or `instances` asks for.

    Each member is an ordinary run, begun from weights of its own, in a folder of the study; of nested folds it is then
    scored on the part that it tests. When all are trained, the study gets the table of their scores, an ensemble file
    and a page.

    Args:
        recipe: As `load_recipe` gives it.
        out: The study folder; None takes `runs/<name of the recipe>`.
        resume: Resume a study that was interrupted: members that are finished stay as they are, and the one that was
            interrupted ends with the weights of an undisturbed one. `folds.only` may name more folds than before, and
            `instances.best` another number.
        progress: Where to show how far it is.

    Raises:
        CristaeError: The recipe, its data or the output folder cannot be used; nothing was overwritten.
        KeyboardInterrupt: Ctrl-C; `resume=True` continues.

    Example:
        study = cristae.train_study(cristae.load_recipe("mito.yaml", ["folds={count: 5}"]))
    """
    if not recipe.is_study:
        raise RecipeError(
            recipe.problem("has neither folds nor instances, so it stands for one training; use train, or add `folds`")
        )
    place, progress = Path(out or default_place(recipe)), WarnOnce(progress)
    with recipe.telling_where():
        complete = completed(recipe)
    require_study_place(place, complete, resume=resume)
    plan, fresh = plan_study(recipe, progress), not place.exists()
    study = create_study(place, plan.recipe, plan.facts, plan.members, resume=resume)
    trained = False
    for number, member in enumerate(plan.members, start=1):
        if _is_finished(study, member):
            progress.say(f"{place / member.name}: training had finished already")
            continue
        progress.say(f"Member {number} of {len(plan.members)}: {member.name}")
        try:
            study, trained = _train_member(study, member, progress), True
        except CristaeError:
            if fresh and not trained and not (place / member.name).exists():
                shutil.rmtree(place, ignore_errors=True)  # nothing is lost, and what is repaired can begin here
            raise
    if not _has_results(study):
        _finish(study, plan.members, progress)
    return study


def _is_finished(study: Study, member: Member) -> bool:
    """Whether a member was trained as long as it is asked to, and its weights are those that were noted. Other
    post-processing, which a resumed run takes over, must have reached it too."""
    folder, state = study.path / member.name, study.member(member.name)
    if state.state != "complete" or not folder.is_dir():
        return False
    run = open_unfinished_run(folder)
    if run.recipe.predict.postprocess != member.recipe.predict.postprocess or chosen_steps(run) is None:
        return False
    if study.nested and not (folder / TEST_SCORES).is_file():
        return False
    epochs = None if isinstance(member.recipe.model, RandomForestConfig) else member.recipe.training.epochs
    return is_complete(run, epochs) and weights_sha256(run) == state.sha256


def _has_results(study: Study) -> bool:
    """Whether what a study has at its end is there, and its ensemble is of the members that are asked for now."""
    if not all((study.path / name).is_file() for name in _RESULTS):
        return False
    return members_named(study.ensemble_path) == best_members(study)


def _train_member(study: Study, member: Member, progress: Progress) -> Study:
    _remove_results(study)
    study = study.with_member(replace(study.member(member.name), state="training"))
    folder = study.path / member.name
    with naming(member, progress) as named:
        if study.nested:
            tested_data(member.recipe)  # raises before the training what scoring would raise after it
            for path in score_paths(folder / TEST_SCORES):
                path.unlink(missing_ok=True)
        run = train(member.recipe, out=folder, resume=is_run(folder), progress=named)
        if study.nested:
            score_test(run, named)
    value, sha256 = validation_of(run, read_scores(run.path / SCORES)), weights_sha256(run)
    return study.with_member(replace(study.member(member.name), state="complete", validation=value, sha256=sha256))


def _remove_results(study: Study) -> None:
    """Those of a study that is trained on, or that was killed while they were written, are out of date."""
    for name in reversed(_RESULTS):
        (study.path / name).unlink(missing_ok=True)


def _finish(study: Study, members: Sequence[Member], progress: Progress) -> None:
    """Scores, ensemble file and page of a study whose members are all trained."""
    _remove_results(study)
    chosen = best_members(study)
    scores = {one.name: read_scores(study.path / one.name / study.member_scores) for one in members}
    used = [one for one in members if one.name in chosen]
    runs = [open_run(study.path / one.name) for one in used]
    steps = tune_together(runs, progress) if len(runs) > 1 else None
    write_text(study.path / SCORES, scores_csv(study_scores(study, scores, chosen)))
    write_ensemble(study.ensemble_path, runs, postprocess=steps, held_out=[one.held_out for one in used])
    report(study.path)
