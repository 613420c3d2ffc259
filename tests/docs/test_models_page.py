"""The list of networks and the page about them are what the networks measure now."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from cristae.inference.catalogue import CATALOGUE, ModelDescription, catalogue_rows, measure_catalogue
from cristae.models import network_config, parameter_count
from cristae.recipe.document import read_document
from cristae.workflows.models import list_models

DOCS = Path(__file__).parents[2] / "docs"
AGAIN = "run `python docs/make_models.py` and look at what changes"


@pytest.fixture(scope="module")
def described() -> list[ModelDescription]:
    missing = {row.extra for row in list_models() if not row.installed}
    if missing:
        pytest.skip(f"needs {', '.join(sorted(map(str, missing)))}")
    return list(measure_catalogue())


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_models", DOCS / "make_models.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_everything_made_is_up_to_date(described: list[ModelDescription], generator: ModuleType) -> None:
    made = generator.files(described)
    assert {DOCS / "models.md", CATALOGUE} < set(made)
    assert {path for path in made if path.suffix == ".svg"} == set((DOCS / "images" / "models").glob("*.svg")), AGAIN
    for path, content in made.items():
        assert path.read_text(encoding="utf-8") == content, f"{path}: {AGAIN}"


@pytest.mark.slow
def test_the_layers_account_for_every_parameter_and_flop(described: list[ModelDescription]) -> None:
    for (name, _, options), one in zip(catalogue_rows(), described, strict=True):
        with torch.device("meta"):
            network = network_config(name, options).build(one.facts.in_channels, one.facts.out_channels)
        assert one.facts.parameters == parameter_count(network), one.facts.id
        assert sum(layer.conv_flop for layer in one.trace.layers) == one.trace.conv_flop, one.facts.id


@pytest.mark.slow
def test_every_stage_is_reached_from_the_image(described: list[ModelDescription]) -> None:
    for one in described:
        reached = {-1}
        for number, stage in enumerate(one.trace.stages):
            assert set(stage.reads) <= reached, one.facts.id
            assert stage.reads, one.facts.id
            reached.add(number)


def test_the_page_has_a_section_and_a_drawing_of_every_network() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    for row in list_models():
        assert f"| [{row.id}](#{row.name}) |" in text
        assert f"\n### {row.name}\n" in text
        assert f"(images/models/{row.name}.svg)" in text
        assert row.url in text


def test_the_page_says_how_a_recipe_names_each_variant() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\*\*(\S+)\*\*: `(model: .*)`\.$", text, flags=re.MULTILINE))
    assert set(shown) == {row.id for row in list_models() if row.variant}
    for row in list_models():
        if row.variant:
            model = read_document(shown[row.id], "page").value["model"]
            name = model.pop("name")
            assert network_config(name, model) == network_config(row.name, row.options)


def test_the_page_says_everything_about_a_network_and_whether_a_link_leads_to_code() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    assert "\n\nSeveral classes must exclude each other: two logits or more are never negative.\n\n" in text
    assert "[The code](https://github.com/Cyril-Meyer/NeNISt)" in text
    assert "[The paper](https://doi.org/10.1038/s41592-018-0106-z)" in text
    assert "[The paper](https://github.com" not in text
