"""What follows from a recipe alone, before anything is read or written: whether its parts fit together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from cristae.augment import SectionAugmentation
from cristae.classical.config import RandomForestConfig
from cristae.data.description import DataConfig, InstanceLabels
from cristae.errors import NetworkError, RecipeError
from cristae.inference.config import PredictConfig
from cristae.losses import JaccardDistance, LossTerm, Term, require_auxiliary_weights
from cristae.models.form import NetworkConfig
from cristae.postprocessing import SplitByAffinities, step_problems
from cristae.recipe.recipe import Recipe
from cristae.sampling import RandomPatches, RejectionPatches, Sampling, counted_names
from cristae.targets import NoWeighting
from cristae.training.config import TrainingConfig


def check_consistency(recipe: Recipe) -> None:
    """Make sure that network, patches, augmentation and devices fit together.

    Raises:
        RecipeError: They do not; one line per problem.
    """
    problems = [recipe.problem(problem) for problem in _problems(recipe)]
    if problems:
        raise RecipeError("\n".join(problems))


def require_regions(recipe: Recipe) -> None:
    """Make sure that there is something to train on and something to validate on, which folds take from `train`; sets
    must be filled in before.

    Raises:
        RecipeError: `train` or `validate` is empty.
    """
    regions = {"train": recipe.data.train, "validate": recipe.data.validate_}
    for name, found in regions.items():
        if not found and not (name == "validate" and (recipe.data.split or recipe.folds)):
            raise RecipeError(
                recipe.problem(
                    f"data.{name}: is empty; name the regions, for instance\n"
                    f"  {name}:\n    - {{volume: NAME, slices: 0:10}}"
                )
            )


def _problems(recipe: Recipe) -> list[str]:
    if not isinstance(recipe.model, NetworkConfig):
        return [
            *_about_postprocess(recipe),
            *_about_regions(recipe.data),
            *_about_folds(recipe),
            *_about_affinities(recipe.data, None),
            *_about_forest(recipe.predict),
            *_about_forest_input(recipe),
            *_about_forest_objects(recipe.model, recipe.data),
            *_about_forest_weights(recipe.data),
        ]
    network, size = recipe.model, recipe.sampling.size or recipe.model.window
    return [
        *_about_regions(recipe.data),
        *_about_folds(recipe),
        *_about_patches(recipe.sampling, size, network),
        *_about_sampled_classes(recipe.sampling, recipe.data),
        *_about_augmentations(recipe, size, network),
        *_about_input_channels(recipe, size, network),
        *_about_batches(recipe.training, network),
        *_about_weight_decay(recipe.training),
        *_about_slices(recipe.data, network),
        *_about_affinities(recipe.data, network),
        *_about_classes(recipe.data, network),
        *_about_targets(recipe),
        *_about_loss(recipe, network),
        *_about_postprocess(recipe),
    ]


def _about_postprocess(recipe: Recipe) -> list[str]:
    """Whether the steps fit the classes; those of a set are known once it is filled in."""
    classes = recipe.data.classes
    found = [] if classes is None else step_problems(recipe.predict.postprocess, classes)
    return [f"predict.postprocess.{problem}" for problem in found] + _about_offsets(recipe)


def _about_offsets(recipe: Recipe) -> list[str]:
    """Whether affinities are read with the offsets that they are learnt with."""
    learnt = {
        name: (volume.name, offset)
        for volume in recipe.data.volumes
        for name, offset in (getattr(volume.labels, "offsets", None) or {}).items()
    }
    return [
        f"predict.postprocess.{place}.affinities: '{name}' is {[*offset]} here, but {[*learnt[name][1]]} in the labels "
        f"of '{learnt[name][0]}'; give that offset"
        for place, step in enumerate(recipe.predict.postprocess)
        if isinstance(step, SplitByAffinities)
        for name, offset in step.affinities.items()
        if name in learnt and learnt[name][1] != offset
    ]


def _about_regions(data: DataConfig) -> list[str]:
    """Whether the volumes of the regions are listed; those of a set are known once it is filled in."""
    known = {volume.name for volume in data.volumes}
    names = ", ".join(f"'{name}'" for name in sorted(known))
    regions = {"train": data.train, "validate": data.validate_, "test": data.test}
    return [
        f"data.{split}.{place}: there is no volume '{region.volume}'; data.volumes has {names}"
        for split, chosen in regions.items()
        for place, region in enumerate(chosen)
        if known and region.volume not in known
    ]


def _about_folds(recipe: Recipe) -> list[str]:
    """Whether held-out tiles are asked for beside folds."""
    if recipe.folds is None or recipe.data.split is None:
        return []
    return ["folds: take the place of data.split, which holds tiles out already; leave one of both out"]


def _about_forest(settings: PredictConfig) -> list[str]:
    if settings.windows in ("auto", "exact"):
        return []
    return [f"predict.windows: {settings.windows} is for networks; the random forest is always exact, set auto"]


def _about_forest_input(recipe: Recipe) -> list[str]:
    """A forest sees no patches that could be normalised or filtered by themselves."""
    problems = []
    if recipe.normalize.statistics == "patch":
        problems.append("normalize.scope: patch is for networks, which see patches; choose training, volume or slice")
    if recipe.input_channels:
        problems.append("input_channels: are for networks, which see patches; leave them out")
    return problems


def _about_forest_objects(forest: RandomForestConfig, data: DataConfig) -> list[str]:
    """Voxels outside all objects of the second stage become background, which has to be there."""
    if forest.objects is None or data.classes is None or data.classes.background:
        return []
    return [
        "model.objects: voxels outside all objects become background, but data.classes has `background: false`; set "
        "objects: null"
    ]


def _about_forest_weights(data: DataConfig) -> list[str]:
    return [
        f"data.volumes.{volume.name}.weight: the random forest weighs classes, not voxels; leave `weight` out"
        for volume in data.volumes
        if volume.weight is not None
    ]


def _about_patches(sampling: Sampling, size: Sequence[int], network: NetworkConfig) -> list[str]:
    steps = {name: getattr(sampling, name, None) or size for name in ("stride", "spacing")}
    for field, sides in {"size": size, **steps}.items():
        if len(sides) != network.ndim:
            return [
                f"sampling.{field}: {list(sides)} has {len(sides)} axes, but {_name(network)} takes {network.ndim}; "
                "null takes what suits the network"
            ]
    good = network.smallest_output if network.fixed_output else network.good_output(size)
    if not any(network.margin) or tuple(size) == tuple(good):
        return []
    return [
        f"sampling.size: {_name(network)} has no output patch of {list(size)}, because its convolutions are "
        f"not padded; {'the only' if network.fixed_output else 'the next'} good size is {list(good)}"
    ]


def _about_sampled_classes(sampling: Sampling, data: DataConfig) -> list[str]:
    """Whether the classes that patches are placed by exist, where these are known already."""
    if data.classes is None or not isinstance(sampling, RandomPatches | RejectionPatches):
        return []
    try:
        sampling.check_classes(counted_names(data.classes))
    except RecipeError as error:
        return [f"sampling.{error}"]
    return []


def _about_augmentations(recipe: Recipe, size: Sequence[int], network: NetworkConfig) -> list[str]:
    found: dict[str, list[str]] = {}  # names that share a problem; numbers are left out, as those of presets have none
    for augmentation in recipe.augment:
        try:
            augmentation.check(size)
            if network.ndim == 2 and isinstance(augmentation, SectionAugmentation):
                augmentation.check_slices(network.in_slices, flat=True)
            if len(size) == network.ndim:
                augmentation.check(network.input_size(size))
        except RecipeError as error:
            name = f"'{augmentation.name}'"
            names = found.setdefault(str(error).replace(name, "{}", 1), [])
            names += [name] if name not in names else []
    return [f"augment: {_of_all(problem, names)}" for problem, names in found.items()]


def _of_all(problem: str, names: Sequence[str]) -> str:
    """A problem in which `{}` stands for the name of one augmentation, of all that have it."""
    *first, last = names
    if not first:
        return problem.format(last)
    together = problem.replace("augmentation {}", "augmentations {}").replace("{} needs", "{} need")
    return together.format(f"{', '.join(first)} and {last}")


def _about_input_channels(recipe: Recipe, size: Sequence[int], network: NetworkConfig) -> list[str]:
    """Whether filters leave something of a patch, and each something else; of slices it is known with the data."""
    problems, areas = [], [channel.area_px for channel in recipe.input_channels]
    kinds = {channel.per for channel in recipe.input_channels}
    if len(kinds) > 1:
        return ["input_channels: some have `per: patch`, others `per: slice`; give all the same"]
    if kinds == {"slice"} and recipe.normalize.statistics == "patch":
        problems.append(
            "input_channels: `per: slice` filters slices before patches are cut out of them, but normalize.scope: "
            "patch scales each patch by itself; set `per: patch`, or another scope"
        )
    if len(set(areas)) < len(areas):
        problems.append(f"input_channels: the areas {areas} must differ, or channels are the same; leave one out")
    if kinds == {"patch"} and len(size) == network.ndim:
        y, x = network.input_size(size)[-2:]
        problems += [
            f"input_channels.{place}.area_px: nothing would be left of a patch of {y} x {x} pixels without shapes of "
            f"fewer than {area}; choose a smaller area, or larger patches"
            for place, area in enumerate(areas)
            if area >= y * x
        ]
    return problems


def _about_batches(training: TrainingConfig, network: NetworkConfig) -> list[str]:
    per_device, rest = divmod(training.batch_size, training.devices)
    if rest:
        return [
            f"training.batch_size: {training.batch_size} is not a multiple of the {training.devices} devices that "
            "share it"
        ]
    if per_device < network.smallest_batch:
        return [
            f"training.batch_size: {training.batch_size} gives each of {training.devices} devices {per_device}, but "
            f"{_name(network)} needs at least {network.smallest_batch} patches in a batch; set it to "
            f"{network.smallest_batch * training.devices} or more"
        ]
    return []


def _about_weight_decay(training: TrainingConfig) -> list[str]:
    if not training.weight_decay or training.optimizer.decays:
        return []
    return [
        f"training.weight_decay: {training.weight_decay:g} has no effect with {training.optimizer.name}; set "
        "training.optimizer: adamw, or weight_decay: 0"
    ]


def _about_slices(data: DataConfig, network: NetworkConfig) -> list[str]:
    """Whether neighbouring slices are asked for where there are none."""
    used = {region.volume for region in (*data.train, *data.validate_)}
    unrelated = [volume.name for volume in data.volumes if volume.kind == "images" and volume.name in used]
    if not unrelated or (network.ndim == 2 and network.in_slices == 1):
        return []
    what, cure = f"{network.in_slices} neighbouring slices", "set model.slices: 1"
    if network.ndim == 3:
        what, cure = "slices", "choose a 2D network, or set `kind: volume` where the images follow each other"
    return [
        f"model: {_name(network)} sees {what} together, but '{unrelated[0]}' is `kind: images`, whose images have no "
        f"neighbours; {cure}"
    ]


def _about_affinities(data: DataConfig, network: NetworkConfig | None) -> list[str]:
    """Whether all volumes have the same, and a network learns labels of the slices that they compare."""
    labels = {volume.name: volume.labels for volume in data.volumes if volume.labels is not None}
    offsets = {name: one.offsets if isinstance(one, InstanceLabels) else None for name, one in labels.items()}
    if not any(offsets.values()):
        return []
    (first, own), *others = offsets.items()
    if strays := [name for name, theirs in others if theirs != own]:
        return [
            f"data.volumes: '{first}' and '{strays[0]}' differ in the `offsets` of their labels, but a class is the "
            "same affinity in all volumes; give both object ids with the same `to: affinities` and `offsets`"
        ]
    across = [name for name, offset in (own or {}).items() if offset[0]]
    if network is None or network.ndim == 3 or not across:
        return []
    return [
        f"data.volumes.{first}.labels.offsets: '{across[0]}' compares voxels of different slices, but {_name(network)} "
        "learns the labels of one; leave it out, or choose a 3D network"
    ]


def _about_classes(data: DataConfig, network: NetworkConfig) -> list[str]:
    """Whether the network's logits can stand for the classes, where these are known already."""
    try:
        if data.classes is not None:
            network.check_classes(data.classes)
    except NetworkError as error:
        return [f"model: {error}"]
    return []


