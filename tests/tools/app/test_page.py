"""The page in headless Chromium, served by the real command for a tiny checkpoint."""

import base64
import io
import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from biggan_jax import config as configs
from tests.conftest import untrained_run

pytestmark = pytest.mark.browser
playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser, and is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("there is no chromium here", allow_module_level=True)

ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
NAMES = ["zebra", "cat", "dog", "heron", "fig_tree", "otter", "lynx", "red_fox", "raven", "grey_fox"]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = untrained_run(tmp_path_factory.mktemp("run"))
    (folder / "names.txt").write_text("\n".join(NAMES))
    return folder


def started(workdir, *arguments):
    command = [sys.executable, "-m", "biggan_jax.tools.app", f"--checkpoint={workdir}", "--passes=1", *arguments]
    environment = os.environ | {"BIGGAN_JAX_CACHE": str(workdir / "cache")}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


@pytest.fixture(scope="module")
def address(workdir):
    """The address of the page. Ctrl-C ends the command after the tests, without an error."""
    command = started(workdir, "--port=0", f"--class_names={workdir / 'names.txt'}")
    line = command.stdout.readline()
    assert "http://127.0.0.1:" in line, command.stderr.read()
    yield line.split()[4]
    command.send_signal(signal.SIGINT)
    _, errors = command.communicate(timeout=60)
    assert command.returncode == 130 and "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with playwright.sync_playwright() as driver:
        profile = tmp_path_factory.mktemp("profile")
        context = driver.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, args=ARGUMENTS, viewport={"width": 1200, "height": 800}
        )
        yield context
        context.close()


@pytest.fixture
def page(browser, address):
    """A new page. Every test also asserts an empty console and no requests to other hosts."""
    page = browser.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    drawn(page)
    yield page
    page.close()
    assert not said
    assert asked
    assert all(url.startswith((address, "data:")) for url in asked)


def drawn(page):
    """Wait for all pictures and return their sources."""
    page.wait_for_selector("#pictures[aria-busy=false]")
    return page.eval_on_selector_all("#pictures img", "images => images.map(image => image.src)")


def changed(page, before):
    """Like `drawn`, but wait until the sources differ from `before`. (The page's policy forbids wait_for_function.)"""
    until(page, lambda: drawn(page) != before)
    return drawn(page)


def until(page, true, seconds=20):
    for _ in range(seconds * 20):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"not so within {seconds} s")


