"""Carrying out a request: blocks through reader threads, networks and writer threads, skipping what is done."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cristae.allocator import keep_large_buffers, peak_memory_bytes, return_large_buffers
from cristae.data.address import Address, Place
from cristae.data.formats.ome_zarr import read_attributes
from cristae.data.image import Image
from cristae.errors import OutputExistsError, RunError
from cristae.inference.blocks import Block
from cristae.inference.device import choose_device, warn_of_slow_bf16
from cristae.inference.emptiness import is_empty
from cristae.inference.forecast import forecast_of
from cristae.inference.journal import digest, hash_of
from cristae.inference.labels import bytes_of, labels_of
from cristae.inference.own_grids import Grids, OwnGrids
from cristae.inference.pipeline import run_pipeline
from cristae.inference.planning import Inputs
from cristae.inference.predictor import Predictor
from cristae.inference.request import PredictionRequest, PredictionSettings
from cristae.inference.runtime_check import RuntimeCheck
from cristae.inference.runtimes.comparison import compare_with_torch
from cristae.inference.runtimes.faster import BlockOf, faster_ways
from cristae.inference.runtimes.installed import require_runtime
from cristae.inference.runtimes.sessions import sessions_of
from cristae.inference.seam_check import SeamCheck
from cristae.inference.seams import check_seams
from cristae.inference.writer import PredictionWriter, Written, shrink
from cristae.preprocess.filtered_slices import FilteredSlices
from cristae.progress import Progress


@dataclass(frozen=True, eq=False)
class Job:
    """A request, ready to be carried out in this process."""

    predictor: Predictor
    grid: Grids
    shown: Image | FilteredSlices
    """The working image, with the filtered copies of its slices where networks are shown some."""
    mask: Image | None
    settings: PredictionSettings
    writer: PredictionWriter
    memory_bytes: int = 0
    """What the process is forecast to take; 0 where it was not planned here."""

    def run(self, progress: Progress, *, numbers: Sequence[int] | None = None, block_of: BlockOf | None = None) -> None:
        """Predict the blocks that are not on disk yet.

        Args:
            progress: Where to report.
            numbers: Of the blocks of the plan, those that this process predicts; None takes all. Processes need no
                locks: blocks are disjoint files.
            block_of: The block that another way to compute would get, so that faster ones can be named before a long
                prediction; None names none.

        Raises:
            OutputExistsError: The output was begun from an image with other grey values.
            RunError: The accelerator has too little memory; there is no block of that number; the runtime is not there.
            StorageError: The disk is full or the place may not be written.
        """
        blocks = self.writer.blocks()
        if numbers is not None:
            if unknown := [number for number in numbers if not 0 <= number < len(blocks)]:
                raise RunError(f"block {unknown[0]}: there is none; the plan has {len(blocks)}, numbered from 0")
            blocks = [blocks[number] for number in numbers]
        done = self._finished(blocks, progress)
        todo = [block for block in blocks if block.index not in done]
        if todo:
            networks = [member.network for member in self.predictor.members]
            require_runtime(self.settings.runtime, self.predictor.device, self.settings.precision, networks)
        if todo and self.settings.precision == "bf16":
            warn_of_slow_bf16(self.predictor.device, "precision", progress)
        forecast = None
        if numbers is None:
            forecast = forecast_of(self.predictor, self.grid, self.shown, self.writer.layout, todo)
        if forecast is not None:
            progress.say(forecast.text(self.memory_bytes))
            usual = self.settings.runtime == "torch" and self.settings.precision == "fp32"
            if block_of is not None and not done and usual and self.predictor.device.type == "cpu":
                for line in faster_ways(self.predictor, self.grid, self.shown, todo, forecast.seconds, block_of):
                    progress.say(line)
        began = time.perf_counter()
        with (
            self.predictor.predicting(),
            progress.task("Predicting", len(blocks), unit="blocks", done=len(done)) as task,
        ):

            def write(result: _Result) -> None:
                self.writer.write(result.block.index, result.block.core, result.written, result.input_sha256)
                task.advance()

            try:
                run_pipeline(todo, self._read_and_look, partial(self._compute, progress=progress), write)
            except torch.OutOfMemoryError as error:
                raise RunError(
                    "the accelerator's memory is full; repeat the command with a new output place and a smaller "
                    "--max-vram, or close other programs that use it"
                ) from error
        if forecast is not None:
            progress.say(forecast.outcome(time.perf_counter() - began, peak_memory_bytes(self.predictor.device)["ram"]))

    def check_seams(self) -> SeamCheck | None:
        """Compare some places with windows that lie elsewhere; None where there are none, members work on grids of
        their own, or predict what they have held out."""
        if isinstance(self.grid, OwnGrids) or any(member.held_out for member in self.predictor.members):
            return None
        region = self.grid.wanted(self.writer.layout.region)
        return check_seams(self.predictor, self.shown, region, self.settings.threshold)

    def check_runtime(self) -> RuntimeCheck | None:
        """Compare some places with PyTorch; None where that has predicted them."""
        runtime = self.settings.runtime
        if runtime == "torch":
            return None
        blocks = [block.core for block in self.writer.blocks()]
        where = self.grid, self.shown, blocks, self.settings.threshold
        return compare_with_torch(self.predictor, runtime, *where, self.writer.labels)

    def confirm(self, progress: Progress) -> None:
        """Make sure that a finished output was made from this image, and clear away what a kill may have left.

        Raises:
            OutputExistsError: It was made from an image with other grey values.
        """
        blocks, found = self.writer.blocks(), []
        with progress.task("Checking what is there", len(blocks), unit="blocks") as task:
            for block in blocks:
                found.append(self._read(block).input_sha256)
                task.advance()
        if hash_of(found) != read_attributes(self.writer.path)["input_sha256"]:
            raise OutputExistsError(
                f"{self.writer.path}: holds a finished prediction of an image with other grey values; choose another "
                "output place, or remove this one"
            )
        self.writer.journal.remove()

    def _read(self, block: Block) -> _Input:
        inside = None if self.mask is None else self.mask.read(block.core) != 0
        if inside is not None and not inside.any():
            return _Input(block, np.empty((0, 0, 0), np.uint8), inside, None, "")  # the mask leaves nothing to do
        box = self.grid.input_box(self.predictor, block.core)
        raw = self.shown.read(box)
        preview = None
        if factor := self.writer.layout.preview_factor:
            if self.grid.read is not self.grid.source:
                core = self.grid.source.read(block.core)
            else:
                grey = raw[0] if self.predictor.areas_px else raw
                core = grey[block.core.relative_to(box.start).slices]
            preview = shrink(core, factor)
        return _Input(block, raw, inside, preview, digest(raw))

    def _read_and_look(self, block: Block) -> _Input:
        """What `_read` gives, and whether there is nothing in it."""
        given, rule = self._read(block), self.settings.skip_empty
        if rule is None or not given.input_sha256:
            return given
        seen = self.grid.seen(self.predictor, given.raw, block.core)
        return replace(given, empty=all(is_empty(one.raw, one.first_slice, rule, one.normalizers) for one in seen))

    def _probabilities(self, given: _Input, progress: Progress) -> Tensor:
        """Those of a block; where memory runs out, in smaller passes from then on."""
        while True:
            try:
                return self.grid.probabilities(self.predictor, given.raw, given.block.core)
            except torch.OutOfMemoryError:
                if not self.predictor.take_less_memory():
                    raise
            if self.predictor.device.type == "cuda":
                torch.cuda.empty_cache()
            progress.warn("the accelerator's memory ran out; the prediction goes on in smaller passes")

    def _compute(self, given: _Input, progress: Progress) -> _Result:
        ensemble = self.predictor.ensemble
        if given.empty or not given.input_sha256:
            return self._background(given)
        found = self._probabilities(given, progress)
        disagreement = None
        if self.settings.disagreement:
            disagreement = bytes_of(found[-1]).cpu().numpy()
            found = found[:-1]
        threshold = self.settings.fusion.label_threshold(self.settings.threshold)
        labels = labels_of(found, ensemble, threshold).cpu().numpy()
        kept = bytes_of(found).cpu().numpy() if self.settings.probabilities else None
        if given.inside is not None:
            labels = labels * given.inside
            kept = None if kept is None else kept * given.inside
            disagreement = None if disagreement is None else disagreement * given.inside
        return _Result(given.block, Written(labels, kept, given.preview, disagreement), given.input_sha256)

    def _background(self, given: _Input) -> _Result:
        """A block that networks are not shown. Where it is empty, softmax is sure of the background."""
        ensemble, shape = self.predictor.ensemble, given.block.core.shape
        labels = np.zeros((1 if ensemble.classes.exclusive else ensemble.channels, *shape), np.uint8)
        kept = np.zeros((ensemble.channels, *shape), np.uint8) if self.settings.probabilities else None
        if kept is not None and given.empty and ensemble.softmax:
            kept[0] = 255 if given.inside is None else 255 * given.inside
        nothing = np.zeros(shape, np.uint8) if self.settings.disagreement else None
        return _Result(given.block, Written(labels, kept, given.preview, nothing, given.empty), given.input_sha256)

    def _finished(self, blocks: Sequence[Block], progress: Progress) -> set[int]:
        """Blocks that the journal lists, made from this image, whose voxels on disk match their checksums."""
        entries = self.writer.journal.read({block.index for block in blocks})
        listed = [block for block in blocks if block.index in entries]
        if not listed:
            return set()
        with progress.task("Checking what is there", len(listed), unit="blocks") as task:
            done = set()
            for block in listed:
                if self._read(block).input_sha256 != entries[block.index].input:
                    raise OutputExistsError(
                        f"{self.writer.path}: was begun from an image with other grey values (block {block.core} "
                        "differs); choose another output place, or remove this one"
                    )
                if self.writer.intact(entries[block.index], block.core):
                    done.add(block.index)
                task.advance()
        if len(done) < len(listed):
            progress.warn(f"{len(listed) - len(done)} finished blocks are damaged on disk and are predicted again")
        progress.say(f"{self.writer.path}: {len(done)} of {len(blocks)} blocks are there already")
        return done


def open_job(request: PredictionRequest, inputs: Inputs, writer: PredictionWriter) -> Job:
    """Get ready to carry out a request in this process, or any part of it.

    Args:
        request: What to do.
        inputs: What it names, opened.
        writer: Of the output, see `open_output`.

    Raises:
        RunError: This machine has no device of the kind that the request names.
    """
    device = choose_device(
        request.backend, cure="continue where the prediction was begun, or start again at another output place"
    )
    (keep_large_buffers if request.plan.keeps_buffers else return_large_buffers)()
    settings = request.provenance.settings
    predictor = Predictor(
        inputs.members,
        device=device,
        precision=settings.precision,
        pass_vox=request.plan.pass_vox,
        fusion=settings.fusion,
        threshold=settings.threshold,
        disagreement=settings.disagreement,
        strip_vox=request.plan.strip_vox,
        sessions=sessions_of(settings.runtime),
    )
    shown = _shown(predictor, inputs.grid, writer, request.plan.filtered_at_once)
    memory_bytes = request.plan.memory_bytes
    return Job(predictor, inputs.grid, shown, inputs.mask, settings, writer, memory_bytes)


def _shown(predictor: Predictor, grid: Grids, writer: PredictionWriter, threads: int) -> Image | FilteredSlices:
    """The working image as blocks read it. Filtered slices wait, beside the output, for the blocks of the same slices:
    twice as many as a block needs, as blocks are read ahead."""
    if not predictor.areas_px:
        return grid.read
    slices = {(block.core.start[0], block.core.stop[0]): block.core for block in writer.blocks()}
    most = max(grid.input_box(predictor, core).shape[0] for core in slices.values())
    return predictor.shown(grid.read, folder=_folder_beside(writer.path), most=2 * most, threads=threads)


def _folder_beside(path: Place) -> Path:
    """Where there is room for what is needed for a while."""
    return Path(tempfile.gettempdir()) if isinstance(path, Address) else path.parent


@dataclass(frozen=True, eq=False)
class _Input:
    block: Block
    raw: np.ndarray
    inside: np.ndarray | None
    preview: np.ndarray | None
    input_sha256: str
    """Empty where the mask leaves nothing to do."""
    empty: bool = False
    """Whether there is nothing in it, by the rule that was given."""


@dataclass(frozen=True, eq=False)
class _Result:
    block: Block
    written: Written
    input_sha256: str
