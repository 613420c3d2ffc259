"""The plan of a benchmark: what is varied, over which folds and seeds, with which budget."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt, PrivateAttr, StringConstraints, model_validator

from cristae.config import Config
from cristae.data.folds.config import FoldsConfig
from cristae.recipe.anchor import absolute_path
from cristae.recipe.instances import InstancesConfig
from cristae.recipe.places import Places
from cristae.training.schedule import Fraction

Label = Annotated[str, StringConstraints(min_length=1, max_length=60, strip_whitespace=True)]
Choices = Annotated[list[Any], Field(min_length=1)] | Annotated[dict[Label, Any], Field(min_length=1)]
"""Values that a recipe path takes in turn: a list, or a mapping from what they are called to them."""
Changes = dict[str, Any]
"""Values by recipe path, as after `--set`."""


class Budget(Config):
    """How long each training may be, so that cells are alike in it. One of these; none takes each recipe's epochs."""

    epochs: PositiveInt | None = None
    """Epochs of each training."""
    voxels: PositiveFloat | None = None
    """Voxels of all patches that each training sees; it is rounded to whole epochs, at least one."""
    minutes: PositiveFloat | None = None
    """Minutes of each training; some steps of each cell are measured before, and the epochs that follow are kept."""

    @model_validator(mode="after")
    def _check(self) -> Budget:
        given = [name for name in ("epochs", "voxels", "minutes") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give one of epochs, voxels and minutes, found {' and '.join(given) or 'none'}")
        return self


class Halving(Config):
    """Successive halving: after some epochs only the best cells by validation go on."""

    after: Fraction = 0.25
    """The share of each training's epochs after which cells are stopped for the first time."""
    factor: Annotated[int, Field(ge=2)] = 2
    """Of so many cells one goes on, for so many times as many epochs as before; then again."""


class RankBy(Config):
    """The score that cells are ranked by."""

    metric: str = "Jaccard"
    """A score of each class, such as `Jaccard` (IoU), `F1`, `V_rand_fixed` or `components_TP`."""
    class_name: Annotated[str, Field(alias="class")] = "all"
    """Of which class; `all` takes the mean over the foreground classes."""


class HowManyLabels(Config):
    """A learning curve: each cell is trained on so many labelled slices of each fold's training part."""

    slices: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] | Literal["auto"] = "auto"
    """How many labelled slices (or images); `auto` doubles from 1 to all that there are."""


class Imported(Config):
    """Predictions that other programs made; each method becomes a cell."""

    predictions: str | Annotated[dict[Label, str], Field(min_length=1)]
    """A folder with a sub-folder for each method, or the folders and stacks of methods by their names. A folder holds
    one file for each image that is scored, named like it, or one stack."""
    truth: str | None = None
    """The truth, where the base recipe does not name it; null takes the test regions of the recipe, or where it has
    none all of its labelled regions."""
    binarize: Annotated[float, Field(ge=0, lt=1)] | None = None
    """The threshold, where they are probability maps of one class; of such a truth, too."""

    def anchored(self, folder: pathlib.Path) -> Imported:
        """The same with absolute paths; the relative ones start at `folder`."""
        found = self.predictions
        if isinstance(found, str):
            predictions: str | dict[str, str] = absolute_path(found, folder)
        else:
            predictions = {name: absolute_path(path, folder) for name, path in found.items()}
        truth = None if self.truth is None else absolute_path(self.truth, folder)
        return self.model_copy(update={"predictions": predictions, "truth": truth})


class Plan(Config):
    """A benchmark: one base recipe, what is varied in it, and how cells are compared."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
    """Short name: letters, digits, '.', '_' and '-'."""
    description: str = ""
    """What is asked, in your own words."""
    recipe: str | None = None
    """The base recipe, a path relative to the plan; null where nothing is trained."""
    changes: Annotated[Changes, Field(alias="set")] = {}
    """What is changed in the base recipe for all cells, by recipe path, as after `--set`."""
    vary: dict[str, Choices] = {}
    """Recipe paths and the values that they take; there is a cell for each combination."""
    cells: dict[Label, Changes] = {}
    """Named cells, each with several changes at once; combined with what `vary` says."""
    folds: FoldsConfig | None = None
    """Cross-validation, the same for all cells; null takes the recipe's, or its split where it has none."""
    instances: Annotated[int, Field(ge=1, le=1000)] | InstancesConfig = 1
    """Trainings of each fold that differ in their seeds: how many, or as in a recipe, such as `{count: 15, best: 10}`,
    whose ensembles are those of the best ten."""
    labels: HowManyLabels | None = None
    """A learning curve over the number of labelled slices."""
    budget: Budget | None = None
    """How long each training may be; null takes the epochs of the recipes."""
    halving: Halving | None = None
    """Stop cells early that others are ahead of, such as `{after: 0.25, factor: 2}`; null trains all to the end."""
    rank_by: RankBy = RankBy()
    """The score that cells are ranked by."""
    width: Annotated[float, Field(gt=0, le=4)] = 1.0
    """A factor of the widths of all networks, such as 0.25 for a quick look."""
    imported: Imported | None = None
    """Results of other programs, scored with the others."""

    _source: pathlib.Path | None = PrivateAttr(default=None)
    _places: Places = PrivateAttr(default=Places())

    @model_validator(mode="after")
    def _check(self) -> Plan:
        if not self.trains and self.imported is None:
            raise ValueError("there is nothing to compare: give vary, cells, labels or imported")
        if self.halving is not None and self.labels is not None:
            raise ValueError(
                "halving: would stop the cells with few labels, which a learning curve is made of; leave halving or "
                "labels out"
            )
        if self.recipe is None and (self.trains or (self.imported is not None and self.imported.truth is None)):
            raise ValueError("recipe: name the base recipe, a path relative to the plan")
        return self

    @property
    def trains(self) -> bool:
        """Whether there is anything to train."""
        return bool(self.vary or self.cells) or self.labels is not None

    @property
    def base(self) -> str:
        """The path of the base recipe."""
        assert self.recipe is not None, "the plan was checked"
        return self.recipe

    @property
    def overrides(self) -> tuple[str, ...]:
        """What is changed in the base recipe for all cells, as for `load_recipe`."""
        return tuple(override_of(path, value) for path, value in self.changes.items())

    @property
    def source(self) -> pathlib.Path | None:
        """The file it was read from; None for a plan made in Python."""
        return self._source

    @property
    def folder(self) -> pathlib.Path:
        """Where its relative paths start."""
        return pathlib.Path.cwd() if self._source is None else self._source.parent

    def anchored(self) -> Plan:
        """The same plan with absolute paths, so that a copy elsewhere means the same files."""
        changes: dict[str, object] = {}
        if self.recipe is not None:
            changes["recipe"] = absolute_path(self.recipe, self.folder)
        if self.imported is not None:
            changes["imported"] = self.imported.anchored(self.folder)
        return self.model_copy(update=changes)

    def place(self, path: Sequence[str | int]) -> str:
        """Where a field was written, such as 'plan.yaml:14'."""
        return self._places.of(tuple(path)) or str(self._source or self.name)

    def read_from(self, source: pathlib.Path, places: Mapping[tuple[str | int, ...], str]) -> Plan:
        """The same plan, remembering the file it was read from and where its values stand there."""
        copy = self.model_copy()
        copy._source, copy._places = source.absolute(), Places(places)
        return copy


def override_of(path: str, value: Any) -> str:
    """The value of a recipe path as `path=value`."""
    return f"{path}={json.dumps(value, ensure_ascii=False)}"
