"""CDeep3M's sample: mitochondria in serial block-face SEM of brain."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, IdLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet

_MITOCHONDRIA = DataConfig(
    classes=Classes(names=("background", "mitochondria")),
    volumes=(
        VolumeConfig(
            name="sbem",
            image="images",
            labels=IdLabels(path="labels", match="number"),
            voxel_size_nm=(40.0, 5.9, 5.9),
        ),
    ),
    # Slice 0 is image 010. Neighbouring slices are alike, so two are left out between the parts.
    train=(Region(volume="sbem", slices="0:13"),),
    validate=(Region(volume="sbem", slices="15:20"),),
)

SET = PublicSet(
    name="cdeep3m-mito",
    title="CDeep3M mitochondria: 20 slices of serial block-face SEM, 1024 x 1024",
    citation='Haberl et al., "CDeep3M - Plug-and-Play cloud-based deep learning for image segmentation", '
    "Nature Methods 15, 677-680 (2018)",
    doi="10.1038/s41592-018-0106-z",
    licence="Regents of the University of California, non-commercial",
    licence_note="Copying and modification for educational, research and non-profit purposes, with the notice; "
    "commercial use needs a separate licence.",
    homepage="https://github.com/CRBS/cdeep3m",
    address="https://raw.githubusercontent.com/CRBS/cdeep3m/abf995802608073532f324ce57425fa1b7cf9d19/",
    tasks={"mitochondria": _MITOCHONDRIA},
    notes="The voxel size is likely, not stated: the authors apply a network called 'xy5.9nm40nmz' to this sample. "
    "Images 023 and 024 (slices 13 and 14) are a gap; images 050 to 059 of the source are reserved for a final test.",
)
