"""The catalogue's counts are those that the networks are held against."""

from network_cases import collect

from cristae.models import network_config
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
