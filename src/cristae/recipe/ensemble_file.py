"""The ensemble file: which runs predict together, by which rule, and what each of them has held out.

`ensemble.yaml` of a study folder is one; anyone can write one by hand or with `write_ensemble`. Prediction takes it
wherever it takes a run, and `FILE:out-of-fold` predicts what members have held out with these members alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from cristae.config import Config
from cristae.data.box import Box
from cristae.data.files import require_new_file, write_text
from cristae.errors import CristaeError, MissingFileError, RecipeError, RunError
from cristae.inference.fusion import Weight
from cristae.inference.test_time import TestTime
from cristae.postprocessing import Step
from cristae.recipe.benchmark_folder import CHOSEN, is_benchmark
from cristae.recipe.document import Document, read_document
from cristae.recipe.load import parse_config
from cristae.recipe.run import Run, open_run, weights_sha256
from cristae.recipe.text import config_to_yaml

ENSEMBLE = "ensemble.yaml"
"""Name of the ensemble file in a folder of runs."""
OUT_OF_FOLD = "out-of-fold"
"""What stands behind an ensemble, after a colon, so that members predict what they have held out."""
FusionName = Literal["average", "majority", "weighted"]
_SUFFIXES = (".yaml", ".yml")
_SHOWN = 8
"""Paths that a message lists."""


class HeldOut(Config):
    """A box of an image that a member has never been trained on."""

    image: str
    """The image file, folder or glob; a relative path starts at the folder of the ensemble file."""
    box: Annotated[str, StringConstraints(pattern=r"^\s*\d*:\d*\s*,\s*\d*:\d*\s*,\s*\d*:\d*\s*$")]
    """Z0:Z1,Y0:Y1,X0:X1 in voxels of the image file; an empty side is the image's own."""


class EnsembleMember(Config):
    """One run of an ensemble."""

    run: str
    """The run folder, relative to the folder of the ensemble file; `fold-1:f1` takes the weights that are best by
    another criterion."""
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    """Of the file of weights; others are refused. None takes whatever is there."""
    weight: Weight | None = None
    """In the weighted average; only ratios matter. All members have one, or none has."""
    held_out: tuple[HeldOut, ...] = ()
    """What this member was validated or tested on, or has otherwise never seen."""


class EnsembleFile(Config):
    """What an ensemble file holds."""

    members: Annotated[tuple[EnsembleMember, ...], Field(min_length=1)]
    """The runs, in order."""
    fusion: FusionName | None = None
    """`average`, `majority` or `weighted`, which weights imply; None is the rule of the runs' recipes."""
    test_time: TestTime | None = None
    """Test-time augmentation of every member; None is that of each run's recipe."""
    postprocess: tuple[Step, ...] | None = None
    """Post-processing of what they predict together; None is that of the runs' recipes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        weighted = [member.weight is not None for member in self.members]
        if any(weighted) and not all(weighted):
            raise ValueError(f"members.{weighted.index(False)}: weight: is missing; all members have one, or none has")
        if self.fusion == "weighted" and not any(weighted):
            raise ValueError("fusion: weighted needs a `weight:` for each member")
        if any(weighted) and self.fusion not in (None, "weighted"):
            raise ValueError(f"fusion: {self.fusion} takes no weights; leave out `weight:` of the members, or the rule")
        return self


@dataclass(frozen=True)
class HeldOutBox:
    """What a member has held out, with the image found."""

    image: str
    """Absolute, with what a person may say behind a path."""
    box: str
    place: str
    """Where it is written, such as 'ensemble.yaml:7'."""


@dataclass(frozen=True)
class MemberRun:
    """A run as a member of an ensemble; what is None is as its recipe says."""

    run: Run
    weight: float | None = None
    fusion: Literal["average", "majority"] | None = None
    test_time: TestTime | None = None
    held_out: tuple[HeldOutBox, ...] = ()
    postprocess: tuple[Step, ...] | None = None
    ensemble: str | None = None
    """The path of the ensemble file that it comes from."""
    out_of_fold: bool = False
    """Whether it alone predicts what it has held out."""


@dataclass(frozen=True)
class RunEnsemble:
    """An ensemble file, with its runs open. `predict` takes it wherever it takes a run.

    Example: `cristae.predict([cristae.open_ensemble("study")], "cell.mrc", out="cell.zarr")`
    """

    path: Path
    """Of the file."""
    members: tuple[MemberRun, ...]
    out_of_fold: bool = False
    """Whether voxels that members have held out are predicted by these alone."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, each with the weights of its criterion."""
        return tuple(member.run for member in self.members)

    def predicted_out_of_fold(self) -> RunEnsemble:
        """The same ensemble, each of whose members predicts alone what it has held out of its training.

        Raises:
            RunError: No member has held out anything.
        """
        if not any(member.held_out for member in self.members):
            raise RunError(
                f"{self.path}: no member says what it has held out (`held_out:`), so nothing can be predicted "
                f"{OUT_OF_FOLD}; name the ensemble without :{OUT_OF_FOLD}"
            )
        members = tuple(replace(member, out_of_fold=True) for member in self.members)
        return replace(self, members=members, out_of_fold=True)


