"""The catalogue's counts are those that the networks are held against."""

from network_cases import collect

from cristae.models import network_config
from cristae.workflows.models import list_models

_, COUNTS = collect()


def test_counts_of_the_catalogue_are_the_published_ones() -> None:
    rows = {(network_config(row.name, row.options), row.in_channels): row for row in list_models()}
    compared = set()
    for count in COUNTS:
        row = rows.get((count.config, count.in_channels))
        if row is not None and count.out_channels == 1:
            assert (row.parameters, row.buffers) == (count.trainable, count.buffers), row.id
            compared.add(row.name)
        if row is not None and count.conv_gflop is not None and count.size == row.image_size:
            assert row.conv_gflop == round(count.conv_gflop, 3), row.id
    assert compared >= {"seget", "unet_bn", "emnet", "cdeep3m"}


def test_every_row_has_counts_of_its_own() -> None:
    counted = {count.config for count in COUNTS}
    without = [row.id for row in list_models() if network_config(row.name, row.options) not in counted]
    assert without == []