def _about_targets(recipe: Recipe) -> list[str]:
    """Whether they are defined for the classes, where these are known already."""
    try:
        if recipe.data.classes is not None:
            recipe.targets.check(recipe.data.classes)
    except RecipeError as error:
        return [f"targets: {error}"]
    return []


def _about_loss(recipe: Recipe, network: NetworkConfig) -> list[str]:
    """Whether it has a weight for each output, and suits the classes where these are known already."""
    try:
        require_auxiliary_weights(network.auxiliary_weights, recipe.loss.auxiliary_weights)
    except RecipeError as error:
        return [str(error)]
    try:
        if recipe.data.classes is not None:
            recipe.loss.build(recipe.data.classes)
            terms = recipe.loss.as_terms(recipe.data.classes)
            return [*_about_channels(recipe, terms), *_unread_channels(recipe, terms), *_about_weights(recipe, terms)]
    except RecipeError as error:
        return [f"loss.{error}" if str(error).startswith("terms.") else f"loss: {error}"]
    return []


def _about_weights(recipe: Recipe, terms: Sequence[LossTerm]) -> list[str]:
    """Whether there is a term in which the weights of the targets, and those of volumes, count."""
    if any(_counts_weights(term) for term in terms):
        return []
    why = f"no effect, because they count in no term of the loss ({_names(terms)}); add one for each voxel, such as"
    computed, own = recipe.targets, [volume.name for volume in recipe.data.volumes if volume.weight is not None]
    return [
        *(
            [f"targets: the weights of {computed.name} have {why} cross_entropy, or set `targets: {{name: none}}`"]
            if not isinstance(computed, NoWeighting)
            else []
        ),
        *(f"data.volumes.{name}.weight: the weights have {why} cross_entropy, or leave `weight` out" for name in own),
    ]


