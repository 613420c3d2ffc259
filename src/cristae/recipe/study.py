"""The study folder: what `train` makes of a recipe with `folds` or `instances`.

`recipe.yaml` (complete), `study.json` (the plan, the members and how far they are), a run folder for each member
(`fold-1`, `instance-1` or `fold-1/instance-1`), and once all are trained `scores.csv`, `ensemble.yaml` and
`report.html`. The folder of a member of nested folds also holds `test-scores.csv`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cristae.config import facts_from
from cristae.data.classes import Classes
from cristae.data.files import require_new, require_writable, write_json, write_together
from cristae.data.folds.fold import Fold
from cristae.data.folds.plan import FoldPlan
from cristae.data.splits import Part
from cristae.errors import MissingFileError, OutputExistsError, RunError
from cristae.recipe.anchor import anchored
from cristae.recipe.ensemble_file import ENSEMBLE
from cristae.recipe.fold_guard import Guard
from cristae.recipe.folder import RECIPE, STUDY, is_run, is_study, read_facts
from cristae.recipe.identity import require_same, run_id
from cristae.recipe.load import load_run_recipe
from cristae.recipe.recipe import Recipe
from cristae.recipe.run import Run, open_run
from cristae.recipe.study_members import Member
from cristae.recipe.text import recipe_to_yaml

SCORES = "scores.csv"
TEST_SCORES = "test-scores.csv"
"""In the run folder of a member of nested folds: the scores of the part that it tests."""
MEAN, DEVIATION = "mean", "deviation"
"""What stands in the `run` column of `scores.csv` where a row sums up members."""
_FORMAT = 1
_SHOWN = 6
"""Boxes that a table lists."""

State = Literal["waiting", "training", "complete"]


@dataclass(frozen=True)
class MemberState:
    """A member as `study.json` keeps it."""

    run: str
    """Its run folder, relative to the study."""
    fold: int | None
    instance: int | None
    seed: int
    state: State = "waiting"
    validation: float | None = None
    """The best epoch by the recipe's first criterion; of a random forest the mean IoU."""
    sha256: str | None = None
    """Of its weights, once they are complete."""


