"""The cell that ranks first, as an ensemble file that `predict` takes."""

from __future__ import annotations

from pathlib import Path

from cristae.recipe.benchmark_folder import BEST
from cristae.recipe.ensemble_file import open_ensemble, write_ensemble
from cristae.recipe.study import Study


def write_best(path: Path, study: Study | None) -> None:
    """Write `best.yaml`: the ensemble of the best cell; none where its jobs are not all finished, or another program
    is the best."""
    file = path / f"{BEST}.yaml"
    file.unlink(missing_ok=True)
    if study is None or not study.ensemble_path.is_file():
        return
    members = open_ensemble(study.ensemble_path).members
    held_out = [[(one.image, one.box) for one in member.held_out] for member in members]
    runs, steps = [member.run for member in members], members[0].postprocess
    write_ensemble(file, runs, postprocess=steps, held_out=held_out)
