"""ISBI 2012 challenge: neuronal membranes, with mitochondria and synapses drawn independently."""

from cristae.data.classes import Classes
from cristae.data.description import DataConfig, MappedLabels, Mask, MaskLabels, Region, VolumeConfig
from cristae.data.public.base import PublicSet


def _describe(classes: Classes, labels: MappedLabels | MaskLabels) -> DataConfig:
    return DataConfig(
        classes=classes,
        volumes=(VolumeConfig(name="stack", image="images", labels=labels, voxel_size_nm=(50.0, 4.0, 4.0)),),
        train=(Region(volume="stack", slices="0:15"),),
        validate=(Region(volume="stack", slices="15:20"),),
    )


# The structure is the black part in all three label sources.
_MEMBRANE = _describe(
    Classes(names=("background", "membrane"), borders=("membrane",)),
    MappedLabels(path="labels", values={"0": "membrane", "255": "background"}),
)
_ORGANELLES = _describe(
    Classes(names=("membrane", "mitochondria", "synapses"), exclusive=False, borders=("membrane",)),
    MaskLabels(
        masks={
            "membrane": Mask(path="labels", inside="0"),
            "mitochondria": Mask(path="mitochondria", inside="0", match="number"),
            "synapses": Mask(path="synapses", inside="0", match="number"),
        }
    ),
)

SET = PublicSet(
    name="isbi2012",
    title="ISBI 2012 challenge: membranes of neurons, 20 sections of 512 x 512",
    citation='Arganda-Carreras et al., "Crowdsourcing the creation of image segmentation algorithms for connectomics", '
    "Front. Neuroanat. 9:142 (2015); Cardona et al., PLoS Biol 8(10): e1000502 (2010)",
    doi="10.3389/fnana.2015.00142",
    licence="Cardona et al.'s terms: non-commercial segmentation software",
    licence_note="Free for generating or testing non-commercial image segmentation software, with citation of TrakEM2 "
    "and Cardona et al. 2010; redistribution is neither granted nor forbidden.",
    homepage="https://imagej.net/events/isbi-2012-segmentation-challenge",
    address="https://raw.githubusercontent.com/zhixuhao/unet/b45af4d458437d8281cc218a07fd4380818ece4a/",
    tasks={"membrane": _MEMBRANE, "organelles": _ORGANELLES},
    notes="Adjacent sections differ a lot and are not perfectly registered: 2D or thin-slab networks fit. "
    "Sections 20 to 29 of the source are reserved for a final test.",
)