def is_ensemble(path: str | Path) -> bool:
    """Whether a path, without what stands behind a colon, names an ensemble file or a folder that holds one."""
    path = Path(path)
    return (path / ENSEMBLE).is_file() or (path.suffix.lower() in _SUFFIXES and path.is_file())


def open_ensemble(path: str | Path) -> RunEnsemble:
    """Open an ensemble file and its runs.

    Args:
        path: The file, or a folder that holds `ensemble.yaml`; with `:out-of-fold` behind it, members predict alone
            what they have held out.

    Raises:
        MissingFileError: There is no such file, or a member is gone.
        RecipeError: It is no ensemble file; one line per problem.
        RunError: A member is no finished run, its weights have changed, or nothing is held out.

    Example:
        ensemble = cristae.open_ensemble("runs/mito-folds")
    """
    place, out_of_fold = _split(path)
    file = place / ENSEMBLE if place.is_dir() else place
    document, content = _read(file)
    members = tuple(
        MemberRun(
            run=_open_member(file, document, number, member),
            weight=member.weight,
            fusion=None if content.fusion == "weighted" else content.fusion,
            test_time=content.test_time,
            held_out=tuple(_held_out(file, document, number, member)),
            postprocess=content.postprocess,
            ensemble=str(file),
        )
        for number, member in enumerate(content.members)
    )
    ensemble = RunEnsemble(file, members)
    return ensemble.predicted_out_of_fold() if out_of_fold else ensemble


def members_named(file: Path) -> tuple[str, ...]:
    """The runs of an ensemble file as they stand there, opened or not.

    Raises:
        MissingFileError: There is no such file.
        RecipeError: It is no ensemble file; one line per problem.
    """
    return tuple(member.run for member in _read(file)[1].members)


