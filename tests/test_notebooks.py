"""The product's own batch path: every notebook through papermill from the root, and the report from what they write."""

import hashlib
from pathlib import Path

import matplotlib
import pytest
from conftest import NOTEBOOKS, ROOT, execute

from lib import report

pytestmark = pytest.mark.xdist_group("notebooks")  # one after the other: they write the same figures


def hashes() -> dict[str, str]:
    files = [*(ROOT / "figures").glob("*.svg"), ROOT / "report" / "results.json", *(ROOT / "report/splits").iterdir()]
    return {str(path.relative_to(ROOT)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pinned() -> bool:
    """Whether the figures were made with this version of matplotlib; others draw other bytes."""
    return f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_from_the_root_redraws_the_same_figures(path: Path, tmp_path: Path) -> None:
    before = hashes()
    execute(path, tmp_path / path.name, cwd=ROOT)
    if pinned():
        assert hashes() == before


def test_report_is_set_from_the_results_and_always_the_same() -> None:
    committed = (ROOT / "report" / "report.pdf").read_bytes()
    first = report.build().read_bytes()
    assert first.startswith(b"%PDF") and first == report.build().read_bytes()
    if pinned():
        assert first == committed
