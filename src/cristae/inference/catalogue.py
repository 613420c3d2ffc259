"""The catalogue of networks: what each one is, and what it costs.

The list is read from a file, because measuring every network takes most of a minute; a test measures them again. A
single network is always measured. torch is imported only to measure, so the list is quick.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from cristae.errors import CristaeError, NetworkError

if TYPE_CHECKING:
    from cristae.models import NetworkConfig
    from cristae.models.options import ModelOption
    from cristae.models.stages import Trace

CATALOGUE = Path(__file__).with_name("models.json")
"""The measured facts; `docs/make_models.py` writes them."""


@dataclass(frozen=True)
class ModelFacts:
    """One network of the catalogue. Sizes are (z, y, x), or (y, x) for 2D networks."""

    name: str
    variant: str
    """Which row of the network's: empty for its defaults."""
    options: Mapping[str, Any]
    """The fields of its config that are not at their defaults."""
    summary: str
    authors: str
    year: int
    url: str
    extra: str | None
    """The optional dependency that it needs."""
    ndim: int
    in_channels: int
    out_channels: int
    parameters: int
    """Trainable ones."""
    buffers: int
    """Running means and variances, which are saved and not trained."""
    image_size: tuple[int, ...]
    """Size S of the image that sizes and FLOP are stated for."""
    logits_size: tuple[int, ...]
    conv_gflop: float
    """2 x multiply-accumulates of all convolutions for one such image, in 10^9."""
    gflop: float
    """The same with matrix products."""
    local: bool
    """Whether blocks with a halo give what one pass over the whole volume gives; otherwise it is used in windows."""
    reason: str
    receptive_field: tuple[int, ...] | None
    """Sides of the box around a voxel that holds everything its logits depend on; None: the whole window."""
    total_stride: tuple[int, ...]
    margin: tuple[int, ...]
    image_sizes: str
    """The sizes that it takes, in words, such as 'z: any; y, x: 12 + 8n' for 12, 20, 28, ..."""
    blend: str
    """How windows are joined where it is not local."""
    auxiliary_outputs: int
    """Outputs that it has in training besides the main one (deep supervision)."""
    smallest_batch: int

    @property
    def id(self) -> str:
        """The name with the variant."""
        return f"{self.name}-{self.variant}" if self.variant else self.name

    @property
    def installed(self) -> bool:
        """Whether the optional dependency that it needs is there."""
        return self.extra is None or find_spec(self.extra) is not None

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"id": self.id, **asdict(self)}


@dataclass(frozen=True)
class ModelDescription:
    """A network in full."""

    facts: ModelFacts
    about: str
    """The docstring beyond the summary, in paragraphs; empty for most."""
    options: tuple[ModelOption, ...]
    trace: Trace

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        trace = self.trace
        return {
            **self.facts.to_dict(),
            "about": self.about,
            "fields": [asdict(option) for option in self.options],
            "stages": [asdict(stage) for stage in trace.stages],
            "skips": [asdict(skip) for skip in trace.skips],
            "layers": [{**asdict(layer), "scale": [float(one) for one in layer.scale]} for layer in trace.layers],
        }


def read_catalogue() -> tuple[ModelFacts, ...]:
    """The measured facts of every network and variant, from the file that comes with the package."""
    return TypeAdapter(tuple[ModelFacts, ...]).validate_json(CATALOGUE.read_bytes())


def measure_network(
    name: str,
    options: Mapping[str, Any],
    *,
    size: Sequence[int] | None = None,
    in_channels: int | None = None,
    out_channels: int | None = None,
) -> ModelDescription:
    """Measure one network on shapes alone: counts, FLOP, receptive field, layers.

    Args:
        name: A network, or one with a variant, such as `cdeep3m-3fm`.
        options: Fields of its config that differ from those of the variant.
        size: Size S of the image, (z, y, x) or (y, x); the one that it is trained on by default.
        in_channels: Channels of the image; its config's `in_slices` by default.
        out_channels: Logits for each voxel; as published by default.

    Raises:
        NetworkError: No such network or option, or it does not take such an image.
    """
    from cristae.models import network_config

    base, preset = _row_named(name)
    config = network_config(base, {**preset, **options})
    return _measure(config, _variant_of(base, config), size, in_channels, out_channels)


def measure_catalogue() -> Iterator[ModelDescription]:
    """Measure every network and variant; what `read_catalogue` reads from its file.

    Raises:
        NetworkError: An optional dependency is missing.
    """
    from cristae.models import network_config

    for name, variant, options in catalogue_rows():
        yield _measure(network_config(name, options), variant, None, None, None)


def catalogue_rows() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Name, variant and options of each row; without networks that cannot be built from defaults, such as a user's."""
    from cristae.models import NETWORKS

    for name, config in NETWORKS.items():
        if not any(field.is_required() for field in config.model_fields.values()):
            for variant, options in config.variants.items():
                yield name, variant, options


