"""Apply one run, or several that are fused, to a volume of any size."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from cristae.allocator import keep_large_buffers, return_large_buffers
from cristae.data.box import Box
from cristae.data.files import require_new
from cristae.data.formats import open_image
from cristae.data.image import Image, VoxelSize
from cristae.data.open import open_volume
from cristae.data.volume import Volume
from cristae.errors import FormatError, OutputExistsError, RunError, VolumeError
from cristae.inference.config import DeviceName, PredictConfig
from cristae.inference.device import choose_device
from cristae.inference.fuse import Fusion, plan_fusion
from cristae.inference.job import Job
from cristae.inference.memory import find_budget
from cristae.inference.plan import BlockPlan, Task, plan_memory
from cristae.inference.prediction import Prediction, open_prediction, read_state
from cristae.inference.predictor import Member, Predictor
from cristae.inference.view import View, view_at
from cristae.inference.writer import Layout, PredictionWriter, create_prediction
from cristae.models.external import own_errors
from cristae.progress import Progress
from cristae.recipe.run import Run, open_run
from cristae.workflows.matching import common_settings, member_of, sized_image, working_size

_MASK_BLOCK = (16, 1024, 1024)


def predict(
    runs: Sequence[Run | str | Path],
    volume: Volume | str | Path,
    *,
    out: str | Path,
    voxel_size_nm: VoxelSize | None = None,
    box: str | Box | None = None,
    mask: str | Path | None = None,
    probabilities: bool = False,
    max_ram: str | None = None,
    max_vram: str | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Segment a volume and write the result as OME-Zarr, block by block; repeat the call to continue after a kill.

    A repeated call that finds its prediction finished checks that it was made from this volume and returns it.
    Runs of the same classes are averaged; binary runs of different structures are merged into one class map.

    Args:
        runs: Run folders.
        volume: What to segment.
        out: The new OME-Zarr group, or one that this very call began earlier.
        voxel_size_nm: The volume's (z, y, x), where its files do not say it.
        box: Predict only this part, `Z0:Z1,Y0:Y1,X0:X1` in voxels; the result is that part of the whole prediction.
        mask: An image of the volume's shape; voxels that are 0 in it become background. Only for classes that have
            one.
        probabilities: Keep 8-bit probabilities too.
        max_ram: Ceiling for the process, such as '8GiB'; None takes half of the free memory.
        max_vram: Ceiling on the GPU, likewise.
        progress: Where to report.

    Raises:
        RunError: The runs do not fit each other, the volume or the memory.
        VoxelSizeError: The voxel sizes of runs and volume cannot be compared.
        VolumeError: `out` does not end in .zarr; the box or the mask does not fit the volume.
        OutputExistsError: `out` holds a prediction of something else, or no prediction at all.
    """
    progress, out = progress or Progress(), Path(out)
    begun = _begun(out)
    if begun is None and out.suffix.lower() != ".zarr":
        raise VolumeError(
            f"{out}: a prediction is an OME-Zarr; name it {out.stem}.zarr, and make another format of "
            "its labels with `cristae convert`"
        )
    opened = tuple(run if isinstance(run, Run) else open_run(run) for run in runs)
    settings = common_settings(opened)
    volume = volume if isinstance(volume, Volume) else open_volume(volume)
    image = sized_image(volume, voxel_size_nm)
    masked = None if mask is None else _open_mask(Path(mask), image)
    size = working_size(opened, image, stated=voxel_size_nm is not None, progress=progress)
    case = _Case(
        opened,
        tuple(member_of(run, image, volume.name, progress) for run in opened),
        settings,
        view_at(image, size),
        _region(box, image),
        masked,
        probabilities,
    )
    if mask is not None:
        _require_empty_id(case)
    origin = case.origin()
    if begun is not None:
        _require_same(out, begun, origin)
    device, plan = _plan(case, begun, max_ram=max_ram, max_vram=max_vram)
    (keep_large_buffers if plan.keeps_buffers else return_large_buffers)()
    predictor = Predictor(case.members, device=device, precision=settings.precision, pass_vox=plan.pass_vox)
    layout = case.layout(plan, predictor.fusion, volume.name)
    if begun is None:
        about = {**origin, "plan": {**plan.to_dict(), "backend": device.type}, "versions": _versions()}
        writer = create_prediction(out, layout, about)
    else:
        writer = PredictionWriter(out, layout)
    job = Job(predictor, case.view, writer, settings.threshold, masked)
    if _is_complete(begun):
        job.confirm(progress)
        progress.say(f"{out}: was finished already")
    else:
        with ExitStack() as stack:
            for run, member in zip(opened, case.members, strict=True):
                stack.enter_context(own_errors(run.recipe.model, member.network))
            job.run(progress)
    return open_prediction(out)


