"""Runs as members of an ensemble: do they fit a volume and each other in voxel size, grey values and settings?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from pydantic import ValidationError

from cristae.data.box import Box
from cristae.data.geometry import Geometry, corrected_size
from cristae.data.image import Image, VoxelSize, same_voxel_size, voxel_size_text
from cristae.data.unit_slips import FAR_APART, far_apart, slip_between, unit_slip
from cristae.data.volume import Volume
from cristae.errors import RunError, VolumeError, VoxelSizeError
from cristae.inference.application import choose_application, windows_of
from cristae.inference.arrays import ArrayModel
from cristae.inference.config import Application, PredictConfig
from cristae.inference.fusion import Average, Fusion, Majority, Weighted
from cristae.inference.locality import Locality
from cristae.inference.predictor import Member
from cristae.inference.request import MemberSpec
from cristae.inference.test_time import TestTime
from cristae.models import ExternalConfig, NetworkConfig
from cristae.preprocess import NormalizeConfig
from cristae.preprocess.network_input import NetworkInput
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.ensemble_file import MemberRun
from cristae.recipe.folder import read_facts
from cristae.recipe.network import locality_of
from cristae.recipe.provenance import PROVENANCE
from cristae.recipe.run import Run, open_run, weights_sha256

_SHARED_SETTINGS = ("threshold", "precision", "bridge")
"""Settings of the whole ensemble: members cannot have their own."""
_MOST_ALONG_ONE_AXIS = 100
"""Slices may well be ten times farther apart than those of the training; a thousand times is a slip of the unit."""


def common_settings(members: Sequence[MemberRun]) -> PredictConfig:
    """The `predict:` section that holds for all members together.

    How each network is applied (`windows`, `test_time`) is its own and may differ. Of limits on the block, the smallest
    holds along each axis.

    Raises:
        RunError: There are no runs, what decides the fused result differs, or the rule does not suit their number.
    """
    if not members:
        raise RunError("no run was given; name at least one run folder with --run")
    first, sections = members[0].run, [member.run.recipe.predict for member in members]
    for member, other in zip(members[1:], sections[1:], strict=True):
        _require_agreement(
            member.run, first, [n for n in _SHARED_SETTINGS if getattr(sections[0], n) != getattr(other, n)]
        )
    fusion = _common_fusion(members)
    fusion.check(len(members))
    limits = [section.block_vox for section in sections]
    known = [limit for limit in limits if limit is not None]
    smallest = tuple(min(sides) for sides in zip(*known, strict=True)) if known else None
    return sections[0].model_copy(update={"block_vox": smallest, "fusion": fusion})


def _common_fusion(members: Sequence[MemberRun]) -> Fusion:
    """The rule that the members' ensemble files state, or else their recipes."""
    weights = [member.weight for member in members]
    given = [weight for weight in weights if weight is not None]
    if len(given) == len(members):
        return Weighted(weights=tuple(given))
    if given:
        without = members[weights.index(None)].run
        raise RunError(
            f"{without.path}: has no weight, but {next(m for m in members if m.weight is not None).ensemble} gives its "
            "members weights; name all runs in one ensemble file, each with its weight"
        )
    rules = [_rule_of(member) for member in members]
    for member, rule in zip(members, rules, strict=True):
        if rule != rules[0]:
            stated = [one.ensemble for one in (member, members[0]) if one.fusion is not None]
            if not stated:
                _require_agreement(member.run, members[0].run, ["fusion"])
            raise RunError(
                f"{member.run.path}: cannot be fused with {members[0].run.path} by one rule: {rule.name} for the one, "
                f"{rules[0].name} for the other, as {' and '.join(dict.fromkeys(map(str, stated)))} states `fusion:`; "
                "name all runs in one ensemble file"
            )
    return rules[0]


def _rule_of(member: MemberRun) -> Fusion:
    stated: dict[str | None, Fusion] = {"average": Average(), "majority": Majority()}
    return stated.get(member.fusion, member.run.recipe.predict.fusion)


