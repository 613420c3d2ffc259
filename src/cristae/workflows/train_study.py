"""Train all folds and instances of a recipe, as one study folder: one after the other, or side by side on workers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cristae import errors
from cristae.classical.config import RandomForestConfig
from cristae.cluster.jobs import Job, JobFailure
from cristae.cluster.options import ClusterOptions
from cristae.cluster.run import run_jobs
from cristae.data.files import write_text
from cristae.errors import CristaeError, RecipeError, TrainingError
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
from cristae.workflows.train import train, train_until
from cristae.workflows.training_data import default_place
from cristae.workflows.tune import tune_together

_RESULTS = (SCORES, ENSEMBLE, PAGE)
"""What a study has only when all of its members are trained."""
FAILURES = "failures.log"
"""Where members failed on workers, for whoever looks for the reason."""

Result = tuple[float | None, str]
"""Of a member: its validation and the SHA-256 of its weights."""


def train_study(
    recipe: Recipe,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    options: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
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
        options: Where members are trained; without any, one after the other in this process. On workers a member that
            fails does not keep the others from being trained. They end with the weights that a process with as many
            threads gives.
        progress: Where to show how far it is.

    Raises:
        CristaeError: The recipe, its data or the output folder cannot be used; nothing was overwritten.
        TrainingError: Members failed on workers; what went wrong inside stands in `failures.log`.
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
    todo = []
    for member in plan.members:
        if is_finished(study, member):
            progress.say(f"{place / member.name}: training had finished already")
        else:
            todo.append(member)
    if options.on_dask:
        study = _train_on_workers(study, todo, fresh, options, progress)
    else:
        study = _train_here(study, todo, fresh, progress)
    if not has_results(study):
        finish_study(study, plan.members, progress)
    return study


def is_finished(study: Study, member: Member) -> bool:
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


def has_results(study: Study) -> bool:
    """Whether what a study has at its end is there, and its ensemble is of the members that are asked for now."""
    if not all((study.path / name).is_file() for name in _RESULTS):
        return False
    return members_named(study.ensemble_path) == best_members(study)


def _train_here(study: Study, todo: Sequence[Member], fresh: bool, progress: Progress) -> Study:
    """One after the other; the first that fails ends it."""
    numbers = {member.run: number for number, member in enumerate(study.members, start=1)}
    trained = False
    for member in todo:
        progress.say(f"Member {numbers[member.name]} of {len(numbers)}: {member.name}")
        study = begin_member(study, member.name)
        try:
            study, trained = (
                complete_member(study, member.name, train_member(study.path, member, study.nested, progress=progress)),
                True,
            )
        except CristaeError:
            if fresh and not trained:
                _forget_empty(study, [member.name])
            raise
    return study


def _train_on_workers(
    study: Study, todo: Sequence[Member], fresh: bool, options: ClusterOptions, progress: Progress
) -> Study:
    """Side by side; only this process writes what the members share."""
    (study.path / FAILURES).unlink(missing_ok=True)
    known = [study]

    def began(name: str) -> None:
        known[0] = begin_member(known[0], name)

    def done(name: str, result: Result) -> None:
        known[0] = complete_member(known[0], name, result)

    jobs = [
        Job(one.name, train_member, (study.path.absolute(), one, study.nested), _cost(study, one), _lock_of(study, one))
        for one in todo
    ]
    failures = run_jobs(jobs, options, on_done=done, on_start=began, progress=progress, title="Training")
    if failures:
        found = _failure_of(known[0], failures)
        if fresh and not any(state.state == "complete" for state in known[0].members):
            _forget_empty(known[0], [one.name for one in todo])
        raise found
    return known[0]


def train_member(place: Path, member: Member, nested: bool, *, progress: Progress) -> Result:
    """Train a member of the study in a folder, or resume it.

    Args:
        place: The study folder.
        member: Which.
        nested: Score it on what it tests, too.
        progress: Where to report.

    Returns:
        Its validation and the hash of its weights.
    """
    folder = place / member.name
    with naming(member, progress) as named:
        if nested:
            tested_data(member.recipe)  # raises before the training what scoring would raise after it
            for path in score_paths(folder / TEST_SCORES):
                path.unlink(missing_ok=True)
        run = train(member.recipe, out=folder, resume=is_run(folder), progress=named)
        if nested:
            score_test(run, named)
    return validation_of(run, read_scores(run.path / SCORES)), weights_sha256(run)


def train_member_until(place: Path, member: Member, epoch: int, *, progress: Progress) -> None:
    """Begin or resume the training of a member, and leave it unfinished when so many epochs are done."""
    with naming(member, progress) as named:
        train_until(member.recipe, epoch, out=place / member.name, progress=named)


def begin_member(study: Study, name: str) -> Study:
    """The study with a member whose training begins, written to `study.json`."""
    _remove_results(study)
    return study.with_member(replace(study.member(name), state="training"))


def complete_member(study: Study, name: str, result: Result) -> Study:
    """The study with a member that is trained, written to `study.json`."""
    value, sha256 = result
    return study.with_member(replace(study.member(name), state="complete", validation=value, sha256=sha256))


def _cost(study: Study, member: Member) -> float:
    """Members differ in what they are trained on, and take longer the more that is."""
    folds = {one["fold"]: sum(one["train_vox"].values()) for one in study.plan.get("folds", ())}
    return float(folds.get(member.fold, 1))


def _lock_of(study: Study, member: Member) -> Path:
    return study.path / f".{member.name.replace('/', '-')}.lock"


def _forget_empty(study: Study, names: Sequence[str]) -> None:
    """Nothing is lost, and what is repaired can begin at this place, where members have left nothing."""
    if not any((study.path / name).exists() for name in names):
        shutil.rmtree(study.path, ignore_errors=True)


def _failure_of(study: Study, failures: Sequence[JobFailure]) -> CristaeError:
    """One error for all, of the kind of the first; what went wrong inside is written down."""
    inside = "\n".join(f"{one.key}\n{one.traceback}" for one in failures if one.traceback)
    if inside:
        write_text(study.path / FAILURES, inside)
    told = [one.error if one.error.startswith(f"{one.key}: ") else f"{one.key}: {one.error}" for one in failures]
    kind = getattr(errors, failures[0].kind, TrainingError)
    where = f"\nWhere it failed stands in {study.path / FAILURES}." if inside else ""
    rest = len(study.members) - len(failures)
    kept = f"\nThe other {rest} of {len(study.members)} members are trained; --resume trains what is missing."
    lines = "\n".join(told) + where + (kept if rest else "")
    found: CristaeError = kind(lines)
    return found


def _remove_results(study: Study) -> None:
    """Those of a study that is trained on, or that was killed while they were written, are out of date."""
    for name in reversed(_RESULTS):
        (study.path / name).unlink(missing_ok=True)


def finish_study(study: Study, members: Sequence[Member], progress: Progress) -> None:
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
