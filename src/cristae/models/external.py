"""A network of one's own, named by a recipe and imported from a file or package outside Cristae."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, ValidationInfo, field_validator
from torch import nn

from cristae.data.classes import Classes
from cristae.errors import NetworkError
from cristae.models.form import Blend, NetworkConfig, PlanarConfig, Reference
from cristae.models.proof import blamed_on, described, prove, require_form
from cristae.problems import explain


class ExternalConfig(NetworkConfig):
    """A network of your own, imported by name; a recipe with it runs that code."""

    name: Literal["external"] = "external"
    target: Annotated[str, StringConstraints(pattern=r"^[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*$")]
    """Module and config class, such as `my_lab.my_net:MyNetConfig`. The module is looked for where Python looks, and
    then in the current directory."""
    options: dict[str, Any] = Field(default_factory=dict)
    """Fields of that config; the others get their defaults."""

    @field_validator("target", mode="before")
    @classmethod
    def _has_the_form(cls, target: object) -> object:
        """Say what is missing before the pattern says that something is."""
        if isinstance(target, str):
            require_target_form(target)
        return target

    @field_validator("target")
    @classmethod
    def _is_a_config(cls, target: str) -> str:
        import_config(target)
        return target

    @field_validator("options")
    @classmethod
    def _fit_the_target(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        """The options with all defaults, so that a run keeps them whatever becomes of the code."""
        if "target" not in info.data:
            return options
        target = info.data["target"]
        return _plain_options(make_config(target, options), target)

    @cached_property
    def own(self) -> NetworkConfig:
        """The config that the target makes of the options."""
        return make_config(self.target, self.options)

    @property
    def reference(self) -> Reference:  # type: ignore[override]
        """Where it was published, if the target says so."""
        return getattr(self.own, "reference", Reference("unpublished", 0, self.target))

    @property
    def blend(self) -> Blend:  # type: ignore[override]
        """The target's."""
        return self.own.blend

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        """The target's."""
        return self.own.smallest_batch

    @property
    def published_logits(self) -> int:  # type: ignore[override]
        """The target's."""
        return self.own.published_logits

    @property
    def ndim(self) -> int:
        """The target's."""
        return self.own.ndim

    @property
    def in_slices(self) -> int:
        """The target's."""
        return self.own.in_slices

    @property
    def total_stride(self) -> tuple[int, ...]:
        """The target's."""
        return tuple(self.own.total_stride)

    @property
    def margin(self) -> tuple[int, ...]:
        """The target's."""
        return tuple(self.own.margin)

    @property
    def smallest_output(self) -> tuple[int, ...]:
        """The target's."""
        return tuple(self.own.smallest_output)

    @property
    def fixed_output(self) -> bool:
        """The target's."""
        return self.own.fixed_output

    @property
    def window(self) -> tuple[int, ...]:
        """The target's."""
        return tuple(self.own.window)

    @property
    def auxiliary_weights(self) -> tuple[float, ...]:
        """The target's."""
        return tuple(self.own.auxiliary_weights)

    def check_classes(self, classes: Classes) -> None:
        """Make sure that the target's logits can stand for such classes."""
        self.own.check_classes(classes)

    def input_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The target's."""
        return self.own.input_size(size)

    def good_output(self, size: Sequence[int]) -> tuple[int, ...]:
        """The target's."""
        return self.own.good_output(size)

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """The target's."""
        return self.own.output_size(size)

    def build(self, in_channels: int, out_channels: int) -> nn.Module:
        """The target's network with fresh weights, (B, in_channels, *S) to (B, out_channels, *T)."""
        try:
            network = self.own.build(in_channels, out_channels)
        except NetworkError:
            raise
        except Exception as error:
            raise NetworkError(f"{self.target} cannot build its network: {described(error)}") from error
        if not isinstance(network, nn.Module):
            raise NetworkError(f"{self.target}.build gave a {type(network).__name__}; it must return a torch.nn.Module")
        return network

    @property
    def source_path(self) -> Path | None:
        """The file that defines the config; None where it is in no file."""
        source = getattr(sys.modules[type(self.own).__module__], "__file__", None)
        return None if source is None else Path(source)

    def source_sha256(self) -> str | None:
        """Hash of that file."""
        return None if self.source_path is None else hashlib.sha256(self.source_path.read_bytes()).hexdigest()


