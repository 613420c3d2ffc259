"""Networks as a user sees them: list them, measure one, draw it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cristae.errors import StorageError
from cristae.inference.catalogue import ModelDescription, ModelFacts, measure_network, read_catalogue


def list_models() -> tuple[ModelFacts, ...]:
    """Every network with its variants, as published, for one image of the size that it is trained on.

    Example:
        >>> [facts.parameters for facts in list_models() if facts.id == "seget"]
        [4838329]
    """
    return read_catalogue()


def describe_model(
    name: str,
    options: Mapping[str, Any] | None = None,
    *,
    size: Sequence[int] | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
) -> ModelDescription:
    """Measure a network: counts, FLOP, receptive field, layers, stages, skip connections.

    Args:
        name: A network, or one with a variant, such as `seget` or `cdeep3m-3fm`; see `list_models`.
        options: Fields of its config that differ from those of the variant.
        size: Size S of the image, (z, y, x) or (y, x); the one that it is trained on by default.
        in_channels: Channels of the image; the slices that it sees by default.
        out_channels: Logits for each voxel; as published by default.

    Raises:
        NetworkError: No such network or option, or it does not take such an image.

    Example:
        >>> description = describe_model("unet_bn", {"widths": (8, 16)}, size=(64, 64))
        >>> [(stage.channels, stage.size) for stage in description.trace.stages]
        [(8, (64, 64)), (16, (32, 32)), (1, (64, 64))]
    """
    return measure_network(name, options or {}, size=size, in_channels=in_channels, out_channels=out_channels)


def model_options(changes: Sequence[str]) -> dict[str, Any]:
    """The options that changes such as `base=8` or `widths=[8, 16]` make; the value is YAML.

    Raises:
        RecipeError: A change is not `field=value`.
    """
    from cristae.models import NetworkConfig
    from cristae.recipe.document import Document
    from cristae.recipe.overrides import override

    return dict(override(Document({}, {}), changes, NetworkConfig).value)


def draw_model(description: ModelDescription, path: Path) -> Path:
    """Write the diagram of a network as SVG.

    Raises:
        OutputExistsError: There is something at `path` already.
        StorageError: Its name does not end in .svg, its folder is missing, the disk is full or it may not be written.
    """
    from cristae.data.files import require_new, write_text
    from cristae.report.network_diagram import diagram_svg

    if path.suffix.lower() != ".svg":
        raise StorageError(f"{path}: a drawing is written as SVG; choose a name such as {path.stem or 'network'}.svg")
    require_new(path, what="the drawing")
    if not path.parent.is_dir():
        raise StorageError(f"{path}: there is no folder {path.parent}; make it, or choose another place")
    write_text(path, diagram_svg(description.trace, f"{description.facts.id}: {description.facts.summary}"))
    return path
