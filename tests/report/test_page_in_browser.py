"""The page in a real browser: the magnifier works, nothing is asked of the network, nothing overflows."""

import shutil

import pytest

from cristae.workflows.report import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]
api = pytest.importorskip("playwright.sync_api")


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(run, browser):
    path = report(run)
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.asked, tab.trouble = [], []
    tab.on("request", lambda request: tab.asked.append(request.url))
    tab.on("console", lambda message: tab.trouble.append(message.text))
    tab.on("pageerror", lambda error: tab.trouble.append(str(error)))
    tab.goto(path.as_uri())
    yield tab
    tab.close()


def regions(tab, kind, attribute):
    return tab.eval_on_selector_all(
        f".slice:first-of-type .{kind}", f"found => found.map(one => one.getAttribute('{attribute}'))"
    )


def move_over(tab, number, x, y):
    """Put the pointer over a place (0 to 1) of the `number`th picture of the first slice."""
    view = tab.locator(".slice").first.locator(".view").nth(number)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    tab.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(page):
    page.wait_for_timeout(200)
    assert [url for url in page.asked if not url.startswith(("file:", "data:"))] == []
    assert [url for url in page.asked if url.startswith("file:")] == [page.url]
    assert page.trouble == []


def test_every_picture_is_drawn(page):
    shown = page.eval_on_selector_all(
        ".slice image",
        """found => Promise.all(found.map(async one => {
            const picture = new Image(); picture.src = one.getAttribute('href'); await picture.decode();
            return picture.naturalWidth; }))""",
    )
    assert len(shown) == 6 * 4
    assert set(shown) == {90}


def test_the_magnifier_follows_in_all_four_pictures(page):
    move_over(page, 1, 0.5, 0.5)
    first = regions(page, "zoom", "viewBox")
    assert len(first) == 4
    assert set(first) == {"21 6 48 48"}
    move_over(page, 3, 0.99, 0.99)
    second = regions(page, "zoom", "viewBox")
    assert set(second) == {"42 12 48 48"}
    assert set(regions(page, "lens", "x")) == {"42"}
    assert set(regions(page, "lens", "y")) == {"12"}


def test_a_click_holds_the_magnifier_and_another_lets_go(page):
    move_over(page, 0, 0.5, 0.5)
    page.mouse.down()
    page.mouse.up()
    held = regions(page, "zoom", "viewBox")
    move_over(page, 2, 0.01, 0.01)
    assert regions(page, "zoom", "viewBox") == held
    page.mouse.down()
    page.mouse.up()
    move_over(page, 2, 0.01, 0.01)
    assert set(regions(page, "zoom", "viewBox")) == {"0 0 48 48"}


def test_the_magnifier_obeys_the_arrow_keys(page):
    move_over(page, 0, 0.01, 0.01)
    page.locator(".slice").first.locator(".view").first.focus()
    page.keyboard.press("ArrowRight")
    assert set(regions(page, "zoom", "viewBox")) == {"6 0 48 48"}


def test_the_colours_can_be_faded(page):
    page.locator(".opacity").fill("0")
    overlay = page.locator(".slice").first.locator(".view .overlay").first
    assert overlay.evaluate("one => getComputedStyle(one).opacity") == "0"


@pytest.mark.parametrize("width", [1280, 1920])
def test_the_page_fits_laptop_and_desktop(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    widths = page.eval_on_selector_all(".slice:first-of-type .view", "all => all.map(one => one.clientWidth)")
    assert min(widths) > 0.2 * min(width, 1700) * 0.9
