"""The report, set from the results."""

import json
from pathlib import Path

import pytest
import typst
from conftest import ROOT, pinned

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


def test_the_report_rounds_as_python_does(tmp_path: Path) -> None:
    values = [(0.5, 0), (1.5, 0), (392.5, 0), (0.125, 2), (0.375, 2), (2.25, 1), (3.275457, 2), (1020.4, 0), (7.0, 1)]
    asked = ", ".join(f"fixed({x!r}, {digits})" for x, digits in values)
    (tmp_path / "style.typ").write_text((ROOT / "report" / "style.typ").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "a.typ").write_text(f'#import "style.typ": *\n#metadata(({asked}))<told>')
    told = json.loads(typst.query(tmp_path / "a.typ", "<told>", field="value", one=True))
    assert told == [f"{x:.{digits}f}" for x, digits in values]
