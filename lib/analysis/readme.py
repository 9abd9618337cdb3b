"""The README's table of results, filled from results.json by report/results.md.jinja, and its picture's words."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import jinja2

from lib.analysis.cells import interval
from lib.analysis.comparison import ranged
from lib.analysis.results import REPORT, results
from lib.analysis.statistics import at_least
from lib.support.errors import UserError
from lib.support.files import ROOT, write_atomically

README = ROOT / "README.md"


def results_table(results: dict[str, Any]) -> str:
    """A row per result, each with the command that repeats it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    environment.filters |= {"interval": lambda values: interval(*values), "ranged": ranged}
    environment.filters |= {"median_with_range": median_with_range, "best_of": best_of, "at_least": at_least}
    template = (REPORT / "results.md.jinja").read_text(encoding="utf-8")
    return environment.from_string(template, globals={"tuple": tuple}).render(results)


def median_with_range(runs: dict[str, Any], key: str) -> str:
    """ "400 (390–480)": Kaplan-Meier median and range, which is open where a run did not get there."""
    middle, values = runs["medians"][key], [run[key] for run in runs["runs"]]
    if middle is None:
        return f"not reached within {runs['runs'][0]['steps']:,}"
    if len(values) == 1:
        return f"{middle:,.0f}"
    reached = [value for value in values if value is not None]
    top = f"{max(reached):,}" if len(reached) == len(values) else "not reached"
    return f"{middle:,.0f} ({min(reached):,}–{top})"


def best_of(cells: dict[str, Any], numbers: Iterable[str]) -> str:
    """The test perplexity of the cell that the validation split prefers."""
    return ranged(min((cells[number] for number in numbers), key=lambda cell: cell["val_loss"][0])["test_ppl"])


def fill_readme() -> None:
    """Put the table of results into the README, and the words of its picture."""
    picture = f"![{words_of(ROOT / 'figures' / 'grokking.svg')}](figures/grokking.svg)"
    for mark, content in (("picture", picture), ("results", results_table(results()))):
        write_atomically(README, filled(README, mark, content + "\n"))


def words_of(picture: Path) -> str:
    """What an SVG of ours shows: its title."""
    return ElementTree.parse(picture).findtext("{http://www.w3.org/2000/svg}title", "")


def filled(path: Path, mark: str, content: str) -> str:
    """The text of a file with `content` between two marks. Raises UserError if the file has lost one."""
    before, begin, rest = path.read_text(encoding="utf-8").partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- end of {mark} -->\n")
    if not (begin and end):
        raise UserError(f"{path}: has lost a mark, <!-- {mark} --> or <!-- end of {mark} -->")
    return before + begin + content + end + after
