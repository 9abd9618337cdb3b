"""The report, set from the results."""

from pathlib import Path

import pytest
from conftest import ROOT, pinned

from lib import report
from lib.support.errors import UserError


def test_report_is_set_from_the_results_and_always_the_same() -> None:
    committed = (ROOT / "report" / "report.pdf").read_bytes()
    first = report.build().read_bytes()
    assert first.startswith(b"%PDF") and first == report.build().read_bytes()
    if pinned():
        assert first == committed


def test_a_figure_that_was_cut_off_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROOT", tmp_path)
    monkeypatch.setattr(report, "REPORT", tmp_path)
    (tmp_path / "report.typ").write_text('#image("figures/a.svg")')
    (tmp_path / "figures").mkdir()
    whole = (ROOT / "figures" / "gpt2_nan.svg").read_bytes()
    for size in (0, 100, len(whole) // 2):
        (tmp_path / "figures" / "a.svg").write_bytes(whole[:size])
        with pytest.raises(UserError, match=r"figures/a\.svg: damaged \(.*\); restore it, or execute the notebooks"):
            report.build()
    (tmp_path / "figures" / "a.svg").write_bytes(whole)
    report.build()