@dataclass(frozen=True)
class Study:
    """A study folder, as it was when it was opened or last changed."""

    path: Path
    recipe: Recipe
    id: str
    """The recipe's name and a short hash of its content, as of runs."""
    plan: Mapping[str, Any]
    """What each fold trains on and validates, and the gap between; empty without folds."""
    members: tuple[MemberState, ...]

    @property
    def nested(self) -> bool:
        """Whether members are scored on parts that nothing was chosen on."""
        return self.recipe.folds is not None and self.recipe.folds.nested

    @property
    def member_scores(self) -> str:
        """The file in a member's folder whose scores are those of the study."""
        return TEST_SCORES if self.nested else SCORES

    @property
    def complete(self) -> bool:
        """Whether all members are trained."""
        return all(member.state == "complete" for member in self.members)

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all members.

        Raises:
            RunError: One is not trained yet.
        """
        return tuple(open_run(self.path / member.run) for member in self.members)

    @property
    def ensemble_path(self) -> Path:
        """The ensemble file, which is there when all members are trained."""
        return self.path / ENSEMBLE

    def member(self, name: str) -> MemberState:
        """The state of the member of this name."""
        return next(one for one in self.members if one.run == name)

    def with_member(self, changed: MemberState) -> Study:
        """The same with another state of the member of that name, written to `study.json`."""
        members = tuple(changed if one.run == changed.run else one for one in self.members)
        study = replace(self, members=members)
        write_json(self.path / STUDY, study._facts())
        return study

    def _content(self) -> bytes:
        return (json.dumps(self._facts(), indent=2, ensure_ascii=False) + "\n").encode()

    def _facts(self) -> dict[str, Any]:
        return {
            "study": self.id,
            "format": _FORMAT,
            "status": "complete" if self.complete else "training",
            "plan": dict(self.plan),
            "members": [asdict(member) for member in self.members],
        }


def create_study(
    path: Path, recipe: Recipe, plan: Mapping[str, Any], members: Sequence[Member], *, resume: bool
) -> Study:
    """Make a study folder, or open the one that is to be resumed.

    Args:
        path: The folder; it must not exist, be empty, or (with `resume`) hold an unfinished study of this recipe.
        recipe: Complete. Paths of its data are written as absolute ones.
        plan: As `plan_facts` gives it.
        members: What is to be trained.
        resume: Continue the study that is there; without one, start it.

    Raises:
        OutputExistsError: The folder holds something else, or a study that is not to be resumed.
        RunError: The study there was made from another recipe, its folds were of other data, or it has folds that
            `folds.only` leaves out.
    """
    recipe = anchored(recipe)
    there = resumable_study(path, recipe, plan, resume=resume)
    states = tuple(MemberState(one.name, one.fold, one.instance, one.recipe.seed) for one in members)
    study = Study(path, recipe.read_from(path / RECIPE), run_id(recipe), plan, states)
    if there is not None:
        known = {one.run: one for one in there.members}
        study = replace(study, members=tuple(known.get(one.run, one) for one in states))
        changed = {path / RECIPE: recipe_to_yaml(recipe).encode()}
        if study.members != there.members:
            changed[path / STUDY] = study._content()
        write_together(changed)
        return study
    write_together({path / STUDY: study._content(), path / RECIPE: recipe_to_yaml(recipe).encode()})
    return study


def resumable_study(path: Path, recipe: Recipe, plan: Mapping[str, Any], *, resume: bool) -> Study | None:
    """The study in a folder, which a recipe and its folds can resume; None where there is none.

    Raises:
        RunError: It was made from another recipe, or of other folds.
        OutputExistsError: The folder holds something else, or a study that is not to be resumed.
    """
    require_study_place(path, recipe, resume=resume)
    if not is_study(path):
        return None
    there = open_study(path)
    _require_folds_of(there, plan)
    return there


def _require_folds_of(there: Study, plan: Mapping[str, Any]) -> None:
    """Make sure that a study that is resumed has the folds that it had; there may be more than before."""
    before, now = _decisive(there.plan), _decisive(plan)
    folds, wanted = ({one["fold"]: one for one in facts.pop("folds", ())} for facts in (before, now))
    if before != now or any(wanted[number] != one for number, one in folds.items() if number in wanted):
        raise RunError(
            f"{there.path}: the data have changed since this study began: its folds would be others now; give the data "
            "as they were, or choose another folder with --out"
        )
    if left_out := sorted(set(folds) - set(wanted)):
        raise RunError(
            f"{there.path}: folds.only leaves out fold {', '.join(map(str, left_out))} of this study; a study that is "
            "resumed can have more folds, not fewer: name these too, or choose another folder with --out"
        )


def require_study_place(path: Path, recipe: Recipe, *, resume: bool = False) -> None:
    """Make sure that a study of a recipe, which is complete, can be made or resumed in a folder.

    Raises:
        OutputExistsError: It holds something else, or a study that is not to be resumed.
        RunError: The study there was made from another recipe.
        StorageError: There can be no folder at this place, or it may not be written.
    """
    if is_study(path):
        if not resume:
            raise OutputExistsError(
                f"{path}: holds a study already; continue it with --resume, or choose another folder with --out"
            )
        require_same(path, anchored(recipe))
        return
    if is_run(path):
        raise OutputExistsError(
            f"{path}: holds a single run, but the recipe asks for several; choose another folder with --out"
        )
    require_new(path, what="the study")
    require_writable(path)


def open_study(path: str | Path) -> Study:
    """Open a study folder, finished or not.

    Raises:
        MissingFileError: There is no such folder.
        RunError: It is not a study, or was damaged.

    Example:
        study = cristae.open_study("runs/mito-folds")
    """
    path = Path(path)
    if not path.exists():
        raise MissingFileError(f"{path}: there is no such study folder")
    if not is_study(path):
        raise RunError(
            f"{path}: is not a study folder: it has no {STUDY}; `cristae train` makes one of a recipe with "
            "`folds` or `instances`"
        )
    facts, recipe = read_facts(path / STUDY), load_run_recipe(path / RECIPE)
    if facts.get("format") != _FORMAT or not isinstance(facts.get("plan"), dict):
        raise RunError(f"{path / STUDY}: is damaged, or of another version of Cristae")
    found = facts.get("members")
    members = tuple(facts_from(MemberState, one, "members") for one in found) if isinstance(found, list) else ()
    if not members:
        raise RunError(f"{path / STUDY}: is damaged: it names no members")
    return Study(path, recipe, run_id(recipe), facts["plan"], members)


def plan_facts(plan: FoldPlan, guard: Guard, classes: Classes) -> dict[str, Any]:
    """What `study.json` keeps of the folds: plain values."""
    return {
        "by": plan.by,
        "why": plan.why,
        "count": plan.count,
        "guard_vox": {name: list(vox) for name, vox in plan.guard_vox.items()},
        "guard_rule": guard.rule,
        "folds": [_fold_facts(fold, classes) for fold in plan.folds],
    }


def _decisive(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan without its texts, which another version may word in another way."""
    return {name: value for name, value in plan.items() if name not in ("why", "guard_rule")}