@dataclass(frozen=True, eq=False)
class _Case:
    """Everything about a prediction that was checked before anything is written."""

    runs: tuple[Run, ...]
    members: tuple[Member, ...]
    settings: PredictConfig
    view: View
    region: Box
    mask: Image | None
    probabilities: bool

    def origin(self) -> dict[str, Any]:
        """What decides the result; a prediction that was begun from something else is not continued."""
        image, working = self.view.source, self.view.working
        facts = {
            "input": {
                "shape": image.shape,
                "dtype": image.dtype.name,
                "voxel_size_nm": image.voxel_size_nm,
                "mask_sha256": None if self.mask is None else _mask_digest(self.mask),
            },
            "runs": [_run_facts(run, member) for run, member in zip(self.runs, self.members, strict=True)],
            "settings": {
                "threshold": self.settings.threshold,
                "precision": self.settings.precision,
                "probabilities": self.probabilities,
                "box": str(self.region),
                "working_voxel_size_nm": working.voxel_size_nm if self.view.resampled else None,
            },
        }
        plain: dict[str, Any] = json.loads(json.dumps(facts))  # tuples become lists, as in what is stored
        return plain

    def task(self, device: str, *, keeps_buffers: bool) -> Task:
        """What decides the memory of a block."""
        source, working = self.view.source.voxel_size_nm, self.view.working.voxel_size_nm
        scale = (1.0, 1.0, 1.0)
        if self.view.resampled and source is not None and working is not None:
            scale = (source[0] / working[0], source[1] / working[1], source[2] / working[2])
        return Task(
            members=self.members,
            fusion=plan_fusion([member.classes for member in self.members]),
            image_shape=self.view.working.shape,
            scale=scale,
            itemsize=self.view.working.dtype.itemsize,
            halves=self.settings.precision == "bf16",
            keep_probabilities=self.probabilities,
            chunk_depth=self.view.working.chunks[0],
            device=device,
            keeps_buffers=keeps_buffers,
        )

    def layout(self, plan: BlockPlan, fusion: Fusion, name: str) -> Layout:
        """The arrays of the output."""
        image = self.view.source
        size, origin = image.voxel_size_nm, image.origin_nm
        return Layout(self.region, plan, fusion, self.probabilities, image.dtype, size, origin, name)


def _plan(
    case: _Case, begun: Mapping[str, Any] | None, *, max_ram: str | None, max_vram: str | None
) -> tuple[torch.device, BlockPlan]:
    """Where to compute and in which blocks; what was begun goes on as it was planned."""
    if begun is not None:
        backend: DeviceName = "cpu" if _is_complete(begun) else begun["plan"]["backend"]
        cure = "go on where it was begun, or begin anew at another output place"
        return choose_device(backend, cure=cure), BlockPlan.from_dict(begun["plan"])
    device = choose_device(case.runs[0].recipe.device, cure="set device: auto in the run's recipe.yaml")
    # Half again as fast; where the user states a ceiling, memory counts more.
    kept = device.type == "cpu" and max_ram is None
    budget = find_budget(device, max_ram=max_ram, max_vram=max_vram)
    task = case.task(device.type, keeps_buffers=kept)
    return device, plan_memory(task, case.region.shape, budget, largest=case.settings.block_vox)


def _begun(out: Path) -> dict[str, Any] | None:
    """What a prediction at `out`, finished or not, says about itself; None when the place is free."""
    try:
        return read_state(out)
    except FormatError:
        require_new(out, what="the prediction")
        raise


def _is_complete(begun: Mapping[str, Any] | None) -> bool:
    return begun is not None and begun["status"] == "complete"


def _require_same(out: Path, begun: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
    changed = [
        line for part in ("input", "runs", "settings") for line in _differences(part, begun.get(part), origin[part])
    ]
    if changed:
        lines = "\n".join(f"  {line}" for line in changed[:8])
        what, first = (
            ("a finished", "") if _is_complete(begun) else ("an unfinished", "repeat the command that began it, ")
        )
        raise OutputExistsError(
            f"{out}: holds {what} prediction of something else; {first}choose another place, or remove it. "
            f"What differs:\n{lines}"
        )


def _differences(path: str, before: Any, now: Any) -> list[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        keys = list(dict.fromkeys((*before, *now)))
        return [line for key in keys for line in _differences(f"{path}.{key}", before.get(key), now.get(key))]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [
            line for i, pair in enumerate(zip(before, now, strict=True)) for line in _differences(f"{path}.{i}", *pair)
        ]
    return [] if before == now else [f"{path}: {_short(before)} before, {_short(now)} now"]


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _region(box: str | Box | None, image: Image) -> Box:
    whole = Box.of_shape(image.shape)
    if box is None:
        return whole
    try:
        region = Box.parse(box, image.shape) if isinstance(box, str) else box
    except ValueError as error:
        raise VolumeError(f"{image.path}: box {error}") from None
    if region.size == 0 or not whole.contains(region):
        raise VolumeError(f"{image.path}: box {region} is empty or reaches outside the volume of {whole}")
    return region


def _require_empty_id(case: _Case) -> None:
    """Refuse a mask where no class id says that a voxel was left out."""
    classes = plan_fusion([member.classes for member in case.members]).classes
    if classes.empty_id is None:
        raise RunError(
            f"a mask leaves voxels without a class, but the classes {classes.listed} have no id for these; predict "
            "without a mask, and give it to `cristae evaluate` or `cristae analyze` instead"
        )


def _open_mask(path: Path, image: Image) -> Image:
    mask = open_image(path)
    if mask.shape != image.shape or mask.colors != 1:
        raise VolumeError(
            f"{path}: the mask has shape {mask.shape} (z, y, x) and {mask.colors} channels, but the volume is "
            f"{image.shape}; it must be a grey image of the same shape, not 0 where to predict"
        )
    return mask


def _run_facts(run: Run, member: Member) -> dict[str, Any]:
    return {
        "run": run.id,
        "status": run.summary.get("status"),
        "weights_sha256": hashlib.sha256(run.weights_path.read_bytes()).hexdigest(),
        "classes": list(member.classes.names),
        "normalizer": member.normalizer.to_dict(),
        "locality": member.locality.to_dict(),
        "windows": None if member.windows is None else asdict(member.windows),
    }


def _mask_digest(image: Image) -> str:
    total = hashlib.sha256()
    for block in Box.of_shape(image.shape).blocks(_MASK_BLOCK):
        total.update((image.read(block) != 0).tobytes())
    return total.hexdigest()


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("cristae", "torch", "numpy", "tensorstore")}
