"""The command that waits for a GPU, on a CPU in toy sizes."""

import csv
import zipfile
from collections import Counter
from pathlib import Path

import pytest

from bench import gpu
from lib.language import corpora


@pytest.mark.slow(15)
def test_every_row_runs_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    command = ["--toy", "--device", "cpu", "--minutes", "5", "--out", str(tmp_path / "out")]
    assert gpu.main(command) == 0
    table = tmp_path / "out" / "gpu.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    told = capsys.readouterr().out
    assert told.count(": tokens/s: ") == 12 + 2 * (7 + 1) + 5, told
    assert {row["row"] for row in rows} >= {"1", "2", "3", "4", "5", "6", "account"}
    with zipfile.ZipFile(tmp_path / "out" / "runs.zip") as archive:
        kept = Counter(Path(name).parts[0] for name in archive.namelist() if name.endswith("summary.json"))
    wanted = {
        "lstm_vs_gpt_paper": 12,
        "gpt2_medium": 1,
        "gpt2_large": 1,
        "tinystories_paper": 5,
        "recipe": 2,
        "stack": 4,
    }
    assert kept.items() >= wanted.items()

    assert gpu.main(command) == 0  # again: nothing is left to do
    assert list(csv.DictReader(table.read_text().splitlines())) == rows
