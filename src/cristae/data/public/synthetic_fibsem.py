"""A synthetic FIB-SEM volume as a set: mitochondria, cell membrane and endoplasmic reticulum of HeLa cells."""

from cristae.data.public.base import PublicSet
from cristae.data.public.crops import Crops
from cristae.data.synthetic import FIBSEM_CLASSES, FibSemConfig

_CROPS = Crops(
    FibSemConfig(shape=(400, 1000, 1000), seed=1),
    {
        "train": ((192, 352, 376), (64, 384, 384)),
        "validate": ((16, 64, 296), (24, 320, 320)),
        "test": ((344, 360, 40), (24, 320, 320)),
    },
)

SET = PublicSet(
    name="synthetic-fibsem",
    title="Synthetic FIB-SEM of HeLa cells, computed on this machine: 64 slices of 384 x 384, and two smaller",
    citation="Cristae; classes and shares follow Meyer et al. (2021)",
    doi="",
    licence="none needed",
    licence_note="Nothing is downloaded: the voxels follow from a rule and belong to whoever computes them.",
    homepage="https://github.com/Cyril-Meyer/NeNISt",
    address="",
    tasks={
        "organelles": _CROPS.all_classes(),
        **{name.replace(" ", "-"): _CROPS.one_class(name) for name in FIBSEM_CLASSES.foreground},
    },
    notes="Voxels are cubes of 8 nm. For trying things: a score says that training works, not how good a network is on "
    "micrographs.",
    compute=_CROPS.compute,
)
