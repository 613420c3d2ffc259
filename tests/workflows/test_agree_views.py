"""Annotators and algorithm side by side: pictures from the same place, on the page of an agreement."""

import re

import numpy as np
import pytest
from typer.testing import CliRunner

from cristae.analysis.mesh import Mesh
from cristae.analysis.render import VIEWPOINTS, Body, render
from cristae.analysis.surfaces import CELLS, draw_side_by_side
from cristae.cli.main import app
from cristae.data.classes import Classes
from cristae.data.image import image_of_array
from cristae.errors import ScoreError, VoxelSizeError
from cristae.evaluation.agreement import AgreementOptions
from cristae.workflows.agree import agree

THREE = Classes(names=("background", "cell", "mito"), colors={"cell": "#3366cc", "mito": "#cc3333"})


def cells(shift=0):
    """A ball of a cell with a smaller ball in it, `shift` voxels to the right."""
    z, y, x = np.indices((24, 32, 40)) - np.array([12, 16, 20])[:, None, None, None]
    ids = (z**2 + y**2 + x**2 < 100).astype(np.uint8)
    ids[z**2 + y**2 + (x - shift) ** 2 < 16] = 2
    return ids


def participants(size=(10.0, 10.0, 10.0)):
    shifts = {"anna": 0, "bert": 4, "net": -4}
    return {name: image_of_array(cells(shift), voxel_size_nm=size) for name, shift in shifts.items()}


def cube(low, high):
    corners = np.array([[x, y, z] for z in (low, high) for y in (low, high) for x in (low, high)], np.float32)
    faces = [
        *[(0, 2, 1), (1, 2, 3), (4, 5, 6), (5, 7, 6), (0, 1, 4), (1, 5, 4)],
        *[(2, 6, 3), (3, 6, 7), (0, 4, 2), (2, 4, 6), (1, 3, 5), (3, 7, 5)],
    ]
    return Mesh(corners, np.array(faces, np.int32))


def test_pictures_around_the_same_bodies_have_the_same_camera():
    """A small cube alone fills its picture; around a large one it takes the part of it that its size says."""
    small, large = Body(cube(0, 100), "#cc3333"), Body(cube(-200, 300), "#3366cc")
    (alone,) = render([small], viewpoints=VIEWPOINTS[:1], width_px=120)
    (beside,) = render([small], viewpoints=VIEWPOINTS[:1], width_px=120, around=[large])
    (other,) = render([large], viewpoints=VIEWPOINTS[:1], width_px=120)
    assert beside.nm_per_px == other.nm_per_px == pytest.approx(5 * alone.nm_per_px)
    colored = [(one.picture != 255).any(axis=2).sum() for one in (alone, beside)]
    assert colored[0] / colored[1] == pytest.approx(25, rel=0.15)


def test_every_participant_is_drawn_even_one_that_labelled_nothing():
    empty = Mesh(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.int32))
    one = {"cell": cube(0, 300), "mito": cube(50, 150), CELLS: cube(0, 300)}
    shares = {"cell": 0.9, "mito": 0.1}
    found = draw_side_by_side(
        {"anna": (one, shares), "bert": (dict.fromkeys(one, empty), shares)}, {"cell": "#3366cc", "mito": "#cc3333"}
    )
    assert list(found) == ["anna", "bert"]
    assert (found["bert"].picture == 255).all()
    assert found["anna"].picture.shape == found["bert"].picture.shape


@pytest.mark.slow
def test_the_page_shows_all_participants_side_by_side(tmp_path):
    agree(participants(), classes=THREE, out=tmp_path / "a.csv", options=AgreementOptions(views=True))
    page = (tmp_path / "a-report.html").read_text()
    assert "Side by side" in page
    found = re.findall(r'alt="Surfaces of the classes, (\w+)"', page)
    assert found == ["anna", "bert", "net"]
    assert len(set(re.findall(r'src="(data:image/png[^"]+)"', page))) >= 3  # they differ: the mitochondria lie apart
    sizes = re.findall(r'width="(\d+)" height="(\d+)" alt="Surfaces', page)
    assert len(set(sizes)) == 1


@pytest.mark.slow
def test_views_are_of_what_is_compared(tmp_path):
    mask = np.zeros((24, 32, 40), np.uint8)
    mask[:, :, 20:] = 1
    for name, inside in (("whole", None), ("half", image_of_array(mask))):
        out = tmp_path / f"{name}.csv"
        agree(participants(), classes=THREE, out=out, mask=inside, options=AgreementOptions(views=True))
    pages = [(tmp_path / f"{name}-report.html").read_text() for name in ("whole", "half")]
    pictures = [re.findall(r'src="(data:image/png[^"]+)"', page)[0] for page in pages]
    assert pictures[0] != pictures[1]


def test_views_need_a_page_and_a_voxel_size(tmp_path):
    with pytest.raises(ScoreError, match="--out"):
        agree(participants(), classes=THREE, options=AgreementOptions(views=True))
    with pytest.raises(VoxelSizeError, match="--voxel-size-nm"):
        agree(participants(None), classes=THREE, out=tmp_path / "a.csv", options=AgreementOptions(views=True))
    assert not list(tmp_path.iterdir())
    assert CliRunner().invoke(app, ["agree", "a=x", "b=y", "--views"]).exit_code == 2