def test_a_class_is_found_by_part_of_its_name_with_the_keyboard_alone(page):
    before = drawn(page)
    page.focus("#start-class")
    page.keyboard.type("fox")
    assert page.locator("#start-options li").all_inner_texts() == ["red fox7", "grey fox9"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    assert len(changed(page, before)) == 8
    assert page.input_value("#start-class") == "grey fox"
    assert "class=9" in page.url


def test_a_class_is_found_by_its_id(page):
    page.focus("#start-class")
    page.keyboard.type("7")
    page.keyboard.press("Enter")
    assert page.input_value("#start-class") == "red fox"


def test_the_slider_changes_the_pictures_and_the_link(page, browser):
    before = drawn(page)
    page.focus("#truncation")
    page.keyboard.press("Home")
    now = changed(page, before)
    assert "truncation=0.05" in page.url
    other = browser.new_page()
    other.goto(page.url)
    assert drawn(other) == now
    other.close()


@pytest.fixture(scope="module")
def stylegan2(tmp_path_factory):
    """The folder of a small StyleGAN2 of 3 classes without noise, so that w alone makes a picture."""
    c = configs.base("stylegan2")
    small = {
        "image_shape": (8, 8, 1),
        "channel_base": 64,
        "channel_max": 8,
        "dim_z": 6,
        "dim_w": 5,
        "mapping_layers": 2,
    }
    for name, value in {**small, "num_classes": 3, "noise": False}.items():
        c.model[name] = value
    c.batch_size = 8
    return untrained_run(tmp_path_factory.mktemp("style"), c)


def test_psi_of_stylegan2_goes_from_the_mean_to_w(stylegan2, browser):
    command = started(stylegan2, "--port=0")
    page = browser.new_page()
    try:
        page.goto(command.stdout.readline().split()[4])
        before = drawn(page)
        assert page.get_attribute("#truncation", "min") == "0"
        page.focus("#truncation")
        page.keyboard.press("Home")
        at_the_mean = changed(page, before)
        assert len(set(before)) == 8 and len(set(at_the_mean)) == 1
        assert "truncation=0" in page.url
        page.keyboard.press("End")
        assert changed(page, at_the_mean) == before
    finally:
        page.close()
        command.send_signal(signal.SIGINT)
        _, errors = command.communicate(timeout=60)
    assert "Traceback" not in errors, errors


def test_a_new_seed_and_another_number_change_the_pictures(page):
    before = drawn(page)
    page.click("#start-new")
    before = changed(page, before)
    page.fill("#num", "5")
    page.keyboard.press("Enter")
    assert len(changed(page, before)) == 5


def test_classes_are_mixed_by_weights(page):
    before = drawn(page)
    page.check("#start-mix")
    page.focus("#start-class")
    page.keyboard.type("otter")
    page.keyboard.press("Enter")
    before = changed(page, before)
    assert "class=0:1,5:1" in page.url
    page.get_by_label("Weight of zebra").focus()
    page.keyboard.press("ArrowLeft")
    changed(page, before)
    assert "class=0:0.95,5:1" in page.url


def test_two_pictures_chosen_are_interpolated_between_and_played(page):
    first = drawn(page)
    page.locator("#pictures button").nth(1).click()
    page.locator("#pictures button").nth(4).click()
    way = changed(page, first)
    assert (way[0], way[-1]) == (first[1], first[4])
    frame = page.get_attribute("#frame", "src")
    page.click("#play")
    until(page, lambda: page.get_attribute("#frame", "src") != frame)
    page.click("#play")
    page.focus("#position")
    page.keyboard.press("End")
    assert page.get_attribute("#frame", "src") == way[-1]
    page.click("#interpolate")
    changed(page, way)
    assert "to_seed" not in page.url


def test_the_view_is_saved_as_png_and_as_npz(page, tmp_path):
    for what in ("png", "npz"):
        with page.expect_download() as download:
            page.click(f"#{what}")
        assert download.value.suggested_filename == f"step0-seed0x8.{what}"
        download.value.save_as(tmp_path / f"shown.{what}")
    assert Image.open(tmp_path / "shown.png").width >= 256
    with np.load(tmp_path / "shown.npz", allow_pickle=False) as arrays:
        _, content = drawn(page)[0].split(",")
        picture = Image.open(io.BytesIO(base64.b64decode(content)))
        np.testing.assert_array_equal(arrays["arr_0"][0], picture)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_its_width_in_light_and_in_dark(page, tmp_path, width, scheme):
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture = np.asarray(Image.open(io.BytesIO(page.screenshot(path=tmp_path / "page.png"))).convert("L"))
    assert (picture[2, 2] > 128) == (scheme == "light")


def test_every_control_has_a_name(page):
    before = drawn(page)
    page.click("#interpolate")
    changed(page, before)
    names = page.eval_on_selector_all(
        "input, button, a, img",
        "all => all.filter(e => e.checkVisibility()).map(e => "
        "e.labels?.[0]?.innerText || e.ariaLabel || e.innerText || e.alt || e.querySelector('img')?.alt || '')",
    )
    assert len(names) > 12
    assert all(name.strip() for name in names)


def test_a_bad_link_says_what_is_wrong_with_it(browser, address):
    page = browser.new_page()
    page.goto(address + "?class=33")
    page.get_by_text("class '33' is unknown; this model has classes 0 to 9").wait_for()
    page.close()


def test_a_port_in_use_is_one_sentence(workdir):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = started(workdir, f"--port={taken.getsockname()[1]}")
        _, errors = command.communicate(timeout=60)
    assert command.returncode == 2
    assert len(errors.strip().splitlines()) == 1
    assert "is not available (Address already in use); give another" in errors
