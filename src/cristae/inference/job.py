"""Predicting a whole region: blocks through reader threads, networks and writer threads, skipping what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cristae.data.formats.ome_zarr import read_attributes
from cristae.data.image import Image
from cristae.errors import OutputExistsError, RunError
from cristae.inference.blocks import Block, plan_blocks
from cristae.inference.journal import digest, hash_of
from cristae.inference.labels import bytes_of, labels_of
from cristae.inference.pipeline import run_pipeline
from cristae.inference.predictor import Predictor
from cristae.inference.view import View
from cristae.inference.writer import PredictionWriter, Written, shrink
from cristae.progress import Progress


@dataclass(frozen=True, eq=False)
class Job:
    """What is to be predicted, with what, and where it goes."""

    predictor: Predictor
    view: View
    writer: PredictionWriter
    threshold: float
    mask: Image | None = None
    """Voxels that are 0 in it are background."""

    def run(self, progress: Progress) -> None:
        """Predict every block that is not on disk yet, then complete the output.

        Raises:
            OutputExistsError: The output was begun from an image with other grey values.
            RunError: The accelerator has too little memory.
            StorageError: The disk is full or the place may not be written.
        """
        layout = self.writer.layout
        blocks = list(plan_blocks(layout.region, layout.plan.block))
        done = self._finished(blocks, progress)
        todo = [block for block in blocks if block.index not in done]
        with (
            self.predictor.predicting(),
            progress.task("Predicting", len(blocks), unit="blocks", done=len(done)) as task,
        ):

            def write(result: _Result) -> None:
                self.writer.write(result.block.index, result.block.core, result.written, result.seen)
                task.advance()

            try:
                run_pipeline(todo, self._read, self._compute, write)
            except torch.OutOfMemoryError as error:
                raise RunError(
                    "the accelerator's memory is full; repeat the command with a new output place and a smaller "
                    "--max-vram, or close other programs that use it"
                ) from error
        self.writer.finish(progress)

    def confirm(self, progress: Progress) -> None:
        """Make sure that a finished output was made from this image, and clear away what a kill may have left.

        Raises:
            OutputExistsError: It was made from an image with other grey values.
        """
        blocks = list(plan_blocks(self.writer.layout.region, self.writer.layout.plan.block))
        seen = []
        with progress.task("Checking what is there", len(blocks), unit="blocks") as task:
            for block in blocks:
                seen.append(self._read(block).seen)
                task.advance()
        if hash_of(seen) != read_attributes(self.writer.path)["input_sha256"]:
            raise OutputExistsError(
                f"{self.writer.path}: holds a finished prediction of an image with other grey values; choose another "
                "output place, or remove this one"
            )
        self.writer.journal.remove()

    def _read(self, block: Block) -> _Input:
        inside = None if self.mask is None else self.mask.read(block.core) != 0
        if inside is not None and not inside.any():
            return _Input(block, np.empty((0, 0, 0), np.uint8), inside, None, "")
        seen = self.view.seen(self.predictor, block.core)
        raw = self.view.working.read(seen)
        preview = None
        if factor := self.writer.layout.preview_factor:
            own = not self.view.resampled
            core = raw[block.core.relative_to(seen.start).slices] if own else self.view.source.read(block.core)
            preview = shrink(core, factor)
        return _Input(block, raw, inside, preview, digest(raw))

    def _compute(self, given: _Input) -> _Result:
        fusion, keeps = self.predictor.fusion, self.writer.layout.keep_probabilities
        if not given.seen:
            count = 1 if fusion.classes.exclusive else fusion.channels
            empty = np.zeros((count, *given.block.core.shape), np.uint8)
            kept = np.zeros((fusion.channels, *given.block.core.shape), np.uint8) if keeps else None
            return _Result(given.block, Written(empty, kept), "")
        found = self.view.probabilities(self.predictor, given.raw, given.block.core)
        labels = labels_of(found, fusion, self.threshold).cpu().numpy()
        kept = bytes_of(found).cpu().numpy() if keeps else None
        if given.inside is not None:
            labels = labels * given.inside
            kept = None if kept is None else kept * given.inside
        return _Result(given.block, Written(labels, kept, given.preview), given.seen)

    def _finished(self, blocks: Sequence[Block], progress: Progress) -> set[int]:
        """Blocks that the journal lists, all made from this image, and whose voxels are as it says."""
        entries = self.writer.journal.read()
        listed = [block for block in blocks if block.index in entries]
        if not listed:
            return set()
        with progress.task("Checking what is there", len(listed), unit="blocks") as task:
            done = set()
            for block in listed:
                if self._read(block).seen != entries[block.index].input:
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


@dataclass(frozen=True, eq=False)
class _Input:
    block: Block
    raw: np.ndarray
    inside: np.ndarray | None
    preview: np.ndarray | None
    seen: str


@dataclass(frozen=True, eq=False)
class _Result:
    block: Block
    written: Written
    seen: str
