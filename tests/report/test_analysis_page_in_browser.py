"""The page of an analysis and a matrix in a real browser: pictures load, text can be read, nothing overflows."""

import shutil

import numpy as np
import pytest
from test_analysis_page import ABOUT, CLASSES, OBJECTS, rendering

from cristae.report.analysis_page import analysis_page
from cristae.report.matrices import matrix_markup
from cristae.report.page import Section, build_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
api = pytest.importorskip("playwright.sync_api")


@pytest.fixture
def show(tmp_path):
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.trouble = []
        tab.on("console", lambda message: tab.trouble.append(message.text))
        tab.on("pageerror", lambda error: tab.trouble.append(str(error)))

        def open_page(text):
            (tmp_path / "page.html").write_text(text, encoding="utf-8")
            tab.goto((tmp_path / "page.html").as_uri())
            return tab

        yield open_page
        assert tab.trouble == []
        browser.close()


def test_views_load_with_a_bar_of_the_right_length(show):
    tab = show(analysis_page("cell", CLASSES, OBJECTS, views=[rendering(), rendering()], **ABOUT))
    assert tab.eval_on_selector_all(".rendered img", "all => all.map(one => one.naturalWidth)") == [100, 100]
    picture, bar = (tab.locator(f".rendered {part}").first.bounding_box()["width"] for part in ("img", ".bar"))
    # 100 pixels of 20 nm, and a bar of 500 nm.
    assert bar / picture == pytest.approx(0.25, abs=0.01)
    for width in (1280, 480):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_names_of_many_columns_stand_upright_beside_narrow_cells(show):
    names = [f"a long class name {number}" for number in range(14)]
    tab = show(build_page("Matrix", [Section("Matrix", matrix_markup(np.eye(14), names, kind="counts"))]))
    turned = tab.locator("th.turned span").first.bounding_box()
    assert turned["height"] > 3 * turned["width"]
    cells = tab.eval_on_selector_all(".shades tbody td", "all => all.map(one => one.clientWidth)")
    assert max(cells) < 110
