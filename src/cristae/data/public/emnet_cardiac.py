"""EM-net's heart muscle: mitochondria packed side by side in 20 unrelated tiles."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet

_MITOCHONDRIA = DataConfig(
    classes=Classes(names=("background", "mitochondria")),
    volumes=(
        VolumeConfig(
            name="tiles",
            image="Training_source",
            kind="images",
            samples={f"?000{section}": f"section {section}" for section in (0, 1, 2, 3, 5)},
            # The numbers of a pair differ by 6 (A0000 belongs to A0006), but both run in the same order.
            labels=MappedLabels(
                path="Training_target", match="order", values={"0": "background", "255": "mitochondria"}
            ),
        ),
    ),
    # A to D are neighbouring tiles of one section, the number is the section: split by it.
    train=(Region(volume="tiles", images=("?0000", "?0001", "?0002", "?0003")),),
    validate=(Region(volume="tiles", images=("?0005",)),),
)

SET = PublicSet(
    name="emnet-cardiac",
    title="EM-net heart muscle: mitochondria in 20 tiles of 512 x 512",
    citation='Khadangi, Boudier, Rajagopal, "EM-net: Deep learning for electron microscopy image segmentation", '
    "bioRxiv 2020.02.03.933127",
    doi="10.1101/2020.02.03.933127",
    licence="MIT",
    licence_note="Copyright (c) 2020 Afshin Khadangi; redistribution with the notice.",
    homepage="https://github.com/CellSMB/EM-net",
    address="https://raw.githubusercontent.com/CellSMB/EM-net/1ce0a1c19f60d56ebdfa36d547ca0921314efad8/",
    tasks={"mitochondria": _MITOCHONDRIA},
    notes="The voxel size is not stated. Sections are far apart, so this is 2D data. "
    "The source's unlabelled test tiles (number 0004) are reserved for a final test.",
)