def _row_named(name: str) -> tuple[str, Mapping[str, Any]]:
    rows = {f"{base}-{variant}": (base, options) for base, variant, options in catalogue_rows() if variant}
    return rows.get(name, (name, {}))


def _variant_of(name: str, config: NetworkConfig) -> str:
    """The variant whose options these are, however they were given; empty for none and for the defaults."""
    rows = (row for row in catalogue_rows() if row[0] == name)
    return next((variant for _, variant, options in rows if type(config).model_validate(options) == config), "")


def _measure(
    config: NetworkConfig, variant: str, size: Sequence[int] | None, in_channels: int | None, out_channels: int | None
) -> ModelDescription:
    import torch

    from cristae.inference.locality import measure_locality
    from cristae.models import buffer_count
    from cristae.models.external import prove_own
    from cristae.models.options import config_options
    from cristae.models.trace import trace

    channels = config.in_slices if in_channels is None else in_channels
    image_size = config.input_size(config.window) if size is None else tuple(size)
    logits = config.published_logits if out_channels is None else out_channels
    _require(config, channels, logits, image_size)
    logits_size = config.output_size(image_size)
    prove_own(config, in_channels=channels, out_channels=logits)
    with _measured_on_shapes(config):
        with torch.device("meta"):
            network = config.build(channels, logits).eval()
        found = trace(config, channels, logits, image_size)
    locality = measure_locality(network, config, in_channels=channels)
    summary, about = _documentation(config)
    facts = ModelFacts(
        name=config.model_dump()["name"],
        variant=variant,
        options=config.model_dump(mode="json", exclude_defaults=True, exclude={"name"}),
        summary=summary,
        authors=config.reference.authors,
        year=config.reference.year,
        url=config.reference.url,
        extra=_extra(config),
        ndim=config.ndim,
        in_channels=channels,
        out_channels=logits,
        parameters=found.parameters,
        buffers=buffer_count(network),
        image_size=image_size,
        logits_size=logits_size,
        conv_gflop=found.conv_flop / 1e9,
        gflop=found.flop / 1e9,
        local=locality.local,
        reason=locality.reason,
        receptive_field=tuple(2 * n + 1 for n in locality.reach[-config.ndim :]) if locality.local else None,
        total_stride=config.total_stride,
        margin=config.margin,
        image_sizes=_image_sizes(config),
        blend=config.blend,
        auxiliary_outputs=len(config.auxiliary_weights) - 1,
        smallest_batch=config.smallest_batch,
    )
    return ModelDescription(facts, about, config_options(config), found)


@contextmanager
def _measured_on_shapes(config: NetworkConfig) -> Iterator[None]:
    """Report why a network cannot be measured.

    Raises:
        NetworkError: It is larger than can be counted, or, coming from outside the package, needs values where there
            are only shapes.
    """
    from cristae.models.external import ExternalConfig
    from cristae.models.proof import described

    try:
        yield
    except CristaeError:
        raise
    except Exception as error:
        if "overflow" in str(error):
            raise NetworkError(
                "feature maps or weights of this size cannot be counted; give a smaller --size, or smaller options"
            ) from error
        if not isinstance(config, ExternalConfig):
            raise
        raise NetworkError(
            f"{config.target} cannot be shown, because its code asks for values, and networks are measured on shapes "
            f"alone; it can be trained all the same, and is applied in windows ({described(error)})"
        ) from error


def _documentation(config: NetworkConfig) -> tuple[str, str]:
    """The summary line of its docstring, and the paragraphs after it, each in one line."""
    summary, *paragraphs = (inspect.getdoc(type(config)) or "").split("\n\n")
    return " ".join(summary.split()), "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _require(config: NetworkConfig, in_channels: int, out_channels: int, size: Sequence[int]) -> None:
    if in_channels < 1 or out_channels < 1:
        raise NetworkError(f"channels and classes must be at least 1, got {in_channels} and {out_channels}")
    if len(size) != config.ndim or min(size) < 1:
        axes = ", ".join("zyx"[3 - config.ndim :])
        raise NetworkError(
            f"this network takes images of {config.ndim} axes ({axes}) with at least one voxel along each, got size "
            f"{' x '.join(map(str, size))}"
        )


def _extra(config: NetworkConfig) -> str | None:
    return "monai" if type(config).__module__.endswith(".monai") else None


def _image_sizes(config: NetworkConfig) -> str:
    if not any(config.margin):
        return "any"
    smallest = [a + 2 * b for a, b in zip(config.smallest_output, config.margin, strict=True)]
    if config.fixed_output:
        return f"only {' x '.join(map(str, smallest))}"
    axes: dict[str, list[str]] = {}
    for axis, first, step in zip("zyx"[3 - config.ndim :], smallest, config.total_stride, strict=True):
        text = "any" if first == step == 1 else f"{first} + {step}n"
        axes.setdefault(text, []).append(axis)
    return "; ".join(f"{', '.join(names)}: {text}" for text, names in axes.items())
