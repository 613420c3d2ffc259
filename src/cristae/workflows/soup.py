"""One run whose weights are the mean of those of several runs of one network."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cristae.errors import RunError
from cristae.evaluation.ensembles.choice import ChosenEnsemble
from cristae.evaluation.validation import Validation, better_application
from cristae.progress import Progress
from cristae.recipe.provenance import write_provenance
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, create_run, require_place, save_weights, weights_sha256, write_summary
from cristae.training.averaging import average_weights
from cristae.training.batch_statistics import estimate_from_training
from cristae.training.cache_folder import open_cache
from cristae.training.layout import put_channels_last
from cristae.workflows.prepare_training import Prepared, make_network, prepare_network_training
from cristae.workflows.training_data import TrainingData, begin_training
from cristae.workflows.tune import tuned_facts
from cristae.workflows.validate_run import validate_run, write_page

if TYPE_CHECKING:
    from torch import nn


def cook_soup(runs: Sequence[Run], out: Path, *, uniform: bool, progress: Progress) -> ChosenEnsemble:
    """Average the weights of runs, estimate running statistics of batch normalisation again, validate and save.

    The greedy soup takes runs by falling validation mIoU, each only where the mean with it is not worse (Wortsman et
    al. 2022, https://arxiv.org/abs/2203.05482, recipe 1). The mean is over weights that were learnt apart: it is good
    where the runs started from the same trained weights and learnt little further, and mostly useless where each
    started at random.

    Args:
        runs: At least two, of the same network.
        out: The new run folder.
        uniform: Take all; otherwise greedily.
        progress: Where to report.

    Raises:
        RunError: The runs differ in what weights mean: network, input, normalisation, classes or voxel size.
        OutputExistsError: There is something at `out`.
    """
    _require_one_form(runs)
    require_place(out)
    first = runs[0]
    training = first.recipe.training.model_copy(update={"criteria": ("miou",)})  # it keeps the weights of no other
    named = first.recipe.model_copy(update={"name": f"{first.recipe.name}-soup", "training": training})
    recipe, data = begin_training(named, progress)
    _network, locality = make_network(recipe, data.regions.classes, progress)
    with open_cache() as cache:
        prepared = prepare_network_training(recipe, data, locality, cache, progress)
        assert prepared is not None, "only a part of the data can be too little"

        def mean_of(networks: Sequence[nn.Module]) -> nn.Module:
            averaged = average_weights(networks)
            put_channels_last(averaged)
            estimate_from_training(averaged, prepared.step, prepared.feed, 0)
            return averaged.eval()

        networks = [run.build_network() for run in runs]
        taken, score = list(range(len(runs))), None
        if not uniform:
            taken, score = _greedy(networks, mean_of, prepared.validation, progress)
        soup = mean_of([networks[place] for place in taken])
        validation, application = better_application(recipe.predict, soup, prepared.validation, progress)
        score = validation.mean_iou(soup) if score is None or application else score
        facts: dict[str, Any] = {
            "status": "complete",
            "epochs": recipe.training.epochs,
            "best_val_miou": score,
            "soup": [
                {"run": runs[place].id, "path": str(runs[place].path), "sha256": weights_sha256(runs[place])}
                for place in taken
            ],
            "locality": locality.to_dict(),
            **data.leak_facts,
            **({"application": application} if application else {}),
            **tuned_facts(recipe, soup, validation, progress),
        }
        _write(recipe, data, prepared, soup, validation, facts, out, progress)
    weights = tuple(int(place in taken) for place in range(len(runs)))
    names = tuple(str(run.path) for run in runs)
    return ChosenEnsemble(out, "soup" if uniform else "greedy-soup", "miou", names, weights, score)


def _require_one_form(runs: Sequence[Run]) -> None:
    """Refuse runs whose weights have different meanings."""
    first = runs[0]
    for run in runs[1:]:
        pairs = {
            "model": (first.recipe.model, run.recipe.model),
            "input channels": (first.recipe.network_input, run.recipe.network_input),
            "classes": (first.classes.scheme, run.classes.scheme),
            "normalisation of grey values": (first.normalizer, run.normalizer),
            "voxel size": (first.voxel_size_nm, run.voxel_size_nm),
        }
        differing = [what for what, (one, other) in pairs.items() if one != other]
        if differing:
            raise RunError(
                f"{run.path}: its weights cannot be averaged with those of {first.path}, which differs in "
                f"{', '.join(differing)}; average probabilities instead, with the rule greedy or top"
            )
    if first.recipe.model.name == "random_forest":
        raise RunError(f"{first.path}: is a random forest, which has no weights to average; choose another rule")


def _greedy(
    networks: Sequence[nn.Module],
    mean_of: Callable[[Sequence[nn.Module]], nn.Module],
    validation: Validation,
    progress: Progress,
) -> tuple[list[int], float]:
    """Which networks to take, in order, and the validation mIoU of their mean."""
    with progress.task("Scoring means of weights", 2 * len(networks), unit="networks") as task:
        scores = []
        for network in networks:
            put_channels_last(network)
            scores.append(validation.mean_iou(network))
            task.advance()
        order = sorted(range(len(networks)), key=lambda place: (-scores[place], place))
        taken, best = list[int](), float("-inf")
        for place in order:
            found = validation.mean_iou(mean_of([networks[one] for one in (*taken, place)]))
            if found >= best:
                taken, best = [*taken, place], found
            task.advance()
    return taken, best


def _write(
    recipe: Recipe,
    data: TrainingData,
    prepared: Prepared,
    network: nn.Module,
    validation: Validation,
    facts: dict[str, Any],
    out: Path,
    progress: Progress,
) -> None:
    """The run folder: made beside, then renamed, so that it is there whole or not at all."""
    beside = out.with_name(f".{out.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    run = create_run(beside, recipe)
    save_weights(run, network)
    validate_run(run, network, validation, progress)
    device = str(prepared.step.device)
    write_provenance(run, device=device, inputs={part.content.name: part.sha256 for part in prepared.cached})
    contents = [part.content for part in prepared.cached]
    rows = [one.facts(data.regions.classes, prepared.model.voxel_size_nm) for one in contents]
    write_summary(run, prepared.model, {**facts, "device": device, "data": rows})
    write_page(run)
    if out.is_dir():
        out.rmdir()  # it is empty, as `require_place` has seen
    beside.rename(out)
