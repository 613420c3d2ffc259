"""How alike are the features of trained networks: correlations of all channels, within and between their blocks."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cristae.data.box import Box
from cristae.data.files import require_new, require_writable
from cristae.data.formats.paths import signed_path
from cristae.data.formats.write import beside
from cristae.data.image import VoxelSize
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import RunError, VolumeError
from cristae.evaluation.features.memory import rows_of_tiles
from cristae.evaluation.features.options import FeatureOptions
from cristae.evaluation.features.places import plan_places
from cristae.evaluation.features.result import FeatureCorrelation, bounds_of, with_sheets
from cristae.evaluation.features.store import FeatureStore
from cristae.evaluation.features.tiles import correlate_channels, count_tiles
from cristae.inference.device import choose_device
from cristae.inference.feature_maps import FeatureNetwork
from cristae.inference.memory import find_budget
from cristae.inference.working_grid import WorkingGrid, working_grid_at
from cristae.models.external import own_errors
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.ensemble_file import RunEnsemble, flat_members
from cristae.recipe.matching import member_of, sized_image, working_size
from cristae.recipe.run import Run
from cristae.recipe.volume_greys import normalizations_of, normalizers_of
from cristae.report.features_page import write_features_page
from cristae.words import short_names


def correlate(
    runs: Sequence[Run | RunEnsemble | str | Path],
    images: Sequence[Volume | str | Path],
    *,
    out: str | Path,
    voxel_size_nm: VoxelSize | None = None,
    options: FeatureOptions = FeatureOptions(),
    progress: Progress = Progress(),
) -> FeatureCorrelation:
    """Compare all channels of trained networks: Pearson correlations within and between their blocks.

    Each network is shown the same slices, as in prediction. Its features are averaged over one grid, 64 x 64 by
    default, and correlated over all grid cells of all slices, exactly and with bounded memory: only tiles of the map of
    all correlations are ever held. The folder gets tables (CSV), all facts (JSON), figures (SVG, PNG) and a page.

    Args:
        runs: Run folders of networks; of ensemble files, their members.
        images: What the networks are shown: images of any format, each with at least one slice.
        out: The folder to write.
        voxel_size_nm: The images' (z, y, x), where their files do not say it.
        options: Which layers and blocks, how many slices, how large a window, and how fine a grid.
        progress: Where to report.

    Raises:
        RunError: A run is a random forest, runs were trained at different voxel sizes, blocks are not there, or the
            memory is too little.
        ScoreError: An image has too few slices, or is smaller than the window.
        VoxelSizeError: The voxel sizes of runs and images cannot be compared.
        OutputExistsError: There is something at `out`.
        StorageError: The disk is full or the place may not be written.
        CristaeError: A file is missing or damaged.

    References:
        EM-stellar, Khadangi et al. (2021), figure 5, https://doi.org/10.1093/bioinformatics/btaa1094

    Example:
        >>> found = correlate(["runs/a", "runs/b"], ["cell.tif"], out="features")  # doctest: +SKIP
        >>> found.mean_abs()[0, 0]  # doctest: +SKIP
        0.21
    """
    out = Path(out)
    require_new(out, what="the correlations")
    require_writable(out)
    opened = _opened(runs)
    if not images:
        raise VolumeError("no image was given; name at least one that the networks are to be shown")
    shown = [_look_at(opened, image, voxel_size_nm, options, progress) for image in images]
    names = short_names([_path_of(run) for run in opened])
    device = choose_device(opened[0].recipe.device, cure="set device: auto in the run's recipe.yaml")
    networks = []
    for name, run, normalizer in zip(names, opened, shown[0].normalizers, strict=True):
        member = member_of(run, shown[0].grid.source, normalizer, progress, test_time="none")
        networks.append(FeatureNetwork(name, member, kind=options.features, size=options.size, device=device))
    with ExitStack() as stack:
        for run, network in zip(opened, networks, strict=True):
            stack.enter_context(own_errors(run.recipe.model, network.network))
        _choose_blocks(networks, shown, options)
        return _correlate(opened, networks, shown, out, options, progress)


@dataclass(frozen=True, eq=False)
class _Shown:
    """An image, and what is looked at."""

    name: str
    grid: WorkingGrid
    places: tuple[Box, ...]
    """On the working grid."""
    normalizers: tuple[Normalizer, ...]
    """Of each run."""


def _opened(runs: Sequence[Run | RunEnsemble | str | Path]) -> list[Run]:
    """All members, each once.

    Raises:
        RunError: There is none, or one is named twice.
    """
    opened = [member.run for member in flat_members(runs)]
    if not opened:
        raise RunError("no run was given; name at least one run folder with --run")
    paths = [_path_of(run) for run in opened]
    for path in paths:
        if paths.count(path) > 1:
            raise RunError(f"{path}: is named twice; its features are those of itself, so name each run once")
    return opened


def _path_of(run: Run) -> str:
    return str(run.path) if run.criterion is None else f"{run.path}:{run.criterion}"


def _look_at(
    runs: Sequence[Run],
    image: Volume | str | Path,
    voxel_size_nm: VoxelSize | None,
    options: FeatureOptions,
    progress: Progress,
) -> _Shown:
    """Open an image as prediction does, and choose what is looked at."""
    if isinstance(image, Volume) and options.signed is not None:
        raise VolumeError(f"'{image.name}' is open already; say `signed` where it is opened: '{image.image.path}'")
    found = image if isinstance(image, Volume) else open_volume(signed_path(image, options.signed))
    source = sized_image(found, voxel_size_nm, progress)
    size = working_size(runs, source, stated=voxel_size_nm is not None, progress=progress)
    grid = working_grid_at(source, size)
    places = plan_places(grid.working.shape, [run.model.patch_size for run in runs], options, found.name)
    configs = normalizations_of(runs, "run")
    region = Box.of_shape(source.shape) if grid.resampled else Box.around(places)
    normalizers = normalizers_of(runs, configs, [grid] * len(runs), region, found.name, progress)
    return _Shown(found.name, grid, tuple(places), normalizers)


def _choose_blocks(networks: Sequence[FeatureNetwork], shown: Sequence[_Shown], options: FeatureOptions) -> None:
    """Take the blocks that are asked for, of each network that has them.

    Raises:
        RunError: No network has a block of that name.
    """
    first = shown[0]
    known = [network.choose(options.blocks, first.places[0], first.grid.working.shape) for network in networks]
    for network, names in zip(networks, known, strict=True):
        if not names:
            raise RunError(f"{network.name}: has no convolution whose result is an image, so there are no features")
    for name in options.blocks or ():
        if not any(name in names for names in known):
            listed = "; ".join(f"{one.name} {', '.join(names)}" for one, names in zip(networks, known, strict=True))
            raise RunError(f"blocks: there is no block '{name}'; blocks of networks are: {listed}")


def _correlate(
    runs: Sequence[Run],
    networks: Sequence[FeatureNetwork],
    shown: Sequence[_Shown],
    out: Path,
    options: FeatureOptions,
    progress: Progress,
) -> FeatureCorrelation:
    blocks = tuple(block for network in networks for block in network.blocks)
    bounds, pixels = bounds_of(blocks), options.size**2
    budget = find_budget(networks[0].device, max_ram=options.max_ram)
    passes = [
        network.bytes_at(image.places[0], image.grid.working.shape)
        for network in networks
        for image in shown
        if network.device.type == "cpu"
    ]
    rows = rows_of_tiles(budget, bounds, pixels, passes)
    count = sum(len(image.places) for image in shown)
    with beside(out) as folder, FeatureStore(folder, channels=bounds[-1], pixels=pixels, places=count) as store:
        _collect(networks, shown, store, progress)
        with progress.task("Comparing channels", count_tiles(bounds, rows), unit="tiles") as task:
            found = correlate_channels(store, bounds, close=options.close, rows=rows, advance=task.advance)
        result = FeatureCorrelation(
            path=out,
            runs=dict(zip([network.name for network in networks], [_path_of(run) for run in runs], strict=True)),
            places=tuple({"image": one.name, "box": str(place)} for one in shown for place in one.places),
            options=options,
            blocks=blocks,
            found=found,
        )
        result = with_sheets(result, store)
        result.write(folder)
        write_features_page(folder, title=out.name)
    return result


def _collect(
    networks: Sequence[FeatureNetwork], shown: Sequence[_Shown], store: FeatureStore, progress: Progress
) -> None:
    """The features of every network at every place."""
    windows = len(networks) * store.places
    with progress.task("Collecting features", windows, unit="windows") as task:
        first = 0
        for number, network in enumerate(networks):
            at = 0
            for one in shown:
                image = network.shown(one.grid.working)
                for place in one.places:
                    network.collect(image, one.normalizers[number], place, store.writer(at, first))
                    at += 1
                    task.advance()
            first += network.channels
