"""What the experiments cost, and the README's table, which tells nothing that results.json does not."""

import csv
import io
import json
from pathlib import Path
from zipfile import ZipFile

import pytest
from conftest import ROOT

from lib.analysis import readme
from lib.analysis.results import costs, results
from lib.experiments.catalogue import STORED
from lib.support.errors import UserError

RESULTS = results()
GROKKING = ROOT / "figures" / "grokking.svg"
MARKS = ("<!-- results -->\n", "<!-- end of results -->\n")
PICTURE = ("<!-- picture -->\n", "<!-- end of picture -->\n")


def test_costs_are_those_of_the_stored_runs() -> None:
    """Against the files themselves, opened without the library; and the committed results have the same."""
    told = {cost.pop("name"): cost for cost in costs()}
    assert list(told) == list(STORED)
    for name in ("grokking", "recipe"):  # folders; and an archive
        contents = {
            f"{path.parent.name}/{path.name}": path.read_bytes() for path in ROOT.glob(f"checkpoints/{name}/*/*.*")
        }
        if (archive := ROOT / "checkpoints" / f"{name}.zip").exists():
            with ZipFile(archive) as outer, ZipFile(io.BytesIO(outer.read("all.zip"))) as opened:
                contents |= {entry: opened.read(entry) for entry in opened.namelist()}
        ends, seconds, seeds = [], [], []
        for path, content in contents.items():
            if path.endswith("/metrics.csv"):
                *_, last = csv.DictReader(io.StringIO(content.decode()))
                ends.append(int(last["step"]))
            elif path.endswith("/summary.json"):
                seconds.append(json.loads(content)["seconds"])
            elif path.endswith("/config.json"):
                seeds.append(json.loads(content)["seed"])
        assert (told[name]["runs"], told[name]["seeds"], told[name]["steps"]) == (len(ends), len(set(seeds)), sum(ends))
        assert told[name]["minutes"] == pytest.approx(sum(seconds) / 60)
    assert {cost["name"]: {key: cost[key] for key in cost if key != "name"} for cost in RESULTS["experiments"]} == told


def test_the_readmes_table_is_what_the_results_give() -> None:
    _, table = (ROOT / "README.md").read_text(encoding="utf-8").split(MARKS[0])
    assert table.partition(MARKS[1])[0] == readme.results_table(RESULTS) + "\n"


def test_the_readmes_picture_has_the_words_of_the_figure() -> None:
    assert f"![{readme.words_of(GROKKING)}](figures/grokking.svg)\n" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_table_and_picture_are_put_between_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readme, "README", tmp_path / "README.md")
    path = tmp_path / "README.md"
    above = f"above\n{PICTURE[0]}![{readme.words_of(GROKKING)}](figures/grokking.svg)\n{PICTURE[1]}"
    path.write_text(f"above\n{PICTURE[0]}{PICTURE[1]}{MARKS[0]}an old table\n{MARKS[1]}below\n", encoding="utf-8")
    for _ in range(2):  # the second time it stays
        readme.fill_readme()
        assert path.read_text(encoding="utf-8") == (
            f"{above}{MARKS[0]}{readme.results_table(RESULTS)}\n{MARKS[1]}below\n"
        )
    for lost, name in zip((*PICTURE, *MARKS), ("picture", "picture", "results", "results"), strict=True):
        path.write_text("".join(mark for mark in (*PICTURE, *MARKS) if mark != lost), encoding="utf-8")
        with pytest.raises(UserError, match=rf"README\.md: has lost a mark, <!-- {name} --> or"):
            readme.fill_readme()


def test_a_number_that_changes_changes_the_table_and_one_that_is_missing_is_an_error() -> None:
    changed = json.loads(json.dumps(RESULTS))
    changed["sanity"]["exact_of_100"] = 99
    table, other = readme.results_table(RESULTS), readme.results_table(changed)
    differing = [(a, b) for a, b in zip(table.splitlines(), other.splitlines(), strict=True) if a != b]
    assert [(a.replace("100 of 100", "99 of 100")) for a, _ in differing] == [b for _, b in differing]
    assert len(differing) == 1
    del changed["sanity"]["exact_of_100"]
    with pytest.raises(Exception, match="exact_of_100"):
        readme.results_table(changed)


def test_medians_are_open_where_runs_do_not_get_there() -> None:
    def told(*steps: int | None, median: float | None) -> str:
        runs = [{"t_grok": step, "steps": 3000} for step in steps]
        return readme.median_with_range({"medians": {"t_grok": median}, "runs": runs}, "t_grok")

    assert told(390, 400, 1480, median=400) == "400 (390–1,480)"
    assert told(390, 1400, None, median=1400) == "1,400 (390–not reached)"
    assert told(None, None, 390, median=None) == "not reached within 3,000"
    assert told(390, median=390) == "390"
