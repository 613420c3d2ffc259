"""The catalogue of networks, as Python gives it."""

import doctest
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import cristae
import cristae.workflows.models
from cristae.errors import NetworkError, OutputExistsError, RecipeError, StorageError
from cristae.inference.catalogue import catalogue_rows
from cristae.models import NETWORKS, parameter_count
from cristae.models.options import config_options
from cristae.workflows.models import describe_model, draw_model, list_models, model_options


def test_the_list_has_every_network_and_variant() -> None:
    rows = list_models()
    assert [(row.name, row.variant) for row in rows] == [(name, variant) for name, variant, _ in catalogue_rows()]
    assert len({row.id for row in rows}) == len(rows)
    assert not {row.id for row in rows if row.variant} & set(NETWORKS)


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys, cristae\nassert len(cristae.list_models()) > 1\n"
        "print([m for m in ('torch', 'matplotlib', 'zarr') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_description_equals_its_row() -> None:
    rows = {row.id: row for row in list_models()}
    for name in ("seget", "unet_valid", "hybrid_2d3d-no_pyramid", "cdeep3m-3fm"):
        assert describe_model(name).facts == rows[name]


def test_facts_for_other_options_channels_and_sizes() -> None:
    facts = describe_model("unet_bn", {"widths": (8, 16)}, size=(40, 64), in_channels=3, out_channels=5).facts
    network = cristae.create_model("unet_bn", in_channels=3, out_channels=5, widths=(8, 16))
    assert facts.parameters == parameter_count(network)
    assert facts.options == {"widths": [8, 16]}
    assert (facts.image_size, facts.logits_size, facts.total_stride) == ((40, 64), (40, 64), (2, 2))
    pixels = 40 * 64
    full = 3 * 8 * 9 + 8 * 8 * 9 + 16 * 8 * 9 + 8 * 8 * 9 + 8 * 5  # the last convolution gives 5 logits
    half = (8 * 16 * 9 + 16 * 16 * 9) / 4
    up = 16 * 8 * 4 / 4
    assert facts.conv_gflop == 2 * pixels * (full + half + up) / 1e9


def test_the_receptive_field_is_that_of_the_layers() -> None:
    """Two 3x3 before the pooling and after it, two at half size: 2 + 2 + 2*2 and the two sides of a pooled pair."""
    facts = describe_model("unet_bn", {"widths": (4, 4)}, size=(16, 16)).facts
    network = cristae.create_model("unet_bn", in_channels=1, out_channels=1, widths=(4, 4)).double().eval()
    for parameter in network.parameters():
        torch.nn.init.constant_(parameter, 0.5)
    image = torch.rand(1, 1, 64, 64, dtype=torch.float64, requires_grad=True)
    logits = network(image)
    reach = 0
    for place in (32, 33):
        (gradient,) = torch.autograd.grad(logits[0, 0, place, 32], image, retain_graph=True)
        rows = gradient[0, 0].abs().amax(1).nonzero().flatten()
        reach = max(reach, place - int(rows.min()), int(rows.max()) - place)
    assert facts.local
    assert facts.receptive_field == (2 * reach + 1,) * 2


def test_sizes_in_words() -> None:
    sizes = {row.id: row.image_sizes for row in list_models()}
    assert sizes["unet_bn"] == "any"
    assert sizes["unet_valid"] == "y, x: 188 + 16n"
    assert sizes["hybrid_2d3d"] == "z: any; y, x: 12 + 8n"
    assert sizes["deepvess"] == "only 7 x 33 x 33"


def test_networks_that_see_the_whole_window() -> None:
    row = next(row for row in list_models() if row.id == "hybrid_2d3d_port")
    assert not row.local
    assert "instance_norm" in row.reason
    assert row.receptive_field is None


