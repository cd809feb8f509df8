"""The page in a real browser: the way of a person through it, step by step.

They need Chromium on the path, and Playwright; without one of them they are skipped.
"""

import dataclasses
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from PIL import Image, ImageCms

from dear_jax import bundled
from dear_jax.cli.main import main
from dear_jax.images.io import read_image, write_image

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the path"),
]
DESK = {"viewport": {"width": 1440, "height": 900}}
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
WAIT = 120_000  # Milliseconds; machines may be slow.


class Served:
    """`dear serve` in a process of its own."""

    def __init__(self, folder: Path):
        self.folder, self.address = folder, ""
        self.start(0)

    def start(self, port: int) -> None:
        command = [sys.executable, "-m", "dear_jax", "serve", "--port", str(port)]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.folder)},
        )
        assert self.process.stdout
        said = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found, said
        self.address, self.port = found[0], int(found[1])

    def stop(self, how: int = signal.SIGINT) -> int:
        self.process.send_signal(how)
        return self.process.wait(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("served"))
    yield served
    assert served.stop() == 0
    assert list(served.folder.glob("dear-serve-*")) == []


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, served):
    """A function (options of the browser's context) -> a page of a new visitor.

    No request may leave the machine, and nothing may go wrong on the page.
    """
    wrong, contexts = [], []

    def open_page(**options):
        context = browser.new_context(**{**DESK, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda m: m.type == "error" and wrong.append(m.text))
        page.on("request", lambda r: left_here(r.url) or wrong.append(r.url))
        page.goto(served.address)
        ready(page)
        return page

    def left_here(url: str) -> bool:
        return url.startswith((served.address, "blob:", "data:"))

    open_page.wrong = wrong
    yield open_page
    for context in contexts:
        context.close()
    assert not wrong


def until(page, expression: str) -> None:
    """Waits until it is true on the page, whose CSP keeps Playwright's own way out."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(50)


def ready(page) -> None:
    until(page, "window.dearPage !== undefined")
    page.evaluate("dearPage.ready()")


def sharp(page) -> None:
    """Waits until what is looked at is drawn as sharp as it is."""
    until(page, "dearPage.viewer.settled")


def add(page, path: Path) -> None:
    page.set_input_files("#choose", path)
    page.wait_for_selector("#desk[data-state=open]")
    ready(page)


def marks(page, size: tuple[int, int]) -> np.ndarray:
    return np.array(page.evaluate("Array.from(dearPage.mask())")).reshape(size) > 0


def draw(page, *points: tuple[float, float]) -> None:
    """A stroke with the mouse, through pixels (x, y) of the photo."""
    places = [page.evaluate(f"dearPage.viewer.toScreen({x}, {y})") for x, y in points]
    page.mouse.move(places[0]["x"], places[0]["y"])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(place["x"], place["y"], steps=6)
    page.mouse.up()


def restore(page, choice: str | None = None) -> None:
    if choice:
        page.check(f"#size-choice input[value='{choice}']")
    page.click("#restore:enabled")
    page.wait_for_selector("#compare:visible")
    ready(page)


def saved(page, button: str, path: Path) -> Path:
    with page.expect_download() as download:
        page.click(button)
    to = path / download.value.suggested_filename
    download.value.save_as(to)
    return to


def check_accessible(page) -> None:
    axe = files("axe_playwright_python").joinpath("axe.min.js").read_text()
    page.evaluate(axe + ";0")
    # While a colour changes, its contrast is neither the old one's nor the new one's.
    still = "document.getAnimations().every((a) => !(a instanceof CSSTransition))"
    until(page, still)
    found = page.evaluate("axe.run()")["violations"]
    assert not [(v["id"], [n["html"] for n in v["nodes"]]) for v in found]


def a_photo(tmp_path: Path, kind: str) -> Path:
    """A small photo with what files may have."""
    image = Image.open(bundled.PHOTOS / "cat.png").convert("RGB").resize((96, 72))
    path = tmp_path / kind
    if kind.endswith(".jpg"):
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "A camera"
        profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        image.save(path, exif=exif, quality=90, dpi=(300, 300), icc_profile=profile)
    elif kind == "deep.png":
        plain = tmp_path / "plain.png"
        image.save(plain)
        file = read_image(plain)
        deep = (file.pixels.astype(np.uint16) * 257 + 13).clip(0, 65535)
        write_image(path, dataclasses.replace(file, pixels=deep))
    else:
        image.save(path)
    return path


@pytest.mark.parametrize("kind", ["cat.png", "deep.png", "turned.jpg", "cat.tif"])
def test_what_is_saved_is_what_the_command_makes_of_the_saved_mask(
    opened, tmp_path, kind
):
    photo = a_photo(tmp_path, kind)
    height, width = read_image(photo).size
    page = opened()
    add(page, photo)
    draw(page, (10, 10), (30, 40), (50, 20))
    restore(page, "2")
    file = saved(page, "#save-photo", tmp_path)
    mask = saved(page, "#save-mask", tmp_path)
    assert Image.open(mask).size == (width, height)
    assert file.name == f"{photo.stem}-restored{photo.suffix}"
    out = tmp_path / "out" / file.name
    given = ["restore", str(photo), "--mask", str(mask), "--scale", "2"]
    assert main([*given, "-o", str(out)]) == 0
    assert out.read_bytes() == file.read_bytes()
    assert saved(page, "#save-both", tmp_path).stat().st_size > 1000


def test_marks_survive_zoom_undo_and_reload(opened, tmp_path):
    page = opened()
    add(page, a_photo(tmp_path, "cat.png"))
    draw(page, (10, 10), (40, 30))
    one = marks(page, (72, 96))
    assert one[10, 10] and not one[60, 80]
    place = page.evaluate("dearPage.viewer.toScreen(30, 20)")
    page.mouse.move(place["x"], place["y"])
    page.mouse.wheel(0, -500)
    assert (marks(page, (72, 96)) == one).all()
    draw(page, (25, 15), (28, 25))
    page.click("#zoom-fit")
    page.click("#rectangle")
    draw(page, (60, 40), (80, 60))
    page.click("#lasso")
    draw(page, (10, 50), (30, 50), (20, 68), (10, 52))
    page.click("#eraser")
    draw(page, (70, 38), (70, 64))
    all_of_it = marks(page, (72, 96))
    assert all_of_it[50, 65] and not all_of_it[50, 70] and all_of_it[55, 20]
    for _ in range(5):
        page.keyboard.press("Control+z")
    assert not marks(page, (72, 96)).any()
    for _ in range(5):
        page.keyboard.press("Control+Shift+Z")
    assert (marks(page, (72, 96)) == all_of_it).all()
    page.reload()
    ready(page)
    assert (marks(page, (72, 96)) == all_of_it).all()
    mask = saved(page, "#save-marks", tmp_path)
    page.click("#clear")
    assert not marks(page, (72, 96)).any()
    page.set_input_files("#load-marks", mask)
    until(page, "dearPage.mask().some((v) => v > 0)")
    assert (marks(page, (72, 96)) == all_of_it).all()


def test_damage_that_is_found_can_be_edited(opened, tmp_path):
    image = np.asarray(Image.open(bundled.PHOTOS / "cat.png").convert("RGB")).copy()
    image[100:103, 20:230] = 250
    Image.fromarray(image).save(tmp_path / "scratched.png")
    page = opened()
    add(page, tmp_path / "scratched.png")
    page.click("#find")
    until(page, "dearPage.mask().some((v) => v > 0)")
    found = marks(page, (256, 256))
    assert found[101, 20:230].mean() > 0.5
    page.click("#eraser")
    x = int(np.flatnonzero(found[101])[0])
    draw(page, (x, 90), (x, 112))
    assert not marks(page, (256, 256))[101, x]


def test_zoom_has_no_end_and_windows_are_the_whole(opened, tmp_path, served):
    page = opened()
    add(page, a_photo(tmp_path, "cat.png"))
    draw(page, (10, 10), (40, 30))
    asked = []
    page.on("response", lambda r: "result/picture" in r.url and asked.append(r.url))
    restore(page, "2")
    place = page.evaluate("dearPage.viewer.toScreen(50, 36)")
    page.mouse.move(place["x"], place["y"])
    for _ in range(6):
        zoom = page.evaluate("dearPage.viewer.zoom")
        page.mouse.wheel(0, -300)
        until(page, f"dearPage.viewer.zoom > {zoom}")
    assert page.evaluate("dearPage.viewer.zoom") > 8
    sharp(page)
    deepest = max(asked, key=lambda url: float(density(url)))
    assert density(deepest) > 4  # More than the result has.
    assert page.request.get(deepest).status == 200
    # Of what a movement brings into view only that is asked for.
    before = len(asked)
    page.focus("#stage")
    place = page.evaluate("dearPage.viewer.toScreen(50, 36)")
    page.keyboard.down(" ")
    page.mouse.move(place["x"], place["y"])
    page.mouse.down()
    page.mouse.move(place["x"] + 60, place["y"], steps=3)
    page.mouse.up()
    page.keyboard.up(" ")
    sharp(page)
    strips = [url for url in asked[before:] if density(url) > 4]
    assert strips and all(width_of(url) < 200 for url in strips)
    page.click("#zoom-fit")
    page.keyboard.down("b")
    assert page.evaluate("dearPage.viewer.original")
    page.keyboard.up("b")
    page.focus("#compare")
    before = int(page.get_attribute("#compare", "aria-valuenow"))
    page.keyboard.press("ArrowRight")
    assert int(page.get_attribute("#compare", "aria-valuenow")) > before


def width_of(url: str) -> int:
    return int(parse_qs(urlsplit(url).query)["width"][0])


def density(url: str) -> float:
    """Pixels of a picture that is asked for to one of the photo."""
    query = parse_qs(urlsplit(url).query)
    if "window" not in query:
        return 0.0
    top, _, bottom, _ = map(float, query["window"][0].split(","))
    return float(query["height"][0]) / (bottom - top)


def test_a_job_goes_on_when_the_page_is_loaded_again_and_can_be_cancelled(
    opened, tmp_path
):
    image = Image.open(bundled.PHOTOS / "coffee.png").convert("RGB").resize((700, 500))
    image.save(tmp_path / "coffee.png")
    page = opened()
    add(page, tmp_path / "coffee.png")
    draw(page, (100, 100), (300, 200))
    drawn = marks(page, (500, 700))
    page.check("#size-choice input[value='4']")
    page.click("#restore:enabled")
    page.wait_for_selector("#cancel:visible")
    page.click("#cancel")
    page.wait_for_selector("#restore:visible")
    assert (marks(page, (500, 700)) == drawn).all()
    assert not page.is_visible("#compare")
    page.click("#restore:enabled")
    page.wait_for_selector("#cancel:visible")
    page.reload()
    ready(page)
    page.wait_for_selector("#compare:visible")


def test_two_people_do_not_see_each_other(opened, tmp_path):
    one, two = opened(), opened()
    add(one, a_photo(tmp_path, "cat.png"))
    add(two, a_photo(tmp_path, "cat.tif"))
    for page in (one, two):
        draw(page, (10, 10), (40, 30))
        page.click("#restore:enabled")
    for page in (one, two):
        page.wait_for_selector("#compare:visible")
        assert page.locator("#strip li").count() == 1


def test_several_photos_are_one_archive_and_one_that_fails_stops_none(opened, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    good = [a_photo(tmp_path, "cat.png"), a_photo(tmp_path, "turned.jpg")]
    page = opened()
    page.set_input_files("#choose", [good[0], bad, good[1]])
    until(page, "document.querySelectorAll('#strip li').length === 3")
    ready(page)
    page.click("#restore-all:enabled")
    until(page, "document.querySelectorAll('#strip [data-state=done]').length === 2")
    page.wait_for_timeout(500)
    archive = saved(page, "#zip", tmp_path)
    import zipfile

    names = zipfile.ZipFile(archive).namelist()
    assert sorted(names) == ["cat-restored.png", "turned-restored.jpg"]
    # The browser logs the refused upload itself.
    opened.wrong[:] = [line for line in opened.wrong if "422" not in line]


def test_a_phone_can_do_it_all_by_touch(opened, tmp_path):
    page = opened(**PHONE)
    add(page, a_photo(tmp_path, "turned.jpg"))
    size = 96, 72
    session = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        there = [
            page.evaluate(f"dearPage.viewer.toScreen({x}, {y})") for x, y in points
        ]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": there})

    touch("touchStart", (10, 10))
    for step in range(1, 9):
        touch("touchMove", (10 + 4 * step, 10 + 5 * step))
    touch("touchEnd")
    drawn = marks(page, size)
    assert drawn[15, 14] and not drawn[90, 60]
    zoom = page.evaluate("dearPage.viewer.zoom")
    touch("touchStart", (30, 40), (40, 50))
    for step in range(1, 6):
        touch("touchMove", (30 - step, 40 - step), (40 + step, 50 + step))
    touch("touchEnd")
    assert page.evaluate("dearPage.viewer.zoom") > zoom
    assert (marks(page, size) == drawn).all()
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 390
    restore(page, "2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_it(opened, tmp_path, scheme):
    page = opened(color_scheme=scheme, bypass_csp=True)
    check_accessible(page)
    add(page, a_photo(tmp_path, "cat.png"))
    draw(page, (10, 10), (40, 30))
    check_accessible(page)
    restore(page, "2")
    check_accessible(page)


def test_the_keyboard_alone_suffices(opened, tmp_path):
    page = opened()
    add(page, a_photo(tmp_path, "cat.png"))
    page.mouse.move(3, 3)
    page.focus("#stage")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    for _ in range(4):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Enter")
    assert marks(page, (72, 96)).any()
    page.focus("#restore")
    page.keyboard.press("Enter")
    page.wait_for_selector("#compare:visible")


def test_a_server_that_was_killed_leaves_the_marks_on_the_page(
    browser, tmp_path_factory, tmp_path
):
    served = Served(tmp_path_factory.mktemp("killed"))
    context = browser.new_context(**DESK)
    page = context.new_page()
    page.goto(served.address)
    ready(page)
    add(page, a_photo(tmp_path, "cat.png"))
    draw(page, (10, 10), (40, 30))
    drawn = marks(page, (72, 96))
    served.stop(signal.SIGKILL)
    assert list(served.folder.glob("dear-serve-*"))
    draw(page, (60, 40), (80, 60))
    page.wait_for_selector("#banner:visible", timeout=WAIT)
    assert "dear serve" in page.inner_text("#banner")
    assert (marks(page, (72, 96)) & drawn == drawn).all()
    served.start(served.port)
    page.wait_for_selector("#banner", state="hidden", timeout=WAIT)
    assert len(list(served.folder.glob("dear-serve-*"))) == 1
    context.close()
    assert served.stop(signal.SIGTERM) in (0, -signal.SIGTERM)


def test_the_documentation_of_the_api_needs_nothing_from_elsewhere(opened, served):
    page = opened()
    page.goto(served.address + "docs")
    page.get_by_text("POST /api/photos/{key}/restore").wait_for()


def test_the_readmes_curl_restores_a_photo(served, tmp_path):
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    (script,) = re.findall(r"```sh\n(at=http.*?)```", readme, re.DOTALL)
    a_photo(tmp_path, "old.jpg")
    mask = np.zeros((96, 72), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    script = script.replace("http://127.0.0.1:8642/", served.address)
    subprocess.run(["bash", "-ec", script], cwd=tmp_path, check=True, timeout=120)
    assert Image.open(tmp_path / "new.jpg").size == (144, 192)
