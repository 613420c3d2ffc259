"""From open networks and an open image to a planned request: on which device, and in which blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from cristae.data.address import Place
from cristae.data.box import Triple
from cristae.data.image import Image
from cristae.errors import RunError, VolumeError
from cristae.inference.config import Backend, DeviceName, PredictOptions
from cristae.inference.device import choose_device
from cristae.inference.held_out import parts_by_members
from cristae.inference.manifest import is_complete
from cristae.inference.memory import find_budget
from cristae.inference.own_grids import Grids, OwnGrids, grids_at, together
from cristae.inference.plan import BlockPlan, Workload, plan_memory, ram_of_plan
from cristae.inference.predictor import Member
from cristae.inference.request import MaskSpec, PredictionRequest, Provenance, open_mask
from cristae.inference.runtimes.faster import Way
from cristae.inference.runtimes.installed import require_runtime
from cristae.inference.runtimes.sessions import sessions_of
from cristae.inference.sections import SectionReport, bridged
from cristae.progress import Progress
from cristae.words import memory, parse_size

_TOLERATED = 1.1
"""How much more than its ceiling a prediction may take that is resumed, as what the process holds varies."""


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a request names, opened in this process."""

    members: tuple[Member, ...]
    grid: Grids
    mask: Image | None
    """Voxels that are 0 in it are background."""

    @classmethod
    def open(cls, provenance: Provenance, members: tuple[Member, ...]) -> Inputs:
        """Open volume and mask by their paths.

        Raises:
            VolumeError: The volume exists in another process only, or a file holds another image by now.
            MissingFileError: A file is gone.
        """
        image = provenance.volume.open()
        mask = open_known_mask(provenance, image)
        seen = bridged(image, provenance.bridges)
        return cls(members, together(grids_at(seen, provenance.working_sizes_nm)), mask)


def open_known_mask(provenance: Provenance, image: Image) -> Image | None:
    """The mask that a prediction was planned with; None where there was none.

    Raises:
        VolumeError: It holds something else by now.
        MissingFileError: It is gone.
    """
    mask = None if provenance.mask is None else open_mask(provenance.mask.path, image)
    if mask is not None and MaskSpec.of(mask) != provenance.mask:
        raise VolumeError(f"{mask.path}: the mask has changed since the prediction was planned; put it back")
    return mask


def plan_request(
    provenance: Provenance,
    inputs: Inputs,
    out: Place,
    *,
    device: DeviceName,
    largest: Triple | None,
    options: PredictOptions,
    sections: SectionReport | None = None,
    workers: int = 1,
) -> PredictionRequest:
    """Choose device and blocks.

    Args:
        provenance: What to predict.
        inputs: The same, opened.
        out: Where to write.
        device: What the recipe asks for.
        largest: Limit on the block (z, y, x); None leaves it to the memory.
        options: Ceilings of the memory.
        sections: What a look at the volume's sections found.
        workers: Processes of this computer that are to work side by side, within the same ceilings.

    Raises:
        RunError: The device is not there, not even the smallest block fits the memory, or there is a mask but no
            background; the members' disagreement is asked for where there is but one; the runtime is not there, or does
            not suit the networks.
        VolumeError: Slices are smaller than the areas that networks are shown them filtered with.
    """
    _require_empty_id(provenance)
    _require_several(provenance, inputs)
    _require_filterable(inputs)
    chosen = choose_device(device, cure="set device: auto in the run's recipe.yaml")
    backend: Backend = "cuda" if chosen.type == "cuda" else "mps" if chosen.type == "mps" else "cpu"
    _require_runtime(provenance, inputs, chosen)
    workload = _workload(provenance, inputs, backend)
    budget = find_budget(chosen, max_ram=options.max_ram, max_vram=options.max_vram, workers=workers)
    plan = plan_memory(workload, provenance.box.shape, budget, largest=largest)
    return PredictionRequest(provenance, str(out.absolute()), plan, backend, sections)


def _require_runtime(provenance: Provenance, inputs: Inputs, device: torch.device) -> None:
    """Begin the networks in the runtime that is asked for, before anything is written."""
    settings = provenance.settings
    require_runtime(settings.runtime, device, settings.precision, [member.network for member in inputs.members])
    sessions = sessions_of(settings.runtime)
    if sessions is not None:
        for member in inputs.members:
            sessions(member)


def _require_filterable(inputs: Inputs) -> None:
    """Refuse slices that cannot be filtered as the networks want them."""
    areas = [area for member in inputs.members for area in member.network_input.areas_px]
    if areas and isinstance(inputs.grid, OwnGrids):
        raise RunError(
            "a run that is shown filtered slices cannot be fused with runs of other working voxel sizes; predict with "
            "them one by one, or train them at one (data.voxel_size_nm of their recipes)"
        )
    if areas:
        from cristae.preprocess.grain_image import require_filterable  # takes the compiler

        require_filterable(inputs.grid.read, areas)