def test_options_are_described_with_what_they_take() -> None:
    options = {option.name: option for option in describe_model("seget", {"base": 8}, size=(32, 32)).options}
    assert options["base"].kind == "whole number, above 0, multiple of 4"
    assert (options["base"].default, options["base"].value) == (16, 8)
    assert options["skip_width"].kind == "half, quarter, full"
    assert options["conv_bias"].kind == "true or false"
    assert "double at each of the four levels" in options["base"].help
    assert describe_model("unet_bn", size=(32, 32)).options[1].kind == "list of 2 to 8 whole numbers above 0"
    kinds = {option.name: option.kind for option in describe_model("efficient_unet", size=(32, 32)).options}
    assert kinds["decoder_widths"] == "list of 5 whole numbers above 0"
    kinds = {option.name: option.kind for option in describe_model("resenc_unet", size=(32, 32)).options}
    assert kinds["strides"] == "list of lists of whole numbers above 0"


def test_every_option_of_every_network_is_described() -> None:
    for name, variant, _ in catalogue_rows():
        if not variant or f"{name}-{variant}" == "cdeep3m-1fm":
            config = NETWORKS[name].model_validate({})
            for option in config_options(config):
                assert option.kind
                assert option.help


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "unet_b"}, "did you mean unet_bn"),
        ({"name": "seget", "options": {"bas": 3}}, "bas: unknown field; did you mean 'base'"),
        ({"name": "seget", "size": (64,)}, r"images of 2 axes \(y, x\).*got size 64"),
        ({"name": "seget", "size": (0, 64)}, "got size 0 x 64"),
        ({"name": "unet_valid", "size": (500, 500)}, "next good size is 508 x 508"),
        ({"name": "seget", "in_channels": 0}, "at least 1, got 0 and 1"),
        ({"name": "cdeep3m", "in_channels": 2}, "slices"),
    ],
)
def test_mistakes_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        describe_model(**arguments)


def test_changes_are_yaml() -> None:
    assert model_options(["base=8", "widths=[1, 2]", "head=last_conv"]) == {
        "base": 8,
        "widths": [1, 2],
        "head": "last_conv",
    }
    with pytest.raises(RecipeError, match="expected path=value"):
        model_options(["base"])


def test_a_variant_has_its_full_name_however_it_is_asked_for() -> None:
    small = {"size": (4, 16, 16)}
    assert describe_model("unet_3d-thick", **small).facts.id == "unet_3d-thick"
    assert describe_model("unet_3d", {"shape": "thick"}, **small).facts.id == "unet_3d-thick"
    assert describe_model("unet_3d-thick", {"base": 2}, **small).facts.id == "unet_3d"
    assert describe_model("cdeep3m", size=(32, 32)).facts.id == "cdeep3m-1fm"


def test_a_drawing_needs_a_folder_and_the_suffix_of_svg(tmp_path: Path) -> None:
    found = describe_model("unet_bn", {"widths": (4, 8)}, size=(32, 32))
    with pytest.raises(StorageError, match=r"unet\.png: a drawing is written as SVG; choose .*unet\.svg"):
        draw_model(found, tmp_path / "unet.png")
    with pytest.raises(StorageError, match=r"there is no folder .*drawings; make it"):
        draw_model(found, tmp_path / "drawings" / "unet.svg")
    assert not list(tmp_path.iterdir())


def test_a_drawing_is_not_written_over(tmp_path: Path) -> None:
    found = describe_model("unet_bn", {"widths": (4, 8)}, size=(32, 32))
    path = draw_model(found, tmp_path / "unet.svg")
    assert path.read_text(encoding="utf-8").startswith("<svg")
    with pytest.raises(OutputExistsError, match=r"unet\.svg: exists already"):
        draw_model(found, path)


def test_docstring_examples() -> None:
    result = doctest.testmod(cristae.workflows.models)
    assert result.attempted > 2
    assert result.failed == 0


@pytest.mark.parametrize(("options", "size"), [({}, (10**9, 10**9)), ({"base": 10**12}, None)])
def test_what_is_too_large_to_count_is_refused(options: dict[str, int], size: tuple[int, ...] | None) -> None:
    with pytest.raises(NetworkError, match="cannot be counted"):
        describe_model("seget", options, size=size)
