"""The catalogue's counts are those that the networks are held against."""

import tomllib
from pathlib import Path

from network_cases import collect

from cristae.models import NETWORKS, network_config
from cristae.workflows.models import list_models

_, COUNTS = collect()


def test_counts_of_the_catalogue_are_the_published_ones() -> None:
    rows = {(network_config(row.name, row.options), row.in_channels, row.out_channels): row for row in list_models()}
    compared = set()
    for count in COUNTS:
        row = rows.get((count.config, count.in_channels, count.out_channels))
        if row is None:
            continue
        assert (row.parameters, row.buffers) == (count.trainable, count.buffers), row.id
        compared.add(row.id)
        if count.conv_gflop is not None and count.size == row.image_size:
            assert f"{row.conv_gflop:.3f}" == f"{count.conv_gflop:.3f}", row.id
    assert compared == {row.id for row in rows.values()}


def test_every_network_is_in_the_contract_that_networks_do_not_import_each_other() -> None:
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (modules,) = [one["modules"] for one in contracts if one["name"] == "Networks do not import each other"]
    assert set(modules) == {config.__module__ for config in NETWORKS.values()}
