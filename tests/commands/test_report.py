"""The report, set from the results."""

from conftest import ROOT, pinned

from lib import report


def test_report_is_set_from_the_results_and_always_the_same() -> None:
    committed = (ROOT / "report" / "report.pdf").read_bytes()
    first = report.build().read_bytes()
    assert first.startswith(b"%PDF") and first == report.build().read_bytes()
    if pinned():
        assert first == committed
