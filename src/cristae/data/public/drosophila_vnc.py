"""Drosophila ventral nerve cord, stack 1: every voxel labelled, nine grey values."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, Mask, MaskLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet

_VOXEL_SIZE_NM = (50.0, 4.6, 4.6)
_FIVE = {
    "0": "membrane",
    "32": "membrane",
    "64": "membrane",
    "96": "membrane",
    "128": "membrane",
    "159": "glia",
    "191": "mitochondria",
    "223": "synapse",
    "255": "intracellular",
}
_NINE = {
    **_FIVE,
    "0": "membrane 0 deg",
    "32": "membrane 45 deg",
    "64": "membrane 90 deg",
    "96": "membrane 135 deg",
    "128": "membrane junction",
}
_MEMBRANES = ("membrane 0 deg", "membrane 45 deg", "membrane 90 deg", "membrane 135 deg", "membrane junction")


def _describe(classes: Classes, labels: MappedLabels | MaskLabels) -> DataConfig:
    return DataConfig(
        classes=classes,
        volumes=(VolumeConfig(name="stack1", image="raw", labels=labels, voxel_size_nm=_VOXEL_SIZE_NM),),
        train=(Region(volume="stack1", slices="0:11"),),
        validate=(Region(volume="stack1", slices="11:15"),),
    )


def _values(values: dict[str, str], names: tuple[str, ...], borders: tuple[str, ...] = ()) -> DataConfig:
    # Every voxel belongs to a structure: there is no background.
    classes = Classes(names=names, background=False, borders=borders or None)
    return _describe(classes, MappedLabels(path="labels", values=values, match="number"))


def _mask(name: str, path: str) -> DataConfig:
    # Some mask files are 1-bit, others grey with anti-aliased edges: inside from the middle of the range.
    mask = Mask(path=path, inside="128-255", match="name")
    classes = Classes(names=("background", name), borders=("membrane",) if name == "membrane" else ())
    return _describe(classes, MaskLabels(masks={name: mask}))


SET = PublicSet(
    name="drosophila-vnc",
    title="Drosophila ventral nerve cord, 15 sections of 1024 x 1024, all voxels labelled",
    citation='Gerhard, Funke, Martel, Cardona, Fetter, "Segmented anisotropic ssTEM dataset of neural tissue", '
    "figshare (2013)",
    doi="10.6084/m9.figshare.856713",
    licence="CC BY-NC-SA 3.0",
    licence_note="Non-commercial, share alike, with citation.",
    homepage="https://github.com/unidesigner/groundtruth-drosophila-vnc",
    address="https://raw.githubusercontent.com/unidesigner/groundtruth-drosophila-vnc/"
    "4a5f051466d24d8dc1e855ab55658bb1b1dcd6bf/",
    tasks={
        "five-class": _values(_FIVE, ("intracellular", "membrane", "glia", "mitochondria", "synapse"), ("membrane",)),
        "nine-class": _values(_NINE, ("intracellular", *_MEMBRANES, "glia", "mitochondria", "synapse")),
        "membrane": _mask("membrane", "membranes"),
        "mitochondria": _mask("mitochondria", "mitochondria"),
        "synapse": _mask("synapse", "synapses"),
    },
    notes="Sections are 45 to 50 nm thick; 50 is taken, which fits the stated 1 micron of 20 sections. The membrane "
    "masks are wider than the membrane of the labels. Sections 15 to 19 of the source are reserved for a final test.",
)
