import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile

import cristae
from cristae.metrics.confusion import Confusion

RUN = "from cristae.cli.main import run; run()"
FAMILIES = "overlap,ranking,partition,detection,instances,surfaces,centrelines"


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """What `evaluate` needs to give every family of scores of a tiny volume."""
    rng = np.random.default_rng(0)
    truth, scores = rng.random((6, 20, 24)) < 0.5, rng.random((6, 20, 24))
    tifffile.imwrite(tmp_path / "truth.tif", truth.astype(np.uint8) * 255, imagej=True, metadata={"axes": "ZYX"})
    tifffile.imwrite(tmp_path / "map.tif", scores.astype(np.float32), imagej=True, metadata={"axes": "ZYX"})
    paths = ["--truth", str(tmp_path / "truth.tif"), "--prediction", str(tmp_path / "map.tif"), "--binarize", "0.5"]
    return ["evaluate", *paths, "--voxel-size-nm", "10", "5", "5", "--tolerance-nm", "10", "--scores", FAMILIES]


def test_arrays_that_may_not_be_written_are_counted() -> None:
    ids = np.array([0, 1, 1, 0], np.uint8)
    ids.flags.writeable = False
    assert Confusion.of(ids, ids, 2, valid=ids).counts.tolist() == [[0, 0], [0, 2]]


@pytest.mark.slow
def test_every_loop_runs_where_no_folder_for_machine_code_can_be_written(tmp_path: Path) -> None:
    """All loops are decorated, with each folder that may keep machine code being a file."""
    package = tmp_path / "cristae"
    shutil.copytree(Path(cristae.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    loops = sorted(path for path in package.rglob("*.py") if "@compiled" in path.read_text())
    assert len(loops) > 10
    for folder in {path.parent for path in loops}:
        (folder / "__pycache__").touch()
    names = [".".join(path.relative_to(tmp_path).with_suffix("").parts) for path in loops]
    code = (
        f"import importlib, numpy as np\nfor name in {names}: importlib.import_module(name)\n"
        "from cristae.metrics.confusion import Confusion\n"
        "import cristae; print(cristae.__file__, Confusion.of([0, 1], [1, 1], 2).counts.tolist())"
    )
    nowhere = tmp_path / "file"
    nowhere.touch()
    places = {name: str(nowhere / "below") for name in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME", "LOCALAPPDATA")}
    environment = {**os.environ, **places, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == f"{package / '__init__.py'} [[0, 1], [0, 1]]", done.stderr


def test_loops_are_compiled_in_one_way() -> None:
    package = Path(cristae.__file__).parent
    others = [path.name for path in package.rglob("*.py") if "njit" in path.read_text()]
    assert others == ["compiled.py"]


@pytest.mark.slow
def test_the_first_evaluation_compiles_in_bearable_time(pair: list[str], tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    times = []
    for _ in range(2):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", RUN, *pair], env=environment, capture_output=True, check=True)
        times.append(time.monotonic() - began)
    assert times[0] - times[1] < 20
    assert len(list((tmp_path / "cache").rglob("*.nbc"))) > 15