def write_ensemble(
    path: str | Path,
    runs: Sequence[Run | str | Path],
    *,
    weights: Sequence[float] | None = None,
    fusion: FusionName | None = None,
    test_time: TestTime | None = None,
    postprocess: Sequence[Step] | None = None,
    held_out: Sequence[Sequence[tuple[str | Path, str | Box]]] | None = None,
) -> Path:
    """Write an ensemble file about runs that are finished; it notes the SHA-256 of their weights.

    Args:
        path: The new file, such as `study/ensemble.yaml`. Runs below its folder are named relative to it.
        runs: Run folders; `fold-1:f1` takes the weights of another criterion.
        weights: One for each run, for the weighted average.
        fusion: The rule; None is that of the runs' recipes, or `weighted` where there are weights.
        test_time: Test-time augmentation; None is that of the runs' recipes.
        postprocess: Steps with their values, for what the runs predict together; None is that of their recipes.
        held_out: For each run the image and box, in voxels of the image file, of everything that it has held out. A
            relative path starts at the folder of the ensemble file.

    Raises:
        OutputExistsError: There is something at `path`.
        RecipeError: The parts do not fit together.
        RunError: A run is not finished.

    Example:
        cristae.write_ensemble("runs/pair.yaml", ["runs/mito-1", "runs/mito-2"], weights=[2, 1])
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise RecipeError(f"{path}: an ensemble file is YAML; call it {path.with_suffix('.yaml').name}")
    require_new_file(path, what="the ensemble file")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    for what, given in {"weights": weights, "held_out": held_out}.items():
        if given is not None and len(given) != len(opened):
            raise RecipeError(f"{what}: there are {len(given)} for {len(opened)} runs; give one for each run")
    members = [
        {
            "run": _relative(run.path, path.parent) + ("" if run.criterion is None else f":{run.criterion}"),
            "sha256": weights_sha256(run),
            "weight": None if weights is None else weights[number],
            "held_out": [] if held_out is None else [{"image": str(i), "box": str(box)} for i, box in held_out[number]],
        }
        for number, run in enumerate(opened)
    ]
    values: dict[str, Any] = {"members": members, "fusion": fusion, "test_time": test_time}
    if postprocess is not None:
        values["postprocess"] = [step.model_dump(mode="json") for step in postprocess]
    content = parse_config(EnsembleFile, Document(values, {(): str(path)}))
    write_text(path, config_to_yaml(content, defaults=False))
    return path


def flat_members(runs: Sequence[Run | RunEnsemble | str | Path]) -> tuple[MemberRun, ...]:
    """The members of runs and ensembles together, opened where they are paths.

    Raises:
        MissingFileError: A path leads nowhere.
        RunError: It leads to something that is neither a run nor an ensemble.
        RecipeError: An ensemble file is not valid.
    """
    members: list[MemberRun] = []
    for one in runs:
        if isinstance(one, Run):
            members.append(MemberRun(one))
        elif isinstance(one, RunEnsemble):
            members += one.members
        else:
            place, out_of_fold = _split(one)
            ensemble = out_of_fold or is_ensemble(place) or place.suffix.lower() in _SUFFIXES
            members += open_ensemble(one).members if ensemble else (MemberRun(open_run(one)),)
    return tuple(members)


def _split(path: str | Path) -> tuple[Path, bool]:
    """An ensemble, and whether `:out-of-fold` stands behind it; behind a benchmark may stand which of its ensembles. A
    path that exists is taken as it is."""
    head, colon, tail = str(path).rpartition(":")
    if not colon or Path(path).exists():
        return Path(path), False
    if tail in CHOSEN and is_benchmark(Path(head)):
        return Path(head) / f"{tail}.yaml", False
    if not (tail == OUT_OF_FOLD or is_ensemble(head) or is_benchmark(Path(head))):
        return Path(path), False
    if tail != OUT_OF_FOLD:
        raise RunError(
            f"{path}: '{tail}' is unknown; behind an ensemble there may stand :{OUT_OF_FOLD}, behind a benchmark "
            f"{' or '.join(f':{name}' for name in CHOSEN)}, and criteria of weights "
            f"stand behind its members, inside {Path(head) / ENSEMBLE if Path(head).is_dir() else head}"
        )
    return _split(head)[0], True


def _read(file: Path) -> tuple[Document, EnsembleFile]:
    document = read_document(_text_of(file), str(file))
    return document, parse_config(EnsembleFile, document)


def _text_of(file: Path) -> str:
    try:
        return file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise MissingFileError(f"{file}: there is no such ensemble file") from None
    except OSError as error:
        raise MissingFileError(f"{file}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{file}:1: is not UTF-8 text; an ensemble file is YAML") from None


def _open_member(file: Path, document: Document, number: int, member: EnsembleMember) -> Run:
    """The run of a member, whose weights must be those that the file names."""
    where = f"{document.place(('members', number, 'run'))}: members.{number}.run"
    if is_ensemble(member.run if Path(member.run).is_absolute() else file.parent / member.run):
        raise RunError(f"{where}: '{member.run}' is an ensemble; name its runs themselves")
    try:
        run = open_run(os.path.join(file.parent, member.run))  # noqa: PTH118  # a path may have a criterion behind it
    except CristaeError as error:
        raise type(error)(f"{where}: {error}") from None
    if member.sha256 is not None and weights_sha256(run) != member.sha256:
        raise RunError(
            f"{where}: the weights of {run.path} ({run.weights_path.name}) are not those that the ensemble was made "
            "of, whose SHA-256 it lists; put these back, or write the ensemble file anew"
        )
    return run


def _held_out(file: Path, document: Document, number: int, member: EnsembleMember) -> Iterator[HeldOutBox]:
    for place, one in enumerate(member.held_out):
        written = document.place(("members", number, "held_out", place, "box"))
        yield HeldOutBox(str(file.parent.absolute() / one.image), one.box.replace(" ", ""), written)


def _relative(folder: Path, start: Path) -> str:
    """A run folder as a file in `start` names it: relative where it lies below."""
    folder, start = folder.absolute(), start.absolute()
    return folder.relative_to(start).as_posix() if folder.is_relative_to(start) else str(folder)
