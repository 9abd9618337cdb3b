"""A sweep in one file."""

import zipfile
from pathlib import Path

import pytest
import torch

from lib.config import RunConfig
from lib.runs import archive
from lib.runs.stored import find, run_all
from lib.support.errors import UserError
from lib.training.trainer import train


def contents(path: Path) -> dict[str, bytes]:
    files = (file for run in archive.open_archive(path).iterdir() for file in run.iterdir())
    return {f"{file.parent.name}/{file.name}": file.read_bytes() for file in files}


def test_a_sweep_is_packed_and_opens_like_folders(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [tiny.override({"train.max_steps": 10, "seed": seed}) for seed in range(3)]
    folders = run_all("x", configs[:2], root=tmp_path / "folders")
    monkeypatch.setattr("lib.runs.stored.SWEEP", 1)
    monkeypatch.setattr("lib.runs.stored.CHECKPOINTS", tmp_path)  # only there archives are made
    run_all("x", configs[:2], root=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "folders"] == ["x.zip"]
    packed = (tmp_path / "x.zip").read_bytes()
    before = contents(tmp_path / "x.zip")
    assert {name.partition("/")[2] for name in before} == set(archive.KEPT) - {"answers.npz", "samples.json"}
    for config, run in zip(configs, folders, strict=False):
        archived = find("x", config, tmp_path)
        assert archived.config == config and "done" in archived.log
        assert archived.metrics["test_acc"].tolist() == run.metrics["test_acc"].tolist()
    with pytest.raises(UserError, match="a finished run, stored in an archive without weights"):
        archived.load()
    (tmp_path / "x").mkdir()
    archive.pack(tmp_path / "x", [config.id for config in configs])  # nothing new
    assert (tmp_path / "x.zip").read_bytes() == packed

    run_all("x", configs, root=tmp_path)  # trains the third, and leaves the others as they are
    after = contents(tmp_path / "x.zip")
    assert {name.partition("/")[0] for name in after} == {config.id for config in configs}
    assert after.items() >= before.items()
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as plain:  # as it was before: an entry per file
        for name, content in after.items():
            plain.writestr(name, content)
        plain.writestr(f"{configs[0].id}/mark.txt", "of the old run")
    assert find("x", configs[1], tmp_path).metrics["test_acc"].tolist() == folders[1].metrics["test_acc"].tolist()
    run_all("x", configs, fresh=True, root=tmp_path)
    assert not (find("x", configs[0], tmp_path).path / "mark.txt").exists()


def test_the_projects_runs_with_weights_stay_folders_and_their_weights_become_half(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, other = (tiny.override({"train.max_steps": 10, "seed": seed}) for seed in range(2))
    [exact] = run_all("x", [asked], root=tmp_path / "elsewhere")  # where runs stay as they are
    monkeypatch.setattr("lib.runs.stored.SWEEP", 1)
    monkeypatch.setattr("lib.runs.stored.CHECKPOINTS", tmp_path)
    monkeypatch.setattr("lib.runs.stored.WITH_WEIGHTS", {"x": [asked]})
    rounded, packed = run_all("x", [asked, other], root=tmp_path)
    assert rounded.path == tmp_path / "x" / asked.id and packed.path.parent.name == "x.zip"
    assert [path.name for path in (tmp_path / "x").iterdir()] == [asked.id]
    sizes = [(run.path / "model.safetensors").stat().st_size for run in (exact, rounded)]
    n_params = exact.summary["n_params"]
    assert sizes[0] - sizes[1] == pytest.approx(2 * n_params, abs=64), "two bytes of four for each"
    for p, q in zip(exact.load()[0].parameters(), rounded.load()[0].parameters(), strict=True):
        assert q.dtype == torch.float32 and torch.equal(p.half().float(), q)


def test_an_archive_that_is_cut_off_loses_nothing(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [tiny.override({"train.max_steps": 10, "seed": seed}) for seed in range(2)]
    run_all("x", configs, root=tmp_path)
    metrics = [find("x", config, tmp_path).metrics["test_acc"].tolist() for config in configs]

    class Cut(Exception):
        pass

    def cut(*_: object) -> None:
        raise Cut

    for place in ("lib.support.files.os.replace", "lib.runs.archive.shutil.rmtree"):
        with monkeypatch.context() as patch, pytest.raises(Cut):
            patch.setattr(place, cut)
            archive.pack(tmp_path / "x", [config.id for config in configs])
        assert [find("x", config, tmp_path).metrics["test_acc"].tolist() for config in configs] == metrics
    archive.pack(tmp_path / "x", [config.id for config in configs])
    assert [find("x", config, tmp_path).metrics["test_acc"].tolist() for config in configs] == metrics
    (tmp_path / "x" / configs[0].id).mkdir(parents=True)
    (tmp_path / "x" / configs[0].id / "state.pt").touch()  # begun again, with --fresh
    assert find("x", configs[0], tmp_path) is None and find("x", configs[1], tmp_path) is not None
    whole = (tmp_path / "x.zip").read_bytes()
    [entry, *_] = zipfile.ZipFile(tmp_path / "x.zip").infolist()
    at = entry.header_offset + 30 + len(entry.filename) + 5  # inside its content
    flipped = whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :]
    for damaged in (whole[:-300], flipped):
        (tmp_path / "x.zip").write_bytes(damaged)
        with pytest.raises(UserError, match=r"x\.zip: damaged"):
            find("x", configs[1], tmp_path)


def test_what_a_cut_off_call_left_does_not_stop_the_next(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override({"train.max_steps": 10})
    (tmp_path / "x").mkdir()
    archive.pack(tmp_path / "x", [config.id])
    assert not any(tmp_path.iterdir())  # no run, no archive
    run_all("x", [config], root=tmp_path)
    (tmp_path / "x" / f"{config.id}.tmp" / "half").mkdir(parents=True)
    archive.pack(tmp_path / "x", [config.id])
    assert [path.name for path in tmp_path.iterdir()] == ["x.zip"] and find("x", config, tmp_path) is not None


def test_an_archive_keeps_what_was_sampled(story: RunConfig, tmp_path: Path) -> None:
    config = story.override({"train.prompt": "the cat", "train.max_steps": 2})
    train(config, tmp_path / "x" / config.id)
    samples = find("x", config, tmp_path).samples
    archive.pack(tmp_path / "x", [config.id])
    assert not (tmp_path / "x").exists()
    assert find("x", config, tmp_path).samples == samples and list(samples) == [0, 2]


def test_of_the_answers_an_archive_keeps_the_last(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override({"train.max_steps": 30, "train.keep_answers": True})
    train(config, tmp_path / "x" / config.id)
    before = find("x", config, tmp_path).answers
    archive.pack(tmp_path / "x", [config.id])
    after = find("x", config, tmp_path).answers
    assert len(before["step"]) > 1 and after["step"].tolist() == [30]
    assert all((after[name] == rows[-1:]).all() for name, rows in before.items())
