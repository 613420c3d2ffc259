"""Apply one run, or an ensemble of several, to a volume of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from cristae.cluster.options import ClusterOptions
from cristae.cluster.queue_file import read_queue
from cristae.data.address import Address, place_of
from cristae.data.box import Box
from cristae.data.formats.cache import cache_within, limit_cache
from cristae.data.formats.levels import level_path
from cristae.data.formats.ome_zarr import read_attributes, write_attributes
from cristae.data.formats.paths import signed_path
from cristae.data.image import Image, VoxelSize, voxel_size_text
from cristae.data.open import open_volume
from cristae.data.padding import find_padding
from cristae.data.volume import Volume
from cristae.errors import RunError, VolumeError
from cristae.inference.config import PredictOptions
from cristae.inference.job import Job
from cristae.inference.manifest import find_begun, is_complete, require_same
from cristae.inference.own_grids import grids_at, together
from cristae.inference.planning import (
    Inputs,
    block_with,
    continued_request,
    open_known_mask,
    plan_request,
    warn_of_more_memory,
)
from cristae.inference.postprocessing import announce, postprocess_prediction, require_names, restore_raw
from cristae.inference.prediction import Prediction, is_finished, open_prediction
from cristae.inference.request import (
    MaskSpec,
    PredictionRequest,
    PredictionSettings,
    Provenance,
    VolumeSpec,
    open_mask,
    parse_box,
)
from cristae.inference.sections import bridged, look_before_predicting, with_reach
from cristae.inference.writer import PredictionWriter, open_output
from cristae.postprocessing import Step, require_fit
from cristae.postprocessing.memory import require_memory
from cristae.progress import Progress
from cristae.recipe.ensemble_file import RunEnsemble, flat_members
from cristae.recipe.matching import common_settings, member_of, sized_image, spec_of, working_sizes
from cristae.recipe.out_of_fold import held_out_boxes
from cristae.recipe.postprocess import steps_of
from cristae.recipe.run import Run
from cristae.recipe.volume_greys import normalizations_of, normalizers_of
from cristae.words import parse_size
from cristae.workflows.predict_parts import PlannedPrediction, begin_prediction, predict_on_workers

_MUCH_PADDING = 0.1
"""Part of a volume from which on padding is worth a warning."""
_RARE_INSIDE = 0.005
"""Part of what is not padding that may have its value all the same, and be left out with it."""


def predict(
    runs: Sequence[Run | RunEnsemble | str | Path],
    volume: Volume | str | Path,
    *,
    out: str | Path,
    voxel_size_nm: VoxelSize | None = None,
    box: str | Box | None = None,
    mask: str | Path | None = None,
    options: PredictOptions = PredictOptions(),
    cluster: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
) -> Prediction:
    """Segment a volume and write the result as OME-Zarr, block by block; repeat the call to continue after a kill.

    A repeated call that finds its prediction finished checks that it was made from this volume and returns it.
    Runs of the same classes are combined by the rule of their ensemble file, or `predict.fusion` of their recipes;
    binary runs of different structures are merged into one class map.

    Args:
        runs: Run folders, ensemble files and folders that hold an `ensemble.yaml`; `STUDY:out-of-fold` predicts what
            members of an ensemble have held out by these alone.
        volume: What to segment.
        out: The new OME-Zarr group, or one that this very call began earlier.
        voxel_size_nm: The volume's (z, y, x), where its files do not say it, or say one that no microscope has.
        box: Predict only this part, `Z0:Z1,Y0:Y1,X0:X1` in voxels; the result is that part of the whole prediction.
        mask: An image of the volume's shape; voxels that are 0 in it become background and stay so in the
            post-processing. Only for classes that have one.
        options: Whether to keep probabilities and the members' disagreement, whose grey values decide the
            normalisation, which level of a pyramid is predicted, and ceilings of the memory: of the process, of the
            workers of this computer together, or of each worker elsewhere.
        cluster: Where blocks are predicted; without any, in this process. Workers elsewhere need all files at the same
            paths. A prediction that was begun may be resumed with other workers.
        progress: Where to report.

    Raises:
        RunError: The runs do not fit each other, the volume or the memory; weights are not those that an ensemble file
            lists; nothing of the volume is held out; one member alone cannot disagree.
        RecipeError: An ensemble file is not valid.
        VoxelSizeError: The voxel sizes of runs and volume cannot be compared.
        VolumeError: `out` does not end in .zarr; the box or the mask does not fit the volume.
        OutputExistsError: `out` holds a prediction of something else, or no prediction at all.
        ClusterError: There are no workers to be had, or they were lost again and again.
    """
    planned = plan_prediction(
        runs,
        volume,
        out=out,
        voxel_size_nm=voxel_size_nm,
        box=box,
        mask=mask,
        options=options,
        cluster=cluster,
        progress=progress,
    )
    if planned.complete:
        _confirm(planned, progress)
    else:
        output = begin_prediction(planned.request)
        if cluster.on_dask:
            predict_on_workers(planned.request, output, cluster, progress)
            ready = planned.ready(output)
        else:
            ready = planned.ready(output)
            limits = planned.runs[0].recipe.predict.block_vox, options.max_ram
            ready.predict(progress, block_of=partial(block_with, planned.request, planned.inputs, limits))
        _check_seams(ready.job, progress)
        _check_runtime(ready.job, progress)
        _finish(planned.request, output, progress)
    _postprocess(planned.request, planned.inputs.mask, options.max_ram, progress)
    return open_prediction(out)


def plan_prediction(
    runs: Sequence[Run | RunEnsemble | str | Path],
    volume: Volume | str | Path,
    *,
    out: str | Path,
    voxel_size_nm: VoxelSize | None = None,
    box: str | Box | None = None,
    mask: str | Path | None = None,
    options: PredictOptions = PredictOptions(),
    cluster: ClusterOptions = ClusterOptions(),
    progress: Progress = Progress(),
) -> PlannedPrediction:
    """Check what `predict` is asked for and choose its blocks; nothing is written. Arguments and errors as there."""
    ceilings, processes = _ceilings(options, cluster), cluster.workers or 1
    volume = _as_asked(volume, options)
    place = place_of(out)
    begun = find_begun(place)
    limit_cache(cache_within(None if ceilings.max_ram is None else parse_size(ceilings.max_ram) // processes))
    chosen = flat_members(runs)
    opened = tuple(member.run for member in chosen)
    settings = common_settings(chosen)
    found = volume if isinstance(volume, Volume) else open_volume(volume)
    image = sized_image(found, voxel_size_nm, progress)
    spec = VolumeSpec.of(image, name=found.name, path=_path_of(volume), level=options.level)
    if options.level:
        shown = f"{' x '.join(map(str, image.shape))} voxels of {voxel_size_text(image.voxel_size_nm)} (z, y, x)"
        progress.say(f"{found.name}: preview of level {options.level}, {shown}")
    if cluster.on_dask:
        spec.require_path()
    region = parse_box(box, image)
    sections = None
    if begun is None or settings.bridge:
        sections = look_before_predicting(image, found.name, region, bridge=settings.bridge, progress=progress)
    bridges = () if sections is None else sections.bridges
    held_out = held_out_boxes(chosen, found, region, progress)
    masked = None if mask is None else open_mask(mask, image, progress)
    sizes = working_sizes(opened, image, stated=voxel_size_nm is not None, progress=progress)
    grids = grids_at(bridged(image, bridges), sizes)
    configs = normalizations_of(opened, options.normalize)
    normalizers = normalizers_of(opened, configs, grids, region, found.name, progress)
    members = tuple(
        member_of(one.run, image, normalizer, progress, test_time=one.test_time, held_out=boxes)
        for one, normalizer, boxes in zip(chosen, normalizers, held_out, strict=True)
    )
    inputs = Inputs(members, together(grids), masked)
    provenance = Provenance(
        volume=spec,
        mask=None if masked is None else MaskSpec.of(masked),
        members=tuple(spec_of(*each) for each in zip(opened, members, configs, strict=True)),
        settings=PredictionSettings.of(settings, options, steps_of(chosen, progress)),
        box=region,
        working_sizes_nm=tuple(grid.working_voxel_size_nm for grid in grids),
        bridges=bridges,
    )
    if isinstance(place, Address) and provenance.settings.postprocess:
        raise RunError(
            f"{place}: predict.postprocess changes labels where they lie, which a store cannot; predict into a folder "
            "and copy that, or leave the steps out of the recipe.yaml of the run"
        )
    require_fit(provenance.settings.postprocess, provenance.ensemble.classes, image.voxel_size_nm)
    require_names(provenance.settings.postprocess, provenance.ensemble.classes)
    require_memory(provenance.settings.postprocess, image.crop(region), options.max_ram)
    if begun is not None:
        require_same(place, begun, provenance)
        request = continued_request(provenance, place, begun)
        if not is_complete(begun):
            warn_of_more_memory(request, inputs, ceilings, processes, progress)
        return PlannedPrediction(request, inputs, opened, is_complete(begun))
    if masked is None and box is None and provenance.ensemble.classes.empty_id is not None:
        _warn_of_padding(found, progress)
    if sections is not None:
        sections = with_reach(sections, members, grids)
        if (warning := sections.warning(found.name)) is not None:
            progress.warn(warning)
    request = plan_request(
        provenance,
        inputs,
        place,
        device=opened[0].recipe.device,
        largest=settings.block_vox,
        options=ceilings,
        sections=sections,
        workers=processes,
    )
    return PlannedPrediction(request, inputs, opened)


def _as_asked(volume: Volume | str | Path, options: PredictOptions) -> Volume | str | Path:
    """The volume, or its path with what the options say of it.

    Raises:
        VolumeError: It is open already.
        FormatError: It has no such level.
    """
    if not isinstance(volume, Volume):
        path = signed_path(volume, options.signed)
        return level_path(path, options.level) if options.level else path
    if options.signed is not None:
        raise VolumeError(f"'{volume.name}' is open already; say `signed` where it is opened: '{volume.image.path}'")
    if options.level:
        raise VolumeError(
            f"'{volume.name}' is open already, so that its level stands; give its path, '{volume.image.path}', with "
            f"`level`, or open that level of it"
        )
    return volume


def _ceilings(options: PredictOptions, cluster: ClusterOptions) -> PredictOptions:
    """The options with what the jobs of a queue may use, where nothing else is said."""
    if cluster.cluster is None or options.max_ram is not None:
        return options
    return replace(options, max_ram=read_queue(cluster.cluster).memory)


def _warn_of_padding(volume: Volume, progress: Progress) -> None:
    """Say what a mask is for where a good part of a volume was never recorded."""
    padding = find_padding(volume.image)
    if padding is None or padding.share < _MUCH_PADDING:
        return
    itself = volume.image.format != "array" and padding.value == 0 and padding.inside <= _RARE_INSIDE
    mask = f"the volume itself serves as one: --mask {volume.image.path}" if itself else "--mask MASK.tif"
    progress.warn(
        f"{padding.share:.0%} of '{volume.name}' is {padding.shown} in areas along the border, which looks like "
        f"padding: it takes time and may get classes. A mask that is 0 there leaves it out; {mask}"
    )


def finish_prediction(request: PredictionRequest, *, progress: Progress = Progress()) -> Prediction:
    """Complete an output whose blocks are all predicted.

    Raises:
        RunError: Blocks are missing.
    """
    if not is_complete(
        find_begun(place_of(request.out))
    ):  # a call that was killed in the post-processing has done this
        _finish(request, open_output(request), progress)
    origin = request.provenance
    needed = origin.mask is not None and _steps(request)
    _postprocess(request, open_known_mask(origin, origin.volume.open()) if needed else None, None, progress)
    return open_prediction(request.out)


def _check_seams(job: Job, progress: Progress) -> None:
    """Say, and write beside the prediction, whether it shows where windows meet."""
    found = job.check_seams()
    if found is not None:
        (progress.warn if found.seams else progress.say)(found.text())
        write_attributes(job.writer.path, {"seams": found.to_dict()})


def _check_runtime(job: Job, progress: Progress) -> None:
    """Say, and write beside the prediction, whether another runtime agrees with PyTorch on this volume."""
    found = job.check_runtime()
    if found is not None:
        (progress.say if found.agrees else progress.warn)(found.text())
        write_attributes(job.writer.path, {"runtime": found.to_dict()})


def _path_of(volume: Volume | str | Path) -> str | None:
    """Where another process finds the volume; None for one that was made in memory."""
    if not isinstance(volume, Volume):
        return str(volume)
    return None if volume.image.format == "array" else str(volume.image.path)


def _steps(request: PredictionRequest) -> tuple[Step, ...]:
    """The post-processing of a request."""
    return request.provenance.settings.postprocess


def _finish(request: PredictionRequest, output: PredictionWriter, progress: Progress) -> None:
    """Complete the blocks; where steps are still to be done the prediction is not taken for finished."""
    announce(output.path, _steps(request))
    output.finish(progress)


def _postprocess(request: PredictionRequest, mask: Image | None, max_ram: str | None, progress: Progress) -> None:
    """Change the labels of complete blocks, inside the mask."""
    out = place_of(request.out)
    if isinstance(out, Address):
        return  # `plan_prediction` has refused steps
    inside = None if mask is None else mask.crop(request.provenance.box)
    postprocess_prediction(out, _steps(request), mask=inside, max_ram=max_ram, progress=progress)


def _confirm(planned: PlannedPrediction, progress: Progress) -> None:
    """Check that finished blocks were made from this volume."""
    path = place_of(planned.request.out)
    if isinstance(path, Path) and not is_finished(read_attributes(path)):
        restore_raw(path)  # names of labels that a kill left half exchanged
    planned.ready(open_output(planned.request)).job.confirm(progress)
    progress.say(f"{path}: was finished already")
