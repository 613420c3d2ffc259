"""A synthetic tomogram as a set: five structures of T cells, each alone against background as SegET trains them."""

from cristae.data.public.base import PublicSet
from cristae.data.public.crops import Crops
from cristae.data.synthetic import TOMOGRAM_CLASSES, TomogramConfig

# Each crop is of cells of its own, and shows all five structures.
_CROPS = Crops(
    TomogramConfig(shape=(1200, 1200, 1600), seed=3),
    {
        "train": ((488, 464, 792), (32, 512, 512)),
        "validate": ((1064, 88, 152), (16, 384, 384)),
        "test": ((912, 192, 944), (16, 384, 384)),
    },
)

SET = PublicSet(
    name="synthetic-tomogram",
    title="Synthetic electron tomogram of T cells, computed on this machine: 32 slices of 512 x 512, and two smaller",
    citation="Cristae; structures and shares follow Zhang et al., arXiv 1811.11729 (2018)",
    doi="",
    licence="none needed",
    licence_note="Nothing is downloaded: the voxels follow from a rule and belong to whoever computes them.",
    homepage="https://arxiv.org/abs/1811.11729",
    address="",
    tasks={
        "structures": _CROPS.all_classes(),
        **{name: _CROPS.one_class(name) for name in TOMOGRAM_CLASSES.foreground},
    },
    notes="Tilts from -60 to 60 degrees, so structures are smeared along z; noise stronger than the signal. For trying "
    "things: a score says that training works, not how good a network is on micrographs.",
    compute=_CROPS.compute,
)