def _counts_weights(term: LossTerm) -> bool:
    return term.voxel_weights if isinstance(term, JaccardDistance) else term.counts_weights


def _about_channels(recipe: Recipe, terms: Sequence[LossTerm]) -> list[str]:
    """Whether the targets compute all that terms of the loss read."""
    given = {one.name for one in recipe.targets.further}
    return [
        f"loss: term '{getattr(term, 'name', type(term).__name__)}' reads the target '{term.reads}', which targets do "
        f"not compute; add it: `targets: {{name: {recipe.targets.name}, further: [{{name: {term.reads}}}]}}`"
        for term in terms
        if term.reads is not None and term.reads not in given
    ]


def _unread_channels(recipe: Recipe, terms: Sequence[LossTerm]) -> list[str]:
    """Whether a term of the loss reads each further channel that the targets compute."""
    read, names = {term.reads for term in terms}, _names(terms)
    return [
        f"targets.further.{number}: '{one.name}' has no effect, because no term of the loss ({names}) reads it; add "
        f"{' or '.join(_readers(one.name))}, or leave it out"
        for number, one in enumerate(recipe.targets.further)
        if one.name not in read
    ]


def _readers(channel: str) -> list[str]:
    """The terms that read a further channel."""
    terms = get_args(get_args(Term)[0])
    return [str(term.model_fields["name"].default) for term in terms if term.reads == channel] or ["one that does"]


def _names(terms: Sequence[LossTerm]) -> str:
    return ", ".join(str(getattr(term, "name", type(term).__name__)) for term in terms)


def _name(network: NetworkConfig) -> str:
    """What a recipe calls a network."""
    return str(getattr(network, "name", "the network"))