def _require_agreement(run: Run, first: Run, differing: Sequence[str]) -> None:
    if differing:
        raise RunError(
            f"{run.path}: cannot be fused with {first.path}: their recipes differ in "
            + ", ".join(f"predict.{name}" for name in differing)
            + "; make these the same in both run folders' recipe.yaml"
        )


def sized_image(volume: Volume, stated: VoxelSize | None, progress: Progress = Progress()) -> Image:
    """The volume's image with the voxel size that holds: see `corrected_size`.

    Raises:
        VoxelSizeError: Its own and the stated one differ by more than a slip of the unit, or the stated one is none.
        VolumeError: The image has colours.
    """
    size = corrected_size(Geometry.of(volume.image, "", voxel_size_nm=volume.voxel_size_nm), stated, progress)
    slip = None if size is None else unit_slip(size, flat=volume.image.shape[0] == 1)
    if slip is not None:
        progress.warn(f"{volume.image.path}: the voxel size {voxel_size_text(size)} (z, y, x) is no likely one: {slip}")
    for warning in volume.image.warnings:
        progress.warn(warning)
    if volume.image.colors != 1:
        raise VolumeError(
            f"{volume.image.path}: is a colour image ({volume.image.colors} channels), but networks take grey values; "
            "convert it first"
        )
    return replace(volume.image, voxel_size_nm=size)


def working_sizes(
    runs: Sequence[Run], image: Image, *, stated: bool, progress: Progress
) -> tuple[VoxelSize | None, ...]:
    """For each run what `working_size` says of it, so that each predicts as it would alone. Runs of the same voxel size
    and axes get the very same. Arguments and errors as there."""
    alike: list[list[Run]] = []
    for run in runs:
        found = next((group for group in alike if _share_grid(run, group[0])), None)
        if found is None:
            alike.append([run])
        else:
            found.append(run)
    sizes = {
        id(run): size
        for group in alike
        for size in [working_size(group, image, stated=stated, progress=progress)]
        for run in group
    }
    return tuple(sizes[id(run)] for run in runs)


def _share_grid(one: Run, other: Run) -> bool:
    """Whether two runs were trained at the same voxel size, on the axes that count for both."""
    axes = _axes_of(one)
    first, second = one.voxel_size_nm, other.voxel_size_nm
    if axes != _axes_of(other) or first is None or second is None:
        return axes == _axes_of(other) and first is second
    return same_voxel_size(first, second, axes=axes)


def _axes_of(run: Run) -> tuple[int, ...]:
    return (0, 1, 2) if run.recipe.model.ndim == 3 else (1, 2)


def working_size(runs: Sequence[Run], image: Image, *, stated: bool, progress: Progress) -> VoxelSize | None:
    """The voxel size to resample the volume to; None when it can be predicted as it is.

    2D networks predict slices as they are, whatever the distance between them, so only y and x count; where they take
    neighbouring slices as channels, another distance gives a warning.

    Args:
        runs: Their voxel sizes are those that they were trained at.
        image: The volume.
        stated: Whether the volume's voxel size was given with the command, so that it is taken to fit.
        progress: Where to report.

    Raises:
        RunError: The runs were trained at different voxel sizes.
        VoxelSizeError: One of the sizes is not known and they could differ, or they differ too much to be meant.
    """
    axes = max(map(_axes_of, runs), key=len)
    trained = _trained_size(runs, axes)
    size = image.voxel_size_nm
    if trained is None and (size is None or stated):
        if size is not None:
            progress.warn("the run does not say at which voxel size it was trained; the volume is taken as it is")
        return None
    if trained is None or size is None:
        unknown, known, value = ("volume", "run", trained) if size is None else ("run", "volume", size)
        raise VoxelSizeError(
            f"{image.path}: the voxel size of the {unknown} is not known, while the {known} has "
            f"{voxel_size_text(value)} (z, y, x), so they could differ. Give the volume's with --voxel-size-nm Z Y X"
            + ("; the run is then taken to fit it" if unknown == "run" else "")
        )
    _require_near(trained, size, image, axes)
    models = [run.recipe.model for run in runs]
    neighbours = any(isinstance(model, NetworkConfig) and model.in_slices > 1 for model in models)
    if neighbours and not same_voxel_size(trained, size, axes=(0,)):
        progress.warn(
            f"{image.path}: its slices are {size[0]:g} nm apart, those of the training {trained[0]:g} nm; the network "
            "takes neighbouring slices as channels and may perform worse"
        )
    if same_voxel_size(trained, size, axes=axes):
        return None
    target = trained if 0 in axes else (size[0], *trained[1:])
    progress.say(
        f"{image.path}: resampled from {voxel_size_text(size)} to {voxel_size_text(target)} (z, y, x) and back"
    )
    return target