def _fold_facts(fold: Fold, classes: Classes) -> dict[str, Any]:
    names = ("none", *classes.names) if not classes.exclusive else classes.names
    ids = (0, *classes.ids) if not classes.exclusive else classes.ids

    def voxels(counts: Any) -> dict[str, int]:
        return {name: int(counts[entry]) for name, entry in zip(names, ids, strict=True)}

    def boxes(parts: Sequence[Part]) -> list[dict[str, str]]:
        return [{"volume": part.volume.name, "box": str(part.box)} for part in parts]

    tested = fold.tested
    nested: dict[str, Any] = {}
    if tested is not None:
        nested = {"tests": list(tested.units), "test": boxes(tested.parts), "test_vox": voxels(tested.counts)}
    return {
        "fold": fold.number,
        **nested,
        "validates": list(fold.units),
        "train": boxes(fold.train),
        "validate": boxes(fold.validate),
        "train_vox": voxels(fold.train_counts),
        "validate_vox": voxels(fold.validate_counts),
        "gap_vox": voxels(fold.gap_counts),
    }


def plan_rows(plan: Mapping[str, Any]) -> list[dict[str, str]]:
    """A row of text for each fold of `plan_facts`, for tables; none without folds."""
    return [
        {
            "Fold": str(one["fold"]),
            **({"Tests": "; ".join(one["tests"])} if "tests" in one else {}),
            "Validates": "; ".join(one["validates"]),
            "Trains on": _boxes(one["train"]),
            "Training voxels": _voxels(one["train_vox"]),
            "Validation voxels": _voxels(one["validate_vox"]),
            **({"Test voxels": _voxels(one["test_vox"])} if "tests" in one else {}),
            "Voxels in the gap": _voxels(one["gap_vox"]),
        }
        for one in plan.get("folds", ())
    ]


def plan_lines(plan: Mapping[str, Any]) -> list[str]:
    """The same for a terminal: some lines for each fold."""
    found = []
    for row in plan_rows(plan):
        held_out = [f"validates {row['Validates']} ({row['Validation voxels']} voxels)"]
        if "Tests" in row:
            held_out.insert(0, f"tests {row['Tests']} ({row['Test voxels']} voxels)")
        found += [f"fold {row['Fold']}: {held_out[0]}", *(f"  {line}" for line in held_out[1:])]
        found += [f"  trains on {row['Trains on']} ({row['Training voxels']} voxels)"]
        found += [f"  leaves out in the gap: {row['Voxels in the gap']} voxels"]
    return found


def scored_vox(plan: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Of each fold the voxels that it trains on and those that it is scored on."""
    return [
        (sum(one["train_vox"].values()), sum(one.get("test_vox", one["validate_vox"]).values()))
        for one in plan.get("folds", ())
    ]


def _boxes(parts: Sequence[Mapping[str, str]]) -> str:
    rest = f" and {len(parts) - _SHOWN} more" if len(parts) > _SHOWN else ""
    images = all("/" in part["volume"] for part in parts)  # as wholes
    shown = [part["volume"] if images else f"{part['volume']} {part['box']}" for part in parts[:_SHOWN]]
    return "; ".join(shown) + rest


def _voxels(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
