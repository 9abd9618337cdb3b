"""The widgets in a real browser: Voila serves notebook 04 as a page, and Chromium, without a window, clicks on it."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import nbformat
import pytest
from conftest import CHROMIUM, SWITCHES, copy_of_project
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here; on Debian: apt-get install chromium"),
    pytest.mark.slow(30),
    pytest.mark.timeout(600),  # the page takes a while to come
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where notebook 04 is served, with a short live run."""
    copy = copy_of_project(tmp_path_factory.mktemp("served") / "project") / "notebooks" / "04_grokking.ipynb"
    nbformat.write(parameterize_notebook(load_notebook_node(str(copy)), {"live_steps": 20}), copy)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-m", "voila", str(copy), "--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    with open(copy.with_suffix(".log"), "w") as log:
        server = subprocess.Popen(argv, cwd=copy.parent, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while not listens(port):
            assert server.poll() is None and time.monotonic() < end, copy.with_suffix(".log").read_text()
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def page(address: str) -> Iterator:
    """The page with all widgets on it, and afterwards no complaint of the browser's but for what is not to be had."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())  # fonts from elsewhere
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(address, timeout=240_000)
        page.get_by_role("button", name="ask").wait_for(timeout=240_000)
        yield page
        browser.close()
    # nbgrader brings extensions for JupyterLab, which fail in a page of Voila
    known = ("net::ERR_FAILED", "hared module")
    assert not [text for text in complaints if not any(name in text for name in known)], complaints


def test_ask_scrub_and_train(page) -> None:
    """One test, because the page takes a while to come."""
    picture = ".widget-html img"

    def panel(control):  # the innermost box with this control: a widget of ours
        return page.locator(".widget-vbox", has=control).last

    asking = panel(page.get_by_role("button", name="ask"))
    a, b = (asking.locator("input[type=number]").nth(place) for place in (0, 1))
    for field, value in ((a, 12), (b, 7)):
        field.fill(str(value))
        field.press("Enter")
    right = 12 * pow(7, -1, 97) % 97
    asking.get_by_text(f"12/7={right}").wait_for()
    assert "right" in asking.locator("code").inner_text()
    before = asking.locator(picture).get_attribute("src")
    prompt = asking.locator("input[type=text]")
    prompt.fill("12/0=")
    prompt.press("Enter")
    asking.get_by_text("nothing can be divided by 0").wait_for()
    asking.locator(picture).wait_for(state="hidden")
    prompt.fill("13/5=")
    asking.get_by_role("button", name="ask").click()
    asking.get_by_text("13/5=22").wait_for()
    asking.locator(picture).wait_for()
    assert asking.locator(picture).get_attribute("src") != before

    scrubbing = panel(page.locator(".widget-play"))
    first = scrubbing.locator(picture).get_attribute("src")
    scrubbing.get_by_text("step 20", exact=True).wait_for()
    handle = scrubbing.locator(".noUi-handle")
    handle.scroll_into_view_if_needed()
    box, track = handle.bounding_box(), scrubbing.locator(".noUi-target").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    scrubbing.get_by_text("step 20", exact=True).wait_for(state="detached")
    assert scrubbing.locator(picture).get_attribute("src") != first

    page.get_by_role("button", name="train").click()
    page.get_by_text(re.compile("training … step [1-9]")).wait_for(timeout=60_000)
    page.get_by_role("button", name="stop").click()
    page.get_by_role("button", name="go on").wait_for(timeout=60_000)
    page.get_by_text("stopped at step").wait_for()
