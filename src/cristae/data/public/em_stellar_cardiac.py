"""EM-stellar's four cardiac test slices: truth and the grey outputs of seven networks, for scores only."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, VolumeConfig
from cristae.data.public.base import PublicSet

_METHODS = ("CDeep3M", "EM-net V1 4x", "EM-net V1 BN", "EM-net V2 2x", "ResNet", "U-net", "VGG")
# Slice 1 has 21 in-between grey values along edges: inside from the middle of the range.
_TRUTH = MappedLabels(path="Groundtruth", match="number", values={"0-127": "background", "128-255": "mitochondria"})

SET = PublicSet(
    name="em-stellar-cardiac",
    title="EM-stellar cardiac test slices: truth and seven networks' outputs, 4 x 512 x 512 (scores only)",
    citation='Khadangi, Boudier, Rajagopal, "EM-stellar: benchmarking deep learning for electron microscopy image '
    'segmentation", bioRxiv 2020.07.15.203836',
    doi="10.1101/2020.07.15.203836",
    licence="MIT",
    licence_note="Copyright (c) 2020 Afshin Khadangi; the licence text travels with the files.",
    homepage="https://github.com/CellSMB/EM-stellar",
    address="https://raw.githubusercontent.com/CellSMB/EM-stellar/fa55c637ab14b7a652ad0d7c2d0f7a42cc894fd9/",
    tasks={
        "scores": DataConfig(
            classes=Classes(names=("background", "mitochondria")),
            volumes=tuple(
                VolumeConfig(name=method.replace(" ", "-"), image=method, kind="images", labels=_TRUTH)
                for method in _METHODS
            ),
        )
    },
    notes="There are no micrographs, so nothing can be trained: the 'image' of each volume is a network's score, read "
    "as value / 255, and its labels are the truth. The voxel size is not stated.",
)
