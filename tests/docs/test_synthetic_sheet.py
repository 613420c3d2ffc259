"""The contact sheet of the synthetic volumes can be made again, and the page that shows it can be followed."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cristae

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_sheet_shows_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The committed one has a column more, of micrographs."""
    spec = importlib.util.spec_from_file_location("make_synthetic", ROOT / "docs" / "make_synthetic.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "make_synthetic", script)
    spec.loader.exec_module(script)
    monkeypatch.delenv("CRISTAE_DATA", raising=False)
    monkeypatch.setattr(script, "FOLDER", tmp_path)
    script.main()
    made, path = Image.open(tmp_path / "synthetic.png"), ROOT / "docs" / "images" / "synthetic.png"
    committed = Image.open(path)
    assert (made.width + script.GAP) // (script.SIDE + script.GAP) == 3
    assert committed.width == made.width + script.SIDE + script.GAP, "run docs/make_synthetic.py with CRISTAE_DATA"
    assert committed.height == made.height
    shown, again = (np.asarray(one.convert("L"), float)[:, : made.width] for one in (committed, made))
    assert np.abs(shown - again).mean() < 4, "run docs/make_synthetic.py"
    assert path.stat().st_size < 1e6


def test_the_page_about_synthetic_volumes_can_be_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "how-to" / "synthetic-volumes.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    exec(code, {})
    assert cristae.open_image("tomogram.mrc").shape == (32, 96, 96)
    fields = set(re.findall(r"`([a-z_]+)`", text[text.index("What makes them hard") : text.index("Not modelled")]))
    kinds = (cristae.SyntheticConfig, cristae.TomogramConfig, cristae.FibSemConfig)
    assert fields <= {name for kind in kinds for name in kind.model_fields}
