"""Networks of one's own: delegation to their config, and every way in which naming them can go wrong."""

import hashlib
import pickle
import sys

import pytest
import torch
from pydantic import ValidationError
from torch import nn

from cristae.errors import NetworkError, RecipeError
from cristae.models import NETWORKS, ExternalConfig, create_model
from cristae.recipe.load import parse_recipe
from cristae.recipe.text import recipe_to_yaml

MODULE = """
from typing import ClassVar
from pydantic import PositiveInt
from torch import nn
from cristae.models import NetworkConfig, PlanarConfig, Reference, SegETConfig


class Flat(PlanarConfig):
    width: PositiveInt = 4
    widths: tuple[PositiveInt, ...] = (1, 2)

    @property
    def total_stride(self):
        return (1, 1)

    def build(self, in_channels, out_channels):
        if in_channels == 7:
            raise RuntimeError("seven is too many")
        if in_channels == 9:
            return None
        return nn.Conv2d(in_channels, out_channels, 3, padding=1)


class Deep(NetworkConfig):
    reference: ClassVar = Reference("Me", 2026, "https://example.org")
    blend: ClassVar = "farthest"
    smallest_batch: ClassVar = 2
    published_logits: ClassVar = 5
    ndim = property(lambda self: 3)
    margin = property(lambda self: (0, 2, 2))
    total_stride = property(lambda self: (1, 4, 4))
    smallest_output = property(lambda self: (1, 8, 8))
    fixed_output = property(lambda self: True)
    window = property(lambda self: (1, 8, 8))
    auxiliary_weights = property(lambda self: (1.0, 0.5))

    def build(self, in_channels, out_channels):
        return nn.Conv3d(in_channels, out_channels, (1, 5, 5))


class Unfinished(PlanarConfig):
    def build(self, in_channels, out_channels):
        return nn.Conv2d(in_channels, out_channels, 1)


class WrongAxes(Flat):
    @property
    def total_stride(self):
        return (1, 1, 1)


class Net(nn.Module):
    pass


number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current directory, in which Python does not look by itself, with a module of networks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = set(sys.modules)
    (tmp_path / "nets_of_mine.py").write_text(MODULE)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


def external(target, **options):
    return ExternalConfig(target=target, options=options)


def test_a_network_from_the_current_directory(here):
    torch.manual_seed(0)
    network = create_model("external", in_channels=2, out_channels=3, target="nets_of_mine:Flat")
    assert isinstance(network, nn.Conv2d)
    assert network(torch.rand(1, 2, 5, 6)).shape == (1, 3, 5, 6)
    assert NETWORKS["external"] is ExternalConfig


def test_everything_is_asked_of_the_target(here):
    config = external("nets_of_mine:Deep")
    assert (config.ndim, config.margin, config.total_stride) == (3, (0, 2, 2), (1, 4, 4))
    assert (config.smallest_output, config.fixed_output, config.window) == ((1, 8, 8), True, (1, 8, 8))
    assert (config.blend, config.smallest_batch, config.auxiliary_weights) == ("farthest", 2, (1.0, 0.5))
    assert (config.reference.authors, config.published_logits) == ("Me", 5)
    assert config.input_size((1, 8, 8)) == (1, 12, 12)
    assert config.good_output((1, 3, 3)) == (1, 8, 8)
    assert config.output_size((1, 12, 12)) == (1, 8, 8)
    with pytest.raises(NetworkError, match="the only good size is 1 x 12 x 12"):
        config.output_size((1, 13, 12))
    flat = external("nets_of_mine:Flat", slices=5)
    assert (flat.ndim, flat.in_slices, flat.window, flat.margin) == (2, 5, (256, 256), (0, 0))
    assert flat.reference.url == "nets_of_mine:Flat"


def test_it_answers_for_every_public_property_of_a_config():
    """Whatever a network can say must be asked of the target, and not be the default of this config."""
    base = NETWORKS["seget"].__mro__[2]
    assert base.__name__ == "NetworkConfig"
    said = [name for name in (*vars(base), *base.__annotations__) if not name.startswith(("_", "model_"))]
    own = vars(ExternalConfig)
    assert {name for name in said if name not in own} == {"variants"}


def test_options_are_kept_with_their_defaults_and_survive_json(here):
    config = external("nets_of_mine:Flat", widths=(3, 4, 5))
    assert config.options == {"slices": 1, "width": 4, "widths": [3, 4, 5]}
    assert ExternalConfig.model_validate_json(config.model_dump_json()) == config
    assert config.own.widths == (3, 4, 5)
    assert pickle.loads(pickle.dumps(config)) == config


def test_name_of_a_network_of_cristae_is_left_out_of_its_options():
    config = external("cristae.models:SegETConfig", base=8)
    assert "name" not in config.options
    assert config.options["base"] == 8
    assert config.total_stride == (16, 16)


def test_the_source_has_a_hash(here):
    expected = hashlib.sha256((here / "nets_of_mine.py").read_bytes()).hexdigest()
    assert external("nets_of_mine:Flat").source_sha256() == expected


def test_installed_modules_come_before_the_current_directory(here):
    (here / "yaml.py").write_text("raise RuntimeError('the wrong one')")
    assert external("nets_of_mine:Flat").ndim == 2
    assert sys.path[-1] == str(here)
    import yaml

    assert hasattr(yaml, "safe_load")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nets_of_yours:Flat", r"no module 'nets_of_yours'.*current directory .*folder of nets_of_yours\.py"),
        ("nets_of_mine.inner:Flat", r"no module 'nets_of_mine\.inner'"),
        ("nets_of_mine:Flt", r"nets_of_mine\.py\) has no 'Flt'; its network configs are SegETConfig, Flat, Deep"),
        ("nets_of_mine:Net", "Net is a torch.nn.Module; it must be a subclass of"),
        ("nets_of_mine:number", "is of type int; it must be"),
        ("nets_of_mine:NetworkConfig", "is another class; it must be a subclass of"),
        ("cristae.models:ExternalConfig", "must be a subclass of"),
        ("nets_of_mine:Unfinished", "does not say `total_stride`"),
        ("nets_of_mine:WrongAxes", r"total_stride is \(1, 1, 1\), but must have 2 numbers"),
        ("nets_of_mine", "must name a module and a class in it, such as nets_of_mine:MyConfig"),
        ("nets_of_mine.py:Flat", r"names a file; write the module without \.py .* such as nets_of_mine:Flat, and run"),
        ("../nets_of_mine:Flat", "names a file; .* such as nets_of_mine:Flat, and run"),
        (":Flat", "such as my_net:Flat"),
        ("nets of mine:Flat", "should match pattern"),
    ],
)
def test_what_is_wrong_with_a_target(here, target, message):
    with pytest.raises(ValidationError, match=message):
        external(target)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\n1 / 0", r"fails while it is imported: .*broken\.py:2: ZeroDivisionError: division by zero"),
        ("def f(:", r"broken\.py:1: invalid syntax"),
        ("import no_such_library", r"broken\.py:1: ModuleNotFoundError: No module named 'no_such_library'"),
        ("raise SystemExit(3)", r"broken\.py:1: SystemExit: 3"),
        ("from cristae.models import Nothing", r"broken\.py:1: ImportError: cannot import name 'Nothing'"),
    ],
)
def test_a_module_that_fails_while_it_is_imported(here, code, message):
    (here / "broken.py").write_text(code)
    with pytest.raises(ValidationError, match=message):
        external("broken:Net")


def test_wrong_options_name_the_field_and_those_that_exist(here):
    with pytest.raises(ValidationError, match=r"nets_of_mine:Flat: width: must be greater than 0, got -1"):
        external("nets_of_mine:Flat", width=-1)
    with pytest.raises(ValidationError, match=r"nets_of_mine:Flat: wdth: unknown field; did you mean 'width'"):
        external("nets_of_mine:Flat", wdth=1)
    with pytest.raises(ValidationError, match="foo: unknown field; the fields here are slices, width"):
        external("nets_of_mine:Flat", foo=1)


def test_a_network_that_cannot_be_built(here):
    config = external("nets_of_mine:Flat")
    with pytest.raises(NetworkError, match=r"cannot build its network: .*nets_of_mine\.py:\d+: RuntimeError: seven is"):
        config.build(7, 1)
    with pytest.raises(NetworkError, match=r"gave a NoneType; it must return a torch\.nn\.Module"):
        config.build(9, 1)


def test_a_recipe_is_refused_at_its_line(here):
    text = (
        "name: x\ndata: {}\nloss: {name: seget}\nmodel:\n  name: external\n"
        "  target: nets_of_mine:Flat\n  options: {width: 3}\n"
    )
    recipe = parse_recipe(text, "r.yaml")
    assert parse_recipe(recipe_to_yaml(recipe)).model == recipe.model
    with pytest.raises(RecipeError, match=r"^r\.yaml:6: model\.target: there is no module 'nets_of_yours'"):
        parse_recipe(text.replace("of_mine", "of_yours"), "r.yaml")
    with pytest.raises(RecipeError, match=r"^r\.yaml:7: model\.options: nets_of_mine:Flat: width: "):
        parse_recipe(text.replace("width: 3", "width: x"), "r.yaml")
    with pytest.raises(RecipeError, match=r"^r\.yaml:4: model\.target: is required"):
        parse_recipe(text.replace("  target: nets_of_mine:Flat\n", ""), "r.yaml")
