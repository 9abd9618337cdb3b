"""The report, set from the results."""

import json
from pathlib import Path
from shutil import copy

import pytest
import typst
from conftest import ROOT, pinned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import report
from lib.support.errors import UserError


def test_report_is_set_from_the_results_and_always_the_same(capfd: pytest.CaptureFixture[str]) -> None:
    committed = (ROOT / "report" / "report.pdf").read_bytes()
    first = report.build().read_bytes()
    assert b"pdfuaid:part" in first and b"/StructTreeRoot" in first
    assert capfd.readouterr().err == ""  # no warning
    assert first.startswith(b"%PDF") and first == report.build().read_bytes()
    if pinned():
        assert first == committed


@given(st.lists(st.integers(0, 80_000), min_size=1, max_size=50), st.sampled_from((1, 2, 4, 8)))
@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_halves_are_rounded_as_python_rounds_them(tmp_path: Path, numbers: list[int], parts: int) -> None:
    values = [number / parts for number in numbers]
    copy(ROOT / "report" / "style.typ", tmp_path)
    (tmp_path / "results.json").write_text("{}")
    told = "#metadata((" + "".join(f"(fixed({x}, 0), fixed({x}, 1), fixed({x}, 2))," for x in values) + ")) <told>"
    (tmp_path / "main.typ").write_text('#import "style.typ": *\n' + told)
    found = json.loads(typst.query(tmp_path / "main.typ", "<told>", field="value", one=True))
    wanted = [[f"{x:.{digits}f}" for digits in range(3)] for x in values]
    assert found == wanted


def test_a_figure_that_was_cut_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "REPORT", tmp_path)
    (tmp_path / "report.typ").write_text('#set document(title: "t")\n#image("figures/a.svg", alt: "a")')
    (tmp_path / "figures").mkdir()
    whole = (ROOT / "figures" / "gpt2_nan.svg").read_bytes()
    for size in (0, 100, len(whole) // 2):
        (tmp_path / "figures" / "a.svg").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"figures/a\.svg: damaged \(.*\); restore it, or execute the notebooks"):
            report.build()
    (tmp_path / "figures" / "a.svg").write_bytes(whole)
    report.build()
