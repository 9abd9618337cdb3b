"""The notebooks as pages in a real browser, where axe-core looks for what keeps people out, in both themes."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CHROMIUM, NOTEBOOKS, SWITCHES, MadeOnce

from lib import notebooks
from lib.course import pages

NAMES = ["index", *(path.stem for path in NOTEBOOKS)]
pytestmark = [pytest.mark.slow(30), pytest.mark.timeout(600)]  # axe reads every line of every page
LOOKS = {"light": ("light", 1200), "dark and narrow": ("dark", 400)}


@pytest.fixture(scope="session")
def folder(made_once: MadeOnce) -> Path:
    def fill(folder: Path) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pages, "PAGES", folder)
            patch.setattr("sys.argv", ["notebooks", "--html"])
            assert notebooks.main() == 0

    return made_once("html", fill)


@pytest.fixture(scope="module")
def browser() -> Iterator:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        yield play.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_needs_nothing_else(name: str, folder: Path) -> None:
    """Neither a script nor a style from elsewhere, nor a page that is not there; and no formula is left as TeX."""
    text = re.sub(r"data:image/\w+;base64,[^\"')]*", "", (folder / f"{name}.html").read_text(encoding="utf-8"))
    assert "<script" not in text and "<link" not in text and "@import" not in text and 'src="http' not in text
    assert all((folder / link).exists() for link in re.findall(r'href="(?!https://|#)([^"]*)"', text))
    assert "No description has been provided" not in text and all(re.findall(r'<img alt="([^"]*)"', text))
    assert not re.search(r"\$[^$\n]+\$", re.sub(r"<(pre|style).*?</\1>", "", text, flags=re.DOTALL))
    assert '<html lang="en">' in text and text.count("<h1") == 1


@pytest.mark.parametrize("look", LOOKS)
def test_a_page_is_open_to_all(look: str, browser, folder: Path) -> None:
    """Nothing serious that axe finds, nothing wider than the window, nothing fetched from elsewhere."""
    from axe_playwright_python.sync_playwright import Axe

    theme, width = LOOKS[look]
    view = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=theme)
    asked: list[str] = []
    view.on("request", lambda request: asked.append(request.url))
    faults = []
    for name in NAMES:
        view.goto((folder / f"{name}.html").as_uri())
        found = Axe().run(view).response["violations"]
        faults += [
            (name, rule["id"], node["target"], node["failureSummary"])
            for rule in found
            if rule["impact"] in ("serious", "critical")
            for node in rule["nodes"]
        ]
        wide = view.evaluate("document.documentElement.scrollWidth")
        faults += [(name, "wide", wide)] if wide > width else []
    assert faults == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    view.close()
