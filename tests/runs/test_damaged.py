"""Files of ours that were cut off: each is named in one line that says what to do, and nothing is half read."""

import builtins
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Stop, stop_at

from lib.analysis import inside, results
from lib.config import RunConfig
from lib.runs import archive
from lib.runs.run import Run
from lib.runs.stored import find
from lib.support.errors import UserError
from lib.training import state
from lib.training.trainer import train
from lib.training.weights import load_weights

KEPT = {"train.keep_answers": True, "train.keep_weights": True, "train.max_steps": 30, "data.operation": "/"}


def told(read: Callable[[], object], path: Path) -> None:
    """Reading must fail in one line that names the file and says what to do."""
    with pytest.raises(UserError) as error:
        read()
    assert str(error.value).startswith(f"{path}: damaged (") and "; restore it, or " in str(error.value)
    assert "\n" not in str(error.value)


def cut(path: Path) -> Iterator[int]:
    """The file with so many of its bytes, one length after the other; afterwards as it was."""
    whole = path.read_bytes()
    for size in (0, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:size])
        yield size
    path.write_bytes(whole)


def read_all(path: Path) -> None:
    run = Run(path)
    if run.config.train.prompt:
        assert list(run.samples) == run.metrics["step"].tolist()
    else:
        assert run.answers["step"].tolist() == [10, 20, 30] == list(run.snapshots)
    for weights in (path, *(run.snapshots.values() if run.config.train.keep_weights else ())):
        load_weights(weights)


def test_each_file_of_a_run_that_was_cut_off_is_named(tiny: RunConfig, story: RunConfig, tmp_path: Path) -> None:
    train(tiny.override(KEPT), tmp_path / "answers")
    train(story.override({"train.prompt": "the cat", "train.max_steps": 4}), tmp_path / "samples")
    for folder in (tmp_path / "answers", tmp_path / "samples"):
        read_all(folder)
        files = [path for path in folder.rglob("*") if path.is_file() and path.name not in ("env.json", "train.log")]
        assert len(files) > 4
        for path in files:
            for _ in cut(path):
                told(lambda: read_all(folder), path)  # noqa: B023  called at once
        read_all(folder)


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied", "path"), MemoryError()])
def test_a_file_that_cannot_be_read_is_not_called_damaged(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Else the message advises to delete what is whole."""
    with pytest.raises(Stop):
        train(tiny.override(KEPT), tmp_path / "begun", show=stop_at(20))
    train(tiny.override(KEPT), tmp_path / "x" / "run")
    run = Run(tmp_path / "x" / "run")
    archive.pack(tmp_path / "x", ["run"])
    train(tiny.override(KEPT), run.path)
    opened = io.open  # pathlib's, and the built-in one
    path = run.path

    def refuse(file: Any, *args: Any, **kwargs: Any) -> Any:
        if str(file) == str(path):
            raise error
        return opened(file, *args, **kwargs)

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", refuse)
    readers: list[tuple[Path, Callable[[], object]]] = [
        (run.path / "summary.json", lambda: Run(run.path)),
        (run.path / "config.json", lambda: Run(run.path)),
        (run.path / "metrics.csv", lambda: Run(run.path)),
        (run.path / "answers.npz", lambda: run.answers),
        (run.path / "model.safetensors", lambda: load_weights(run.path)),
        (tmp_path / "x.zip", lambda: archive.open_archive(tmp_path / "x.zip")),
        (tmp_path / "begun" / "state.pt", lambda: state.read(tmp_path / "begun")),
        (tmp_path / "begun" / "state.pt", lambda: state.read(tmp_path / "begun", mapped=True)),
    ]
    for path, read in readers:  # noqa: B007  `refuse` looks at it
        with pytest.raises(type(error)):
            read()
    path = tmp_path
    for _, read in readers:
        assert read()


def test_a_row_or_an_answer_that_is_missing_is_missed(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny.override(KEPT), tmp_path)
    early = (tmp_path / "answers.npz").read_bytes()
    rows = (tmp_path / "metrics.csv").read_text().splitlines(keepends=True)
    for i in range(len(rows)):
        (tmp_path / "metrics.csv").write_text("".join(rows[:i] + rows[i + 1 :]))
        told(lambda: Run(tmp_path), tmp_path / "metrics.csv")
    (tmp_path / "metrics.csv").write_text("".join(rows))
    train(tiny.override(KEPT | {"train.max_steps": 20}), tmp_path / "shorter")
    (tmp_path / "answers.npz").write_bytes((tmp_path / "shorter" / "answers.npz").read_bytes())
    told(lambda: Run(tmp_path).answers, tmp_path / "answers.npz")
    (tmp_path / "answers.npz").write_bytes(early)
    read_all(tmp_path)


@pytest.mark.parametrize("name", ["answers.npz", "samples.json", "metrics.csv", "config.json"])
def test_a_run_does_not_go_on_from_a_file_that_was_cut_off(
    tiny: RunConfig, story: RunConfig, tmp_path: Path, name: str
) -> None:
    config = story.override({"train.prompt": "the cat"}) if name == "samples.json" else tiny.override(KEPT)
    with pytest.raises(Stop):
        train(config, tmp_path / "x", show=stop_at(8 if name == "samples.json" else 20))
    for _ in cut(tmp_path / "x" / name):
        told(lambda: train(config, tmp_path / "x"), tmp_path / "x" / name)
    train(config, tmp_path / "x")
    assert "resumed" in Run(tmp_path / "x").log


def test_runs_are_not_packed_into_an_archive_that_was_cut_off(tiny: RunConfig, tmp_path: Path) -> None:
    configs = [tiny.override({"train.max_steps": 10, "seed": seed}) for seed in range(2)]
    for config in configs:
        train(config, tmp_path / "x" / config.id)
    archive.pack(tmp_path / "x", [configs[0].id])
    for _ in cut(tmp_path / "x.zip"):
        told(lambda: archive.pack(tmp_path / "x", [configs[1].id]), tmp_path / "x.zip")
        told(lambda: find("x", configs[0], tmp_path), tmp_path / "x.zip")
    archive.pack(tmp_path / "x", [configs[1].id])
    assert all(find("x", config, tmp_path) for config in configs)


def test_measurements_and_results_that_were_cut_off_are_named(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(tiny.override({"data.operation": "/", "train.max_steps": 1}), tmp_path / "x")
    run = Run(tmp_path / "x")
    spectrum = inside.difference_spectrum(run)
    for _ in cut(tmp_path / "x" / "inside.json"):
        told(lambda: inside.difference_spectrum(run), tmp_path / "x" / "inside.json")
    assert (inside.difference_spectrum(run) == spectrum).all()
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results.json")
    (tmp_path / "results.json").write_text('{"section": 1}\n')
    for _ in cut(tmp_path / "results.json"):
        told(results.results, tmp_path / "results.json")
