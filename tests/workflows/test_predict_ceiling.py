"""The memory that a person allows is kept, however large the volume."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from prediction_runs import SIZE_NM, make_run, textured

from cristae.data.box import Box
from cristae.data.classes import Classes
from cristae.data.formats import write_image
from cristae.data.image import image_of_array
from cristae.inference.prediction import open_prediction
from cristae.preprocess.normalize import Normalizer
from cristae.words import parse_size

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(0),
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="Linux says what a process took at most"),
]

SCRIPT = """
import sys
from pathlib import Path
from cristae.inference.config import PredictOptions
from cristae.workflows.predict import predict
predict([sys.argv[1]], sys.argv[2], out=sys.argv[3], options=PredictOptions(max_ram=sys.argv[4]))
print(next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")).split()[1])
"""
TWENTY = Classes(names=("background", *(f"structure {number}" for number in range(20))))
CEILING = "1GiB"


def peak_of(run: Path, volume: Path, out: Path) -> int:
    """Bytes that a process which predicts under the ceiling took at most."""
    words = [sys.executable, "-c", SCRIPT, str(run), str(volume), str(out), CEILING]
    process = subprocess.run(words, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return int(process.stdout) * 1024


def test_of_a_volume_of_ten_times_the_ceiling(tmp_path: Path) -> None:
    tile = textured((1, 1500, 1500)).astype(np.float32)
    depth = 10 * parse_size(CEILING) // tile.nbytes + 1
    grey = np.broadcast_to(tile, (depth, 1500, 1500))
    assert grey.nbytes >= 10 * parse_size(CEILING)
    write_image(image_of_array(grey, voxel_size_nm=SIZE_NM), tmp_path / "cell.zarr")
    run = make_run(
        tmp_path / "run",
        model="{name: unet_bn, widths: [1, 2]}",
        predict="block_vox: null",
        normalizer=Normalizer(20.0, 235.0),
    )
    assert peak_of(run.path, tmp_path / "cell.zarr", tmp_path / "out.zarr") <= parse_size(CEILING)
    labels = open_prediction(tmp_path / "out.zarr").labels[0]
    assert labels.shape == grey.shape
    first, last = (labels.read(Box((z, 0, 0), (z + 1, 1500, 1500))) for z in (0, depth - 1))
    assert first.any()
    assert np.array_equal(first, last), "slices are alike"


def test_of_twenty_classes(tmp_path: Path) -> None:
    write_image(image_of_array(textured((8, 1500, 1500)), voxel_size_nm=SIZE_NM), tmp_path / "cell.zarr")
    run = make_run(tmp_path / "run", classes=TWENTY, model="{name: unet_bn, widths: [4, 8]}", predict="block_vox: null")
    assert peak_of(run.path, tmp_path / "cell.zarr", tmp_path / "out.zarr") <= parse_size(CEILING)
