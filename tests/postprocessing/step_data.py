"""Small label arrays, and steps applied to them in blocks of any shape."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.postprocessing import Step
from cristae.postprocessing.apply import apply_steps
from cristae.postprocessing.form import LabelMaps, Outcome
from cristae.postprocessing.workplace import Workplace

TWO = Classes(names=("background", "mito"))
FOUR = Classes(names=("background", "mito", "er", "granule"))
MASKS = Classes(names=("mito", "er"), exclusive=False)
SIZE_NM = (2.0, 1.0, 1.0)

shapes = st.tuples(st.integers(1, 5), st.integers(1, 8), st.integers(1, 8))
edges = st.tuples(st.integers(1, 4), st.integers(2, 5), st.integers(2, 5))


def maps_of(n_classes: int):
    """Label arrays with pieces of several voxels."""
    return shapes.flatmap(lambda shape: arrays(np.uint8, shape, elements=st.integers(0, n_classes - 1)))


def label_maps(
    *labels: np.ndarray,
    classes: Classes = TWO,
    voxel_size_nm: tuple[float, float, float] | None = SIZE_NM,
    probabilities: Mapping[str, np.ndarray] | None = None,
) -> LabelMaps:
    images = tuple(image_of_array(one, voxel_size_nm=voxel_size_nm) for one in labels)
    kept = {name: image_of_array(one) for name, one in (probabilities or {}).items()}
    return LabelMaps(images, classes, voxel_size_nm, kept)


def run_steps(
    maps: LabelMaps, *steps: Step, edges: tuple[int, int, int] | None = None, folder: Path | None = None
) -> Outcome:
    work = Workplace(maps.shape, edges or maps.shape, folder, maps.voxel_size_nm)
    return apply_steps(maps, steps, work)


def result(
    labels: np.ndarray, *steps: Step, edges: tuple[int, int, int] | None = None, classes: Classes = TWO
) -> np.ndarray:
    """What steps make of exclusive classes."""
    outcome = run_steps(label_maps(labels, classes=classes), *steps, edges=edges)
    found: np.ndarray = outcome.maps.images[0].read()
    return found
