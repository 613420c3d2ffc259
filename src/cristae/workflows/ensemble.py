"""Choose which runs predict together, by what they say of the voxels that all of them were validated on."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cristae.data.address import Place
from cristae.data.box import Box
from cristae.data.files import require_new_file, require_writable, write_json, write_text
from cristae.data.open import Dataset, open_data
from cristae.data.splits import Part, check_apart, files_of
from cristae.errors import RecipeError, RunError
from cristae.evaluation.ensembles.annotated import AnnotatedVoxels
from cristae.evaluation.ensembles.choice import GREEDY_STEPS, ChosenEnsemble, EnsembleOptions, choose_members
from cristae.evaluation.ensembles.member_maps import MemberMaps, open_maps
from cristae.inference.config import PredictOptions
from cristae.progress import Progress
from cristae.recipe.ensemble_file import MemberRun, flat_members, write_ensemble
from cristae.recipe.matching import common_settings, working_sizes
from cristae.recipe.postprocess import steps_of
from cristae.recipe.run import Run, weights_sha256
from cristae.recipe.study_members import held_out_of
from cristae.report.ensemble_page import ensemble_page
from cristae.workflows.predict import predict
from cristae.workflows.soup import cook_soup

MAPS = "ensemble-maps"
"""Folder, beside the ensemble file, of what the runs predict."""
_SHOWN = 4
"""Regions that a message lists."""


def ensemble(
    runs: Sequence[Run | str | Path],
    *,
    out: str | Path,
    options: EnsembleOptions = EnsembleOptions(),
    progress: Progress = Progress(),
) -> ChosenEnsemble:
    """Choose members of an ensemble among runs that were validated on the same voxels.

    Every run predicts the validation regions once; what it predicts is kept in the folder `ensemble-maps` beside the
    file, so that a call that was killed, or is repeated with other options and another `out` in the same folder,
    predicts nothing again; the folder may be removed. Beside the ensemble file stand `<name>.json` and `<name>.html`,
    with scores of the averages of the best k runs, correlations of errors, and how well disagreement says where the
    ensemble errs. The score of what was chosen is that on the very voxels that it was chosen by, which flatters; `test`
    adds scores on others.

    Args:
        runs: Run folders, ensemble files, or folders that hold an `ensemble.yaml`. They have the same classes and the
            same validation regions.
        out: The new ensemble file, ending in .yaml; of a soup the new run folder.
        options: By which rule, and how many.
        progress: Where to report.

    Raises:
        RunError: There are fewer than two runs, or they differ in classes, validation regions or settings.
        VolumeError: A run was trained on what it is to be tested on.
        OutputExistsError: There is something at `out` already.
        ScoreError: The options do not fit, or nothing can be scored.
        CristaeError: Data or weights cannot be read.

    Example:
        chosen = cristae.ensemble(["runs/a", "runs/b", "runs/c"], out="runs/ensemble.yaml")
    """
    out = Path(out)
    opened = _distinct_runs(runs)
    datasets = [_open(run) for run in opened]
    _require_common(opened, datasets)
    if options.soup:
        _require_same_training(opened, datasets)
        return cook_soup(opened, out, uniform=options.rule == "soup", progress=progress)
    _require_place(out)
    _require_one_prediction(opened, datasets[0], options, progress)
    threshold = opened[0].recipe.predict.threshold
    found = {"validation": _annotated(opened[0], datasets[0], datasets[0].validate)}
    if options.test:
        found["test"] = _tested(opened, datasets)
    folder = out.with_name(MAPS)
    maps = {name: _member_maps(opened, voxels, folder / name, threshold, progress) for name, voxels in found.items()}
    names = [str(run.path) for run in opened]
    steps = (options.size or GREEDY_STEPS) if options.rule == "greedy" else 1
    with progress.task("Choosing members", steps, unit="steps") as task:
        chosen = choose_members(out, names, maps["validation"], maps.get("test"), options, task.advance)
    write_json(out.with_suffix(".json"), chosen.to_dict())
    write_text(out.with_suffix(".html"), ensemble_page(out.stem, chosen.to_dict()))
    _write(out, opened, chosen, datasets[0].validate)
    return chosen


def _distinct_runs(runs: Sequence[Run | str | Path]) -> list[Run]:
    members = flat_members(runs)
    for member in members:
        if member.test_time not in (None, member.run.recipe.predict.test_time):
            raise RunError(
                f"{member.ensemble}: states test_time: {member.test_time}, and the recipe of {member.run.path} "
                f"{member.run.recipe.predict.test_time}; members are chosen as their recipes say, so write it there "
                "(predict.test_time of recipe.yaml in each run folder), or name the runs themselves"
            )
    opened = [member.run for member in members]
    seen: dict[str, Run] = {}
    for run in opened:
        digest = weights_sha256(run)
        if digest in seen:
            raise RunError(f"{run.path}: has the same weights as {seen[digest].path}; name each run once")
        seen[digest] = run
    if len(opened) < 2:
        raise RunError(f"members are chosen among at least two runs, got {len(opened)}")
    return opened


def _open(run: Run) -> Dataset:
    with run.recipe.telling_where():
        return open_data(run.recipe.data, run.recipe.folder)


def _require_common(runs: Sequence[Run], datasets: Sequence[Dataset]) -> None:
    """Refuse runs of other classes, and of other validation regions than the first."""
    first, expected = runs[0], _boxes_of(datasets[0].validate)
    if not expected:
        raise RunError(f"{first.path}: its recipe has no validation regions (data.validate) to choose members by")
    for run, dataset in zip(runs, datasets, strict=True):
        if run.classes.scheme != first.classes.scheme:
            raise RunError(
                f"{run.path}: has the classes {run.classes.listed}, but {first.path} has {first.classes.listed}; "
                "members are chosen among runs of the same classes"
            )
        if any(part.volume.objects is not None for part in dataset.validate):
            raise RunError(f"{run.path}: its classes are affinities; members are chosen by classes of voxels alone")
        found = _boxes_of(dataset.validate)
        if found != expected:
            differing = sorted(f"{box} of {files[0].name}" for files, box in found ^ expected)
            more = ", ..." if len(differing) > _SHOWN else ""
            raise RunError(
                f"{run.path}: was validated on other voxels than {first.path} ({', '.join(differing[:_SHOWN])}{more}). "
                "Members are chosen by voxels that none of them was trained on; folds of a cross-validation share "
                "none, so choose among the instances of one fold"
            )


def _require_one_prediction(
    runs: Sequence[Run], dataset: Dataset, options: EnsembleOptions, progress: Progress
) -> None:
    """Refuse runs that cannot predict together, before any of them predicts alone."""
    fused = {"weight": 1.0} if options.rule == "greedy" else {"fusion": "average"}
    common_settings([MemberRun(run, **fused) for run in runs])
    steps_of([MemberRun(run) for run in runs])
    working_sizes(runs, dataset.validate[0].volume.image, stated=False, progress=progress)


def _require_same_training(runs: Sequence[Run], datasets: Sequence[Dataset]) -> None:
    """Refuse a soup of runs that were trained on other regions: its recipe says what it was trained on."""
    expected = _boxes_of(datasets[0].train)
    for run, dataset in zip(runs, datasets, strict=True):
        if _boxes_of(dataset.train) != expected:
            raise RunError(
                f"{run.path}: was trained on other regions (data.train) than {runs[0].path}, and the recipe of their "
                "mean could not say on which; average probabilities instead, with the rule greedy or top"
            )


def _boxes_of(parts: Sequence[Part]) -> set[tuple[tuple[Place, ...], Box]]:
    return {(files_of(part.volume), part.box) for part in parts}


def _tested(runs: Sequence[Run], datasets: Sequence[Dataset]) -> AnnotatedVoxels:
    """The test regions of the first run, which no run was trained on."""
    first = datasets[0]
    if not first.test:
        raise RecipeError(
            runs[0].recipe.problem("data.test: there are no test regions to score on; leave `test` out, or name some")
        )
    for run, dataset in zip(runs, datasets, strict=True):
        with run.recipe.telling_where():
            check_apart({"train": dataset.train, "test": first.test})
    return _annotated(runs[0], first, first.test)


def _annotated(run: Run, dataset: Dataset, parts: Sequence[Part]) -> AnnotatedVoxels:
    found = AnnotatedVoxels(tuple(parts), dataset.classes)
    if not found.voxels:
        raise RunError(f"{run.path}: no voxel of the regions that members are compared on is annotated")
    return found


def _require_place(out: Path) -> None:
    if out.suffix.lower() not in (".yaml", ".yml"):
        raise RecipeError(f"{out}: an ensemble file is YAML; call it {out.with_suffix('.yaml').name}")
    require_writable(out)
    require_new_file(out, what="the ensemble file")
    if not _is_of_a_choice(out.with_suffix(".json")):  # one that was killed before the ensemble file
        for path in (out.with_suffix(".json"), out.with_suffix(".html")):
            require_new_file(path, what="the ensemble file, beside which it would stand")


def _is_of_a_choice(path: Path) -> bool:
    """Whether a file holds what is known of a choice of members."""
    if not path.is_file():
        return False
    try:
        return {"rule", "criterion", "runs", "weights", "validation"} <= set(json.loads(path.read_bytes()))
    except (TypeError, ValueError):
        return False


def _member_maps(
    runs: Sequence[Run], voxels: AnnotatedVoxels, folder: Path, threshold: float, progress: Progress
) -> MemberMaps:
    """What every run says of these voxels, predicted where it is not there yet."""
    files = [_predicted(run, voxels, folder, progress) for run in runs]
    return open_maps(voxels.classes, threshold, voxels.truth(), files, voxels.units)


def _predicted(run: Run, voxels: AnnotatedVoxels, folder: Path, progress: Progress) -> Path:
    """The file of one run's maps, which no post-processing changes."""
    settings = run.recipe.predict.model_copy(update={"postprocess": ()})
    run = replace(run, recipe=run.recipe.model_copy(update={"predict": settings}))
    how = {"predict": run.recipe.predict.model_dump(mode="json"), "model": run.model.to_dict()}
    key = hashlib.sha256(
        f"{weights_sha256(run)} {voxels.digest} {json.dumps(how, sort_keys=True)}".encode()
    ).hexdigest()[:24]
    file = folder / f"{key}.npy"
    if file.is_file():
        progress.say(f"{run.path}: was predicted before")
        return file
    parts = folder / f"{key}.parts"
    parts.mkdir(parents=True, exist_ok=True)
    options = PredictOptions(probabilities=True)
    predictions = [
        predict([run], slab.volume, out=parts / f"{place}.zarr", box=slab.box, options=options, progress=progress)
        for place, slab in enumerate(voxels.slabs)
    ]
    voxels.write_maps(file, predictions)
    shutil.rmtree(parts)
    return file


def _write(out: Path, runs: Sequence[Run], chosen: ChosenEnsemble, validated: Sequence[Part]) -> None:
    """The ensemble file, last of all."""
    members = [(run, weight) for run, weight in zip(runs, chosen.weights, strict=True) if weight]
    greedy = chosen.rule == "greedy"
    held_out = held_out_of(validated)
    write_ensemble(
        out,
        [run for run, _ in members],
        weights=[float(weight) for _, weight in members] if greedy else None,
        fusion="weighted" if greedy else "average",
        held_out=[held_out for _ in members],
    )
