"""What was measured on a GPU, as bench/gpu.py writes it down."""

from pathlib import Path

import pytest

from bench.timed import Record
from lib.analysis import gpu
from lib.support.errors import UserError


def test_what_the_bench_writes_down_is_shown_and_the_rest_is_said_not_to_have_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record(tmp_path, "cpu")
    record.add("2", "ratio", 12.5, "x")
    record.add("2", "alone", None, "s")
    told = gpu.measured(record.table)
    assert told["2"][0] == {"what": "ratio", "value": "12.5", "unit": "x", "device": "cpu"}
    assert [row for row, lines in told.items() if lines] == ["2"] and told["2"][1]["value"] == "?"
    monkeypatch.setattr(gpu, "measured", lambda: told)
    lines = gpu.table("1", "2").data.splitlines()[2:]
    assert lines[0].endswith("| not run | – |") and lines[1].endswith(": ratio | 12.5 x | cpu |") and len(lines) == 3


def test_a_damaged_table_is_one_line(tmp_path: Path) -> None:
    assert not any(gpu.measured(tmp_path / "none.csv").values())
    for damaged in (
        "row,what\n1,x\n",
        "row,what,value,unit,device\n9,x,1,s,cpu\n",
        "row,what,value,unit,device\n1,x\n",
    ):
        (tmp_path / "gpu.csv").write_text(damaged)
        with pytest.raises(UserError, match=r"gpu.csv, line 2: damaged; must have a row of \['1', "):
            gpu.measured(tmp_path / "gpu.csv")


def test_every_row_of_the_bench_has_a_name() -> None:
    from bench.gpu import NAMES

    assert list(gpu.ROWS) == NAMES
