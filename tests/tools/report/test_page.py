"""The report in headless Chromium: it opens offline, light and dark, and its slider works."""

import shutil

import pytest
from etils import epath

from biggan_jax.tools.report import run as run_report
from tests.tools.report import made

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser, and is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no chromium here", allow_module_level=True)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    folder = made.run(tmp_path_factory.mktemp("report") / "run")
    path = folder / "report.html"
    path.write_text(run_report.report(epath.Path(folder)))
    return path


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(params=["light", "dark"])
def page(browser, file, request):
    """A page that may load nothing but the file. Every test also asserts an empty console."""
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900}, offline=True)
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda found: asked.append(found.url))
    page.goto(file.as_uri())
    yield page
    context.close()
    assert not said
    assert all(url.startswith(("file:", "data:")) for url in asked)


def test_the_slider_shows_the_samples_of_a_step(page):
    image, slider = page.locator(".samples img").first, page.locator(".samples input").first
    last = image.get_attribute("src")
    assert page.locator(".samples output").first.inner_text() == "step 1000"
    slider.focus()
    page.keyboard.press("Home")
    assert page.locator(".samples output").first.inner_text() == "step 250"
    assert image.get_attribute("src") != last and image.evaluate("image => image.naturalWidth") > 100


def test_text_of_a_runs_files_runs_nothing(page):
    assert page.title() == "run"
    assert page.locator("img[src=x]").count() == 0


def test_text_is_readable_in_both_colour_schemes(page):
    """The contrast of the text in charts and of the page, by WCAG's formula."""
    for selector in ("h1", "figcaption, .faint", "figure svg text"):
        contrast = page.locator(selector).first.evaluate(
            """node => {
              const luminance = (text) => {
                const [r, g, b] = text.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
                  .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
                return 0.2126 * r + 0.7152 * g + 0.0722 * b;
              };
              const style = getComputedStyle(node);
              const ink = luminance(node.namespaceURI.endsWith("svg") ? style.fill : style.color);
              const ground = luminance(getComputedStyle(document.body).backgroundColor);
              return (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05);
            }"""
        )
        assert contrast > 4.5, selector


def test_nothing_is_wider_than_the_page(page):
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
