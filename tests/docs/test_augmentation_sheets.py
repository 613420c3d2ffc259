"""The contact sheets of the documentation show every augmentation and can be made again."""

import importlib.util
import sys
from pathlib import Path
from typing import get_args

import pytest
from PIL import Image

from cristae.augment import Augmentation

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_sheets_show_every_part_on_the_synthetic_volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every part that there is, whether or not the script knows it; the committed ones have the same size."""
    spec = importlib.util.spec_from_file_location("make_augmentations", ROOT / "docs" / "make_augmentations.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_augmentations", script)
    spec.loader.exec_module(script)
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    drawn: list[str] = []
    once = script.drawn

    def recorded(stack: object, part: object, slices: int, **options: bool) -> object:
        drawn.append(script.name_of(part))
        return once(stack, part, slices, **options)

    monkeypatch.setattr(script, "FOLDER", tmp_path)
    monkeypatch.setattr(script, "drawn", recorded)
    script.main()
    names = [kind.model_fields["name"].default for kind in get_args(get_args(Augmentation)[0])]
    assert sorted(drawn) == sorted([*names, *names])
    for name in ("augmentations.png", "augmentations-sections.png"):
        committed = Image.open(ROOT / "docs" / "images" / name)
        assert Image.open(tmp_path / name).size == committed.size, "run docs/make_augmentations.py"
        assert (ROOT / "docs" / "images" / name).stat().st_size < 1.5e6
