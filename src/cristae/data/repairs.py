"""What to run so that files are as they should be, and how a recipe then names them."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cristae.data.address import Place
from cristae.data.description import DataConfig, Labels, MaskLabels, VolumeConfig
from cristae.data.label_sources import is_slice_files
from cristae.data.volume import Volume


@dataclass(frozen=True)
class Copies:
    """Where copies of files go, and how a recipe comes to name them."""

    data: DataConfig
    """Complete."""
    folder: Path
    """Where paths of the recipe start."""
    place: Path
    """The folder for copies: the recipe's own."""

    def labels(self, volume: Volume, options: str, class_name: str | None = None) -> tuple[str, ...]:
        """The commands that copy label files with options of `convert`, and the lines with which the recipe names them.

        Args:
            volume: Whose labels.
            options: Of `convert`.
            class_name: Of the one mask to copy; None copies all label files.
        """
        place, config = place_of(self.data, volume)
        labels = config.labels
        assert labels is not None, "only labels that are there can be copied"
        if config.kind == "images":
            paths = dict.fromkeys(path for one in volume.labels for path in one.sources)
            return tuple(self._of_folder(config, path, "labels", options) for path in paths)
        slices = volume.labelled_slices if labels.slices is None else labels.slices
        changed: Labels
        if isinstance(labels, MaskLabels):
            chosen = {name: mask for name, mask in labels.masks.items() if class_name in (None, name)}
            copies = {name: self._copy(config, "-".join(name.split())) for name in chosen}
            masks = {name: mask.model_copy(update=self._named(copies[name])) for name, mask in chosen.items()}
            changed = labels.model_copy(update={"masks": labels.masks | masks, "slices": slices})
            commands = [_convert(self.folder / chosen[name].source, copies[name], options) for name in chosen]
        else:
            copy = self._copy(config, "labels")
            changed = labels.model_copy(update={**self._named(copy), "slices": slices})
            commands = [_convert(self.folder / labels.source, copy, options)]
        return (*commands, self._line(place, config.model_copy(update={"labels": changed}), "labels"))

    def image(self, volume: Volume, options: str) -> tuple[str, ...]:
        """The same for the image of a volume."""
        place, config = place_of(self.data, volume)
        if config.kind == "images":
            return (self._of_folder(config, volume.image.path, "images", options),)
        copy, labels = self._copy(config, "image"), config.labels
        named = self._named(copy)
        changed = config.model_copy(update={"image": named.pop("path"), **named})
        fields = ["image"]
        if labels is not None and labels.slices is None and self._has_slice_files(labels):
            # A single file has no names of slices by which those of labels could find theirs.
            slices = volume.labelled_slices or tuple(range(volume.image.shape[0]))
            changed = changed.model_copy(update={"labels": labels.model_copy(update={"slices": slices})})
            fields.append("labels")
        more = [f"data.volumes.{place}.{field}: null" for field in named if getattr(config, field) is not None]
        lines = [self._line(place, changed, field) for field in fields]
        command = _convert(self.folder / config.source, copy, options)
        return command, *dict.fromkeys(lines), *([] if self.data.set is not None else more)

    def _has_slice_files(self, labels: Labels) -> bool:
        paths = [mask.path for mask in labels.masks.values()] if isinstance(labels, MaskLabels) else [labels.path]
        return any(is_slice_files(self.folder / path) for path in paths)

    def _copy(self, config: VolumeConfig, what: str) -> Path:
        return self.place / f"{config.name}-{what}.tif"

    def _of_folder(self, config: VolumeConfig, path: Place, what: str, options: str) -> str:
        return _convert(path, self.place / f"{config.name}-{what}" / f"{path.stem}.tif", options)

    def _named(self, copy: Path) -> dict[str, str | None]:
        """Fields that name a copy, of which nothing needs to be said but its path."""
        path = copy.name if self.place == self.folder else str(copy.absolute())
        return {"path": path, "channel": None, "signed": None}

    def _line(self, place: int, changed: VolumeConfig, field: str) -> str:
        """A changed description; a public set's is written out, since recipes do not name its volumes."""
        if self.data.set is not None:
            volumes = [changed if at == place else one for at, one in enumerate(self.data.volumes)]
            return f"data.volumes: {json.dumps([_plain(one) for one in volumes])}"
        return f"data.volumes.{place}.{field}: {json.dumps(_plain(changed)[field])}"


def _plain(config: VolumeConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude_none=True)


def copied_folder(config: VolumeConfig, what: str) -> str:
    """What to do once single images of a folder, or their labels, have been copied."""
    return (
        f"put what needs no change into {config.name}-{what} as well, and name that folder in the recipe as the "
        f"{what} of '{config.name}'"
    )


def _convert(source: Place, copy: Path, options: str) -> str:
    return f"cristae convert {shlex.quote(str(source))} {shlex.quote(str(copy))} {options}"


def place_of(data: DataConfig, volume: Volume) -> tuple[int, VolumeConfig]:
    """Which entry of `data.volumes` a volume is, or is one of the images of."""
    name = volume.name.split("/")[0]
    return next((place, config) for place, config in enumerate(data.volumes) if config.name == name)
