"""A recipe checked and its data opened: what comes before anything is made of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cristae.classical.config import RandomForestConfig
from cristae.data.fingerprint import Fingerprints
from cristae.data.open import Dataset, open_data, resolve_data
from cristae.data.public.brought import origin_of
from cristae.data.splits import Part, labelled_boxes
from cristae.errors import CristaeError, MissingFileError
from cristae.preprocess.normalize import Normalizer
from cristae.progress import Progress
from cristae.recipe.complete import completed
from cristae.recipe.consistency import check_consistency, require_regions
from cristae.recipe.questions import warn_open_questions
from cristae.recipe.recipe import Recipe
from cristae.sampling import RejectionPatches, as_triple
from cristae.training.cache import cache_parts, warn_about_room
from cristae.training.cache_folder import Cache
from cristae.training.cached_part import CachedPart
from cristae.training.filtered_channels import require_finite_slices, with_filtered_channels
from cristae.training.framing import Framing
from cristae.training.regions import Regions, prepare_regions, require_partners, require_validation


@dataclass(frozen=True, eq=False)
class TrainingData:
    """The opened data of a recipe."""

    dataset: Dataset
    regions: Regions
    fingerprints: Fingerprints
    whole: bool = True
    """Whether `regions` are all that the recipe names, or a part of it that is read quickly."""
    grey_vox: int | None = None
    """Grey values that are looked at of each volume, or of all regions; None looks at all that matter."""
    validated_share: float = 1.0
    """Part of the labelled voxels of the validation regions that is read."""

    @property
    def leak_facts(self) -> Mapping[str, Any]:
        """What the summary keeps of the split: nothing, or under 'leaky_split' why its scores flatter."""
        return {"leaky_split": list(self.dataset.leaks)} if self.dataset.leaks else {}

    def limited(self, read_vox: int, *, flat: bool) -> TrainingData:
        """The same, cut to slices that hold about `read_vox` voxels where there are more.

        Args:
            read_vox: Of labels and of grey values.
            flat: Whether only labelled slices are read, as for 2D models.
        """
        regions, whole = self.regions.limited(read_vox, flat=flat)
        read, there = (
            sum(box.size for part in one.validate for box in labelled_boxes(part)) for one in (regions, self.regions)
        )
        share = read / there if there else 1.0
        return replace(self, regions=regions, whole=whole, grey_vox=read_vox, validated_share=share)

    @contextmanager
    def judging(self, progress: Progress, *, whole: bool | None = None) -> Iterator[None]:
        """For what only all of the data can prove, such as that a class is missing: of a part it is a warning."""
        try:
            yield
        except CristaeError as error:
            if self.whole if whole is None else whole:
                raise
            progress.warn(f"in the part of the data that was read: {error}")

    def fit_normalizers(self, recipe: Recipe, progress: Progress) -> tuple[dict[str, Normalizer], Normalizer] | None:
        """As `Regions.fit_normalizers`; None where a part of the data does not suffice to find them.

        Raises:
            VolumeError: The grey values are constant, of several types, or not finite.
        """
        regions, config = self.regions, recipe.normalize
        counted = regions.count_greys(config, self.grey_vox)
        with self.judging(progress, whole=self.whole and regions.counts_all(config, self.grey_vox)):
            return regions.fit_normalizers(config, counted)
        return None

    def cached(
        self,
        parts: Sequence[Part],
        framing: Framing,
        cache: Cache,
        recipe: Recipe,
        progress: Progress,
        *,
        partners: bool = False,
        filtering: bool = True,
    ) -> tuple[CachedPart, ...]:
        """Parts of the regions as training reads them.

        Args:
            parts: Which.
            framing: How much image is seen around an output patch.
            cache: Keeps them.
            recipe: Complete: where patches lie, which may reach outside parts, and what is filtered of slices.
            progress: Where to report.
            partners: See `cache_parts`.
            filtering: Filter slices where the recipe wants it, or only make sure that they can be.

        Raises:
            CristaeError: The data cannot be read, or the cache cannot be written.
        """
        sampling, areas = recipe.sampling, recipe.network_input.areas_px
        assert sampling.size
        fingerprints = self.fingerprints if self.whole else None
        found = cache_parts(
            parts,
            self.regions.classes,
            cache,
            framing,
            size=as_triple(sampling.size),
            overhang=sampling.overhang if isinstance(sampling, RejectionPatches) else (0, 0, 0),
            partners=partners,
            fingerprints=fingerprints,
            progress=progress,
        )
        if not areas:
            return found
        images = self.regions.working_images()
        if not filtering:
            require_finite_slices(found, images)
            return found
        return with_filtered_channels(found, images, areas, cache, progress, fingerprints=fingerprints)


def _labelled_vox(parts: Sequence[Part]) -> int:
    return sum(box.size for part in parts for box in labelled_boxes(part))


def begin_training(recipe: Recipe, progress: Progress, *, read_vox: int | None = None) -> tuple[Recipe, TrainingData]:
    """Check a recipe by itself, then with its opened data.

    Args:
        recipe: As `load_recipe` gives it.
        progress: Where warnings go.
        read_vox: Read about this many voxels at most; None reads all that training needs.

    Returns:
        The recipe with what it leaves to others, and its data.

    Raises:
        CristaeError: The recipe is not consistent, or its data cannot be used.
    """
    recipe = check_form(recipe, progress)
    data = open_training_data(recipe)
    if not isinstance(recipe.model, RandomForestConfig):
        weighed = recipe.targets.field(data.regions.classes) is not None
        filtered = len(recipe.network_input.areas_px)
        parts = (*data.regions.train, *data.regions.validate)
        warn_about_room(parts, progress, flat=recipe.model.ndim == 2, weighed=weighed, filtered=filtered)
    if read_vox is not None:
        data = data.limited(read_vox, flat=recipe.model.ndim == 2)
    with data.judging(progress):
        require_validation(data.regions, progress, what=f"the validation regions{'' if data.whole else ', as read,'}")
    for warning in data.dataset.warnings:
        progress.warn(warning)
    return recipe, data


def check_form(recipe: Recipe, progress: Progress) -> Recipe:
    """Check what follows from a recipe alone.

    Returns:
        The recipe with what it leaves to others.

    Raises:
        CristaeError: It is not consistent, or names no volumes, classes or regions.
    """
    with recipe.telling_where():
        recipe = completed(recipe)
    check_consistency(recipe)
    require_regions(recipe)
    warn_open_questions(recipe, progress)
    return recipe


def default_place(recipe: Recipe) -> Path:
    """The run folder where none is named."""
    return Path("runs") / recipe.name


def open_training_data(recipe: Recipe) -> TrainingData:
    """Open the data of a recipe and bring its regions to the working grid.

    Raises:
        CristaeError: The data cannot be opened, or do not fit together.
    """
    fingerprints = Fingerprints.take(*resolve_data(recipe.data, recipe.folder))
    try:
        with recipe.telling_where():
            dataset = open_data(recipe.data, recipe.folder)
    except MissingFileError as error:
        if recipe.data.available_from is None:
            raise
        raise MissingFileError(f"{error}\n  The data come from {origin_of(recipe.data.available_from)}") from error
    with recipe.telling_where():
        regions = prepare_regions(dataset, recipe.data.voxel_size_nm, flat=recipe.model.ndim == 2)
        require_partners(regions)
    return TrainingData(dataset, regions, fingerprints)
