"""`python -m lib.report`: fill the README's table and set report/report.pdf."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import typst

from lib.analysis.readme import fill_readme
from lib.analysis.results import REPORT, SECTIONS, costs, record, results
from lib.support.errors import Parser, UserError, one_line_errors, say
from lib.support.files import ROOT, write_atomically
from lib.training.folder import damaged


def build() -> Path:
    """Set report/report.pdf, which a screen reader can read (PDF/UA-1).

    Equal results and figures give equal bytes: own fonts only, and a fixed date. What typst warns of is shown.
    """
    pdf, options = REPORT / "report.pdf", {"ignore_system_fonts": True, "timestamp": 0, "pdf_standards": ["ua-1"]}
    try:
        content, warnings = typst.compile_with_warnings(REPORT / "report.typ", root=ROOT, format="pdf", **options)
    except typst.TypstError as error:
        for figure in sorted((ROOT / "figures").glob("*.svg")):
            check_figure(figure)  # typst does not name it
        raise UserError(f"report/report.typ: {error}; are all notebooks executed?") from None
    for warning in warnings:
        say(f"report/report.typ: {warning.message}")
    write_atomically(pdf, content)
    return pdf


def check_figure(path: Path) -> None:
    """Raises UserError if an SVG was cut off."""
    try:
        ElementTree.parse(path)
    except ElementTree.ParseError as error:
        raise damaged(path, error, "execute the notebooks again") from None


@one_line_errors
def main() -> int:
    """Fill the README's table and set the PDF."""
    Parser(prog="python -m lib.report", description=main.__doc__, allow_abbrev=False).parse(None)
    if missing := [name for name in SECTIONS if name not in results()]:
        raise UserError(f"report/results.json has no {', '.join(missing)}: execute the notebooks first")
    record("experiments", costs())
    fill_readme()
    print(build().relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
