"""Data sets of the papers that cannot be downloaded: where they come from, and where a recipe looks for their files."""

from __future__ import annotations

from dataclasses import dataclass

from cristae.data.public.base import KnownSet


@dataclass(frozen=True)
class BroughtSet(KnownSet):
    """A data set that people bring themselves."""

    available_from: str
    """Who or what page has it, as messages say it."""
    files: tuple[str, ...]
    """Where its files belong, relative to the folder of the recipe."""
    layout: str
    """What is in them: shapes, labels, voxel size."""
    recipes: tuple[str, ...]
    """Recipes that read it; none where there is none."""
    stand_in: str
    """What `data` of a recipe can be until then: a synthetic set."""

    @property
    def directions(self) -> str:
        """How to get it, where to put it, and what to do until then."""
        read_by = f", which {', '.join(self.recipes)} of the recipes read" if self.recipes else ""
        return (
            f"It comes from {self.available_from}.\n  Put {', '.join(self.files)} beside your recipe{read_by}: "
            f"{self.layout}.\n  Until then, --set 'data={self.stand_in}' trains on a synthetic set."
        )


BROUGHT_SETS: tuple[BroughtSet, ...] = (
    BroughtSet(
        name="fib-sem-fs1",
        title="HeLa cells in FIB-SEM, stack FS-1: 79 annotated slices, three classes",
        citation="Meyer et al., ISBI 2021",
        doi="",
        homepage="https://github.com/Cyril-Meyer/NeNISt",
        available_from="the authors of Meyer et al. 2021 (FS-1 is not public)",
        files=("fs1/images.tif", "fs1/labels.tif"),
        layout="the annotated slices, 172-250 of the stack, and ids 0 background, 1 mitochondrion, 2 cell membrane, "
        "3 endoplasmic reticulum; voxels of 20 x 5 x 5 nm (z, y, x)",
        recipes=("fib-sem-unet", "fib-sem-unet-grain", "fib-sem-efficientunet", "fib-sem-efficientunet-grain"),
        stand_in="{set: synthetic-fibsem}",
    ),
    BroughtSet(
        name="fib-sem-fs2",
        title="HeLa cells in FIB-SEM, stack FS-2: 80 annotated slices, three classes",
        citation="Meyer et al., ISBI 2021",
        doi="",
        homepage="https://github.com/Cyril-Meyer/NeNISt",
        available_from="the authors of Meyer et al. 2021 (FS-2 is not public)",
        files=("fs2/images.tif", "fs2/labels.tif"),
        layout="the annotated slices, 1-40 and 81-120 of the stack, and ids as in FS-1; voxels of 15 x 7.5 x 7.5 nm "
        "(z, y, x)",
        recipes=(),
        stand_in="{set: synthetic-fibsem}",
    ),
    BroughtSet(
        name="p1694",
        title="Electron tomogram of a cytotoxic T cell at its synapse: 76 slices of 2048 x 2048, five structures",
        citation="Zhang et al., arXiv 1811.11729 (2018); Cell Image Library, project P1694",
        doi="",
        homepage="http://www.cellimagelibrary.org",
        available_from="Cell Image Library, project P1694, http://www.cellimagelibrary.org",
        files=tuple(
            f"p1694/{name}.mrc" for name in ("image", "synapse", "microtubules", "centriole", "granules", "golgi")
        ),
        layout="8-bit MRC files, an image and a mask for each structure where anything but 0 is inside; pixels of "
        "2.255 nm, section thickness quoted as 150 nm",
        recipes=("seget-synapse", "seget-microtubules", "seget-centriole", "seget-granules", "seget-golgi"),
        stand_in="{set: synthetic-tomogram, task: golgi}",
    ),
    BroughtSet(
        name="platelet-volumes",
        title="Human platelets in serial block-face SEM: volumes of 50 and 24 slices of 800 x 800, seven classes",
        citation="Guay et al., Scientific Reports 11:2561 (2021)",
        doi="10.1038/s41598-021-81590-0",
        homepage="https://bio3d-vision.github.io/platelet-description",
        available_from="the platelet-em page of NIBIB, https://bio3d-vision.github.io/platelet-description",
        files=tuple(f"platelet-em/{number}-{name}.tif" for number in (50, 24) for name in ("images", "semantic")),
        layout="images and labels in colours; voxels of 50 x 10 x 10 nm (z, y, x) by the paper, about 40 in z by the "
        "page",
        recipes=("dense-cell-2d3d",),
        stand_in="{set: synthetic, task: platelet}",
    ),
)
"""By name."""


def find_brought(name: str | None) -> BroughtSet | None:
    """A set that people bring, by name."""
    return next((known for known in BROUGHT_SETS if known.name == name), None)


def origin_of(available_from: str) -> str:
    """Where files come from, in words: `available_from` of a recipe names a known set, or says it itself."""
    known = find_brought(available_from)
    return available_from if known is None else f"{known.available_from} (see `cristae data fetch {known.name}`)"
