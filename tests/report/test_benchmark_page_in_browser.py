"""The page of a benchmark in a real browser: sorting, switches and the magnifier work, and nothing overflows."""

import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image as Picture

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.example_benchmark import Size, write_example

from cristae.workflows.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    size = Size(cells=4, folds=3, slices=2, epochs=4, side=64)
    return report(write_example(tmp_path_factory.mktemp("benchmark") / "example", size))


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[1280, 390])
def tab(request, browser, path):
    opened = browser.new_page(viewport={"width": request.param, "height": 900})
    opened.asked, opened.trouble = [], []
    opened.on("request", lambda asked: opened.asked.append(asked.url))
    opened.on("console", lambda message: opened.trouble.append(message.text))
    opened.on("pageerror", lambda error: opened.trouble.append(str(error)))
    opened.goto(path.as_uri())
    yield opened
    assert opened.trouble == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [path.as_uri()]
    opened.close()


def column(tab, place):
    cells = f"#ranking table tbody tr > :nth-child({place})"
    return tab.eval_on_selector_all(cells, "all => all.map(one => one.textContent)")


def test_the_page_is_no_wider_than_the_window(tab):
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_headings_sort_by_number_and_by_name(tab):
    means, names = column(tab, 3), column(tab, 2)
    head = tab.locator("#ranking table thead th")
    head.nth(2).click()
    assert column(tab, 3) == sorted(means, reverse=True)
    head.nth(2).click()
    assert column(tab, 3) == sorted(means)
    assert head.nth(2).get_attribute("aria-sort") == "ascending"
    head.nth(1).focus()
    tab.keyboard.press("Enter")
    assert column(tab, 2) == sorted(names)
    assert head.nth(2).get_attribute("aria-sort") is None


def test_what_has_no_value_stays_below(tab):
    costs = "#cost-and-score table"
    for _ in range(2):
        tab.locator(f"{costs} thead th").nth(1).click()
        last = tab.locator(f"{costs} tbody tr").last.locator("td").first
        assert last.text_content() == "–"


def test_a_switch_shows_one_part_at_a_time(tab):
    panes = tab.locator("#cost-and-score .pane")
    assert [pane.is_visible() for pane in panes.all()] == [True, False, False, False, False]
    tab.get_by_text("seconds of a training", exact=True).first.click()
    assert [pane.is_visible() for pane in panes.all()] == [False, True, False, False, False]


def test_layers_can_be_chosen(tab):
    first = tab.locator("#slices-in-dispute .slice").first

    def shown(kind):
        return first.locator(f".view .{kind}").first.evaluate("one => getComputedStyle(one).display !== 'none'")

    assert (shown("errors"), shown("labels"), shown("truth")) == (True, False, True)
    tab.get_by_text("labels", exact=True).click()
    assert (shown("errors"), shown("labels"), shown("truth")) == (False, True, True)
    tab.get_by_text("picture alone", exact=True).click()
    assert (shown("errors"), shown("labels"), shown("truth")) == (False, False, False)


def test_the_magnifier_moves_in_all_panels_together(tab):
    slices = tab.locator("#slices-in-dispute .slice").first
    view = slices.locator(".view").nth(3)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    tab.mouse.move(box["x"] + 0.99 * box["width"], box["y"] + 0.99 * box["height"])
    zooms = slices.locator(".zoom").evaluate_all("all => all.map(one => one.getAttribute('viewBox'))")
    assert len(zooms) == 3 + 3
    assert set(zooms) == {"16 16 48 48"}


def test_charts_are_saved_as_svg_and_png(tab):
    chart = tab.locator('.chart[data-name="ranking"]')
    with tab.expect_download() as asked:
        chart.get_by_text("SVG", exact=True).click()
    assert asked.value.suggested_filename == "ranking.svg"
    text = Path(asked.value.path()).read_text(encoding="utf-8")
    assert text.startswith("<svg")
    assert "var(" not in text
    with tab.expect_download() as asked:
        chart.get_by_text("PNG", exact=True).click()
    assert asked.value.suggested_filename == "ranking.png"
    with Picture.open(asked.value.path()) as picture:
        assert picture.width > 2000
        colors = picture.convert("RGB").getcolors(1 << 20)
    assert max(colors)[1] in ((255, 255, 255), (242, 245, 248))
    assert len(colors) > 50


def test_it_is_dark_where_the_reader_wants_it(browser, path):
    context = browser.new_context(color_scheme="dark", viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(path.as_uri())

    def brightness(selector, what):
        text = tab.locator(selector).first.evaluate(f"one => getComputedStyle(one).{what}")
        return sum(map(int, text.removeprefix("rgb(").removesuffix(")").split(", "))) / 3

    assert brightness("body", "backgroundColor") < 40
    assert brightness("body", "color") > 200
    assert brightness(".chart text", "fill") > 150
    tab.emulate_media(media="print")
    assert brightness("body", "backgroundColor") == 255
    assert brightness(".chart text", "fill") < 120
    context.close()


def test_without_scripts_everything_is_there(browser, path):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(path.as_uri())
    assert tab.locator("#slices-in-dispute .slice").first.locator(".zoom").count() == 6
    tab.locator("#cost-and-score label").nth(1).click()
    assert tab.locator("#cost-and-score .pane").nth(1).is_visible()
    context.close()
