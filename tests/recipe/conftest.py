"""A small valid recipe that the tests change."""

import pytest

TEXT = """\
name: tiny
data:
  classes:
    names: [background, mito]
  volumes:
    - name: cell
      image: image.tif
      voxel_size_nm: [40, 6, 6]
      labels:
        kind: values
        path: labels/*.png
        values: {0: background, 64-191: mito, 255: unlabelled}
  train:
    - {volume: cell, slices: 0:13}
  validate:
    - volume: cell
      slices: [15, 17]
model:
  name: unet_bn
  widths: [4, 8]
loss:
  name: seget
training:
  epochs: 3
  learning_rate: 1e-4
"""


@pytest.fixture
def text() -> str:
    return TEXT