def _require_several(provenance: Provenance, inputs: Inputs) -> None:
    """Refuse a map of disagreement where a single member, without variants, predicts."""
    if not provenance.settings.disagreement:
        return
    groups, held_out = provenance.ensemble.groups, [member.held_out for member in inputs.members]
    alone = [len(member.variants) == 1 for member in inputs.members]
    for part in parts_by_members(provenance.box, groups, held_out):
        if all(len(group) == 1 and alone[group[0]] for group in part.groups):
            where = f"voxels {part.box} are predicted out of fold by" if any(held_out) else "there is only"
            raise RunError(
                f"disagreement: {where} one run for each class, which cannot disagree with itself; give several runs "
                "of the same classes, or let the run predict mirrored copies of the volume, too (predict.test_time: "
                "flips in its recipe.yaml, or test_time: flips in an ensemble file)"
            )


def _require_empty_id(provenance: Provenance) -> None:
    """Refuse a mask, and skipped blocks, where no class id means that a voxel was left out."""
    classes = provenance.ensemble.classes
    if provenance.settings.skip_empty is not None and classes.empty_id is None:
        raise RunError(
            f"skip_empty: leaves voxels without a class, but the classes ({classes.listed}) have no id for these; "
            "leave the option out"
        )
    if provenance.mask is not None and classes.empty_id is None:
        raise RunError(
            f"a mask leaves voxels without a class, but the classes ({classes.listed}) have no id for these; predict "
            "without a mask, and give it to `cristae evaluate` or `cristae analyze` instead"
        )


def continued_request(provenance: Provenance, out: Place, begun: Mapping[str, Any]) -> PredictionRequest:
    """The request of a prediction that was begun: its blocks and its device stay as they were planned.

    Args:
        provenance: What to predict, which must be what it was begun with.
        out: Where it is.
        begun: Its manifest. A finished one can be checked on any machine.
    """
    backend: Backend = "cpu" if is_complete(begun) else begun["plan"]["backend"]
    return PredictionRequest(provenance, str(out.absolute()), BlockPlan.from_dict(begun["plan"]), backend)


def warn_of_more_memory(
    request: PredictionRequest, inputs: Inputs, options: PredictOptions, workers: int, progress: Progress
) -> None:
    """Say where the blocks of a prediction that was begun are too large for as many workers as go on with it."""
    if options.max_ram is None or workers == 1:
        return
    workload = _workload(request.provenance, inputs, request.backend)
    budget = find_budget(torch.device("cpu"), max_ram=options.max_ram, workers=workers)
    needed, given = budget.together(ram_of_plan(workload, request.plan)), parse_size(options.max_ram)
    if needed > _TOLERATED * given:
        progress.warn(
            f"{request.out}: its blocks were planned for fewer processes: {workers} workers may take "
            f"{memory(needed)} together, more than --max-ram {options.max_ram}; fewer workers take less"
        )


def block_with(
    request: PredictionRequest, inputs: Inputs, limits: tuple[Triple | None, str | None], way: Way
) -> Triple | None:
    """The block (z, y, x) that a request would get if networks were computed in another way on the CPU.

    Args:
        request: What to predict.
        inputs: The same, opened.
        limits: On the block (z, y, x), and the ceiling of the memory.
        way: Which.

    Returns:
        None where the memory is too small.
    """
    largest, max_ram = limits
    usual = _workload(request.provenance, inputs, "cpu")
    workload = replace(usual, runtime=way.runtime, halves=way.precision == "bf16")
    budget = find_budget(torch.device("cpu"), max_ram=max_ram)
    try:
        return plan_memory(workload, request.provenance.box.shape, budget, largest=largest).block
    except RunError:
        return None


def _workload(provenance: Provenance, inputs: Inputs, backend: Backend) -> Workload:
    grid, settings = inputs.grid, provenance.settings
    own = tuple((one.working.shape, one.scale) for one in grid.grids) if isinstance(grid, OwnGrids) else ()
    return Workload(
        members=inputs.members,
        ensemble=provenance.ensemble,
        image_shape=grid.read.shape,
        scale=(1.0, 1.0, 1.0) if isinstance(grid, OwnGrids) else grid.scale,
        itemsize=grid.read.dtype.itemsize,
        halves=settings.precision == "bf16",
        keep_probabilities=settings.probabilities,
        chunk_depth=grid.read.chunks[0],
        device=backend,
        fusion=settings.fusion,
        disagreement=settings.disagreement,
        own_grids=own,
        runtime=settings.runtime,
    )