def _require_near(trained: VoxelSize, size: VoxelSize, image: Image, axes: Sequence[int]) -> None:
    """Refuse voxels that no resampling makes like those of the training.

    Raises:
        VoxelSizeError: Pixels are more than a factor of eight larger or smaller, or what differs is a slip of the
            unit or of the axes.
    """
    slip, largest = slip_between(trained, size, axes=axes), max(_ratio(trained[axis], size[axis]) for axis in axes)
    turned = sorted(trained) == sorted(size)
    if not (far_apart(trained, size) or (slip and (largest > _MOST_ALONG_ONE_AXIS or turned))):
        return
    if unit_slip(trained) is not None:
        cure = "the run's is no likely one: correct `voxel_size_nm` in its recipe and train again"
    elif unit_slip(size) is not None:
        same = " ".join(f"{edge:g}" for edge in trained)
        cure = f"give the volume's own with --voxel-size-nm ({same} where it is that of the training)"
    else:
        cure = "correct the one that is wrong, or predict a volume like those of the training"
    raise VoxelSizeError(
        f"{image.path}: has voxels of {voxel_size_text(size)} (z, y, x), but the run was trained at "
        f"{voxel_size_text(trained)}, {slip or f'more than a factor of {FAR_APART:g} in y and x'}; {cure}"
    )


def _ratio(one: float, other: float) -> float:
    return max(one / other, other / one)


def member_of(
    run: Run,
    image: Image,
    normalizer: Normalizer,
    progress: Progress,
    *,
    test_time: TestTime | None = None,
    held_out: tuple[Box, ...] = (),
) -> Member:
    """The run's network with all that is needed to apply it to a volume.

    Warns when training is not finished, and when the code of an external network has changed since.

    Args:
        run: What was trained.
        image: The volume's.
        normalizer: Of its grey values, by this run.
        progress: Where to report.
        test_time: Test-time augmentation; None is that of the run's recipe.
        held_out: Boxes of the volume that it predicts without the members that have been trained on them.

    Raises:
        RunError: The run was made for several channels, or its weights do not fit.
    """
    model = run.model
    if model.in_channels != 1:
        raise RunError(f"{run.path}: was made for images of {model.in_channels} channels, but {image.path} has 1")
    if run.summary.get("status") != "complete":
        kept = (run.summary.get("kept") or {}).get(run.criterion or "", run.summary)
        progress.warn(f"{run.path}: training is not finished; weights of epoch {kept.get('epoch', 'unknown')}")
    _warn_of_other_code(run, progress)
    network, recipe = run.build_network(), run.recipe
    variants = test_time or recipe.predict.test_time
    if variants.startswith("dihedral"):
        _warn_of_unequal_pixels(run, image, progress)
    if isinstance(network, ArrayModel):
        return Member(network, network.locality, normalizer, model.classes, test_time=variants, held_out=held_out)
    locality = run.locality or locality_of(network, recipe)
    application = _application(run, locality)
    windows = windows_of(application, model.patch_size, locality)
    if windows is not None:
        size = " x ".join(map(str, model.patch_size))
        why = f"; {locality.reason}" if not locality.local else ""
        progress.say(f"{run.path}: applied in windows of {size} voxels, joined by the rule '{application}'{why}")
    slices = recipe.network.in_slices
    applied = slices, windows, recipe.network_input, variants, held_out
    return Member(network, locality, normalizer, model.classes, *applied)