def require_target_form(target: str) -> None:
    """Make sure that a target names a module and a class.

    Raises:
        NetworkError: It names a file, or only one of the two; says how to write it.
    """
    file, _, name = target.partition(":")
    module = Path(file.replace("\\", "/")).name.removesuffix(".py") or "my_net"
    better = f"{module}:{name or 'MyConfig'}"
    if file.endswith(".py") or "/" in file or "\\" in file:
        raise NetworkError(
            f"'{target}' names a file; write the module without .py and the class in it, such as {better}, and run the "
            "command in the file's folder"
        )
    if not file or not name:
        raise NetworkError(f"'{target}' must name a module and a class in it, such as {better}")


def prove_own(config: object, *, in_channels: int, out_channels: int) -> None:
    """Make sure that a network of one's own does what its config says; other networks are proved already.

    Raises:
        NetworkError: It does not, or its code fails.
    """
    if isinstance(config, ExternalConfig):
        prove(config, config.target, in_channels=in_channels, out_channels=out_channels)


@contextmanager
def own_errors(config: object, network: nn.Module) -> Iterator[None]:
    """Report what the code of an external network raises as its error; for other networks this does nothing.

    Raises:
        NetworkError: The error came from a file of that network; with the place where it came up.
    """
    if not isinstance(config, ExternalConfig):
        yield
        return
    forward = getattr(type(network).forward, "__code__", None)
    files = {str(config.source_path)} | ({forward.co_filename} if forward else set())
    with blamed_on(files, f"{config.target} fails"):
        yield


def import_config(target: str) -> type[NetworkConfig]:
    """The config class that `module:Config` names.

    Raises:
        NetworkError: There is no such module or name, the module fails while it is imported, or it is something else.
    """
    module_name, _, name = target.partition(":")
    module = _imported(module_name)
    if not hasattr(module, name):
        there = [other for other, value in vars(module).items() if _is_config(value)]
        known = f"its network configs are {', '.join(there)}" if there else "there is no network config in it"
        raise NetworkError(f"module '{module_name}' ({_file_of(module)}) has no '{name}'; {known}")
    found = getattr(module, name)
    if not _is_config(found):
        kind = "a torch.nn.Module" if _is_class(found, nn.Module) else "another class"
        what = kind if inspect.isclass(found) else f"of type {type(found).__name__}"
        raise NetworkError(
            f"{target} is {what}; it must be a subclass of cristae.models.NetworkConfig or PlanarConfig, "
            "whose `build` makes the network"
        )
    missing = sorted(getattr(found, "__abstractmethods__", ()))
    if missing:
        raise NetworkError(f"{target} does not say {' and '.join(f'`{one}`' for one in missing)}; every network must")
    config: type[NetworkConfig] = found
    return config


def make_config(target: str, options: Mapping[str, Any]) -> NetworkConfig:
    """The config that `module:Config` makes of options.

    Raises:
        NetworkError: It cannot be imported, does not take them, or has properties of the wrong kind.
    """
    config = import_config(target)
    try:
        made = config.model_validate(dict(options))
    except ValidationError as error:
        raise NetworkError("; ".join(explain(error, config, lambda _: target))) from None
    except Exception as error:
        raise NetworkError(f"{target} cannot be made: {described(error)}") from error
    require_form(made, target)
    return made


def _imported(name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)  # last and for good: it shadows nothing, and other processes can unpickle what is in it
    importlib.invalidate_caches()
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise NetworkError(f"module '{name}' fails while it is imported: {described(error)}") from error
        raise NetworkError(
            f"there is no module '{error.name}', neither where Python looks for modules nor in the current directory "
            f"{here}; run the command in the folder of {error.name}.py, or install the package that has it"
        ) from None
    except (Exception, SystemExit) as error:
        raise NetworkError(f"module '{name}' fails while it is imported: {described(error)}") from error


def _file_of(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or "no file"


def _is_class(value: object, base: type) -> bool:
    return inspect.isclass(value) and issubclass(value, base)


def _is_config(value: object) -> bool:
    return _is_class(value, NetworkConfig) and value not in (NetworkConfig, PlanarConfig, ExternalConfig)


def _plain_options(made: NetworkConfig, target: str) -> dict[str, Any]:
    """All options as they stand in a recipe, without a name that is the target's own.

    Raises:
        NetworkError: They do not read back as an equal config.
    """
    fixed = {"name"} & {field for field, info in type(made).model_fields.items() if not info.is_required()}
    try:
        plain = made.model_dump(mode="json", by_alias=True, exclude=fixed)
        same = type(made).model_validate(plain) == made
    except Exception as error:
        raise NetworkError(f"{target} has options that cannot be stored: {described(error)}") from error
    if not same:
        raise NetworkError(f"{target} has options that do not come back equal from a recipe; use plain values")
    return plain
