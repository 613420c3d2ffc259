"""Sets that are computed: three crops of one synthetic tissue, far apart, to train, validate and test on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from cristae.data.box import Box, Triple
from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, Labels, MappedLabels, Region, VolumeConfig
from cristae.data.image import Image
from cristae.data.synthetic import TissueConfig, synthetic_volume

Part = Literal["train", "validate", "test"]


@dataclass(frozen=True)
class Crops:
    """Where in a tissue the crops lie."""

    tissue: TissueConfig
    places: Mapping[Part, tuple[Triple, Triple]]
    """First voxel (z, y, x) and shape of each."""

    def compute(self, path: str) -> Image:
        """The image or the labels of a crop, by the name of its file: `train.tif`, `train-labels.tif`."""
        name, _, labels = path.removesuffix(".tif").partition("-")
        volume = synthetic_volume(self.tissue)
        start, shape = next(place for part, place in self.places.items() if part == name)
        box = Box.of_shape(shape).shift(start)
        return (volume.labels[0] if labels else volume.image).crop(box)

    def all_classes(self) -> DataConfig:
        """Every structure a class."""
        return self._describe(self.tissue.classes, None)

    def one_class(self, name: str) -> DataConfig:
        """One structure, all else background."""
        classes = self.tissue.classes
        values = {str(classes.id_of(other)): "background" for other in classes.names}
        alone = Classes(names=("background", name), colors={name: classes.colors[name]})
        return self._describe(alone, values | {str(classes.id_of(name)): name})

    def _describe(self, classes: Classes, values: dict[str, str] | None) -> DataConfig:
        def labels(part: Part) -> Labels:
            path = f"{part}-labels.tif"
            return IdLabels(path=path) if values is None else MappedLabels(path=path, values=values)

        return DataConfig(
            classes=classes,
            volumes=tuple(
                VolumeConfig(
                    name=part, image=f"{part}.tif", labels=labels(part), voxel_size_nm=self.tissue.voxel_size_nm
                )
                for part in self.places
            ),
            train=(Region(volume="train"),),
            validate=(Region(volume="validate"),),
            test=(Region(volume="test"),),
        )