def spec_of(run: Run, member: Member, config: NormalizeConfig) -> MemberSpec:
    """A member as plain values, from which `open_member` makes it again; `config` is how its normaliser was found."""
    return MemberSpec(
        path=str(run.path.absolute()),
        run=run.id,
        status=run.summary.get("status"),
        weights_sha256=weights_sha256(run),
        classes=member.classes,
        normalizer=member.normalizer,
        locality=member.locality,
        slices=member.slices,
        windows=member.windows,
        criterion=run.criterion,
        areas_px=member.network_input.areas_px,
        normalize=config.model_dump(mode="json"),
        test_time=member.test_time,
        held_out=member.held_out,
    )


def open_member(spec: MemberSpec) -> tuple[Run, Member]:
    """Open a run again, and its network applied as it was planned.

    Raises:
        RunError: Its weights have changed since, or the folder is no run any more.
        MissingFileError: The folder is gone.
    """
    run = open_run(spec.path if spec.criterion is None else f"{spec.path}:{spec.criterion}")
    network = run.build_network()
    if weights_sha256(run) != spec.weights_sha256:
        raise RunError(f"{run.path}: its weights have changed since the prediction was planned; repeat the command")
    network_input = NetworkInput() if isinstance(network, ArrayModel) else run.recipe.network_input
    fixed = spec.locality, spec.normalizer, spec.classes, spec.slices, spec.windows
    return run, Member(network, *fixed, network_input, spec.test_time, spec.held_out)


def _warn_of_unequal_pixels(run: Run, image: Image, progress: Progress) -> None:
    """Warn when quarter turns show a network pixels of another shape than it was trained on."""
    size = run.voxel_size_nm or image.voxel_size_nm
    if size is not None and not same_voxel_size(size, (size[0], size[2], size[1]), axes=(1, 2)):
        progress.warn(
            f"{run.path}: is to predict quarter turns, but voxels of {voxel_size_text(size)} (z, y, x) are not square "
            "in the plane; test_time: flips leaves turns out"
        )


def _warn_of_other_code(run: Run, progress: Progress) -> None:
    """Warn when the code of an external network is no longer what was trained."""
    config = run.recipe.model
    if not isinstance(config, ExternalConfig) or not (run.path / PROVENANCE).is_file():
        return
    with suppress(RunError):  # a damaged record costs nothing but this warning
        before = read_facts(run.path / PROVENANCE).get("model_source_sha256")
        if before is not None and before != config.source_sha256():
            progress.warn(
                f"{run.path}: {config.source_path or config.target} has changed since the training; the weights may "
                "no longer mean what they did. Predict with the file as it was, or train again"
            )


def _application(run: Run, locality: Locality) -> Application:
    """As the recipe sets it; for `auto`, what scored better on the validation regions."""
    settings = run.recipe.predict
    better = (run.summary.get("application") or {}).get("better")
    if settings.windows == "auto" and better is not None:
        try:
            settings = PredictConfig.model_validate(settings.model_dump() | {"windows": better})
        except ValidationError:
            raise RunError(f"{run.path}: summary.json: application.better: '{better}' is unknown") from None
    return choose_application(settings, run.recipe.network, locality)


def _trained_size(runs: Sequence[Run], axes: Sequence[int]) -> VoxelSize | None:
    sizes = [run.voxel_size_nm for run in runs]
    first = sizes[0]
    for run, size in zip(runs, sizes, strict=True):
        if (size is None) != (first is None) or (size and first and not same_voxel_size(size, first, axes=axes)):
            raise RunError(
                f"{run.path}: was trained at {voxel_size_text(size)} (z, y, x), but {runs[0].path} at "
                f"{voxel_size_text(first)}; "
                "runs that work on one grid must share a working voxel size (data.voxel_size_nm of their recipes)"
            )
    return first
