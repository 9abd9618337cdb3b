"""Runs that are stopped, killed and damaged, and go on to the same end."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from conftest import LONGER, ROOT, STORY_TEXT, Stop, bare_metrics, n_rows, options, stop_at, weights

from lib.config import RunConfig
from lib.methods.table import KNOWN
from lib.objective import PATIENCE, first_crossing
from lib.runs.run import Run
from lib.runs.stored import run_all
from lib.support.errors import UserError
from lib.training.datasets import load_data
from lib.training.trainer import Interrupted, Trainer, train

WAYS: list[dict[str, object]] = [
    {"optim.name": "muon", "model.dropout": 0.1}
    | {"optim.methods": "newton_schulz=2, embedding_rate=0.5, norm_cap=1.5, freeze=0.05"},
    {"optim.grokfast": 2.0, "optim.orthogonal": True, "model.output": "stablemax", "model.temperature": 2}
    | {"optim.methods": "orthogonal_start=1, to_start=2, update_noise=0.5, norm_clamp=5"},
    {"train.keep_answers": True, "train.precision": "bfloat16", "optim.name": "lion", "optim.lr": 1e-3}
    | {"optim.methods": "row_start=2, column_norm=0.01, row_clip=2"},
    {"data.tokenizer": "character", "data.p": 13, "optim.name": "momentum", "optim.schedule": "cosine"}
    | {"optim.methods": "egalitarian=1e-6"},
]


def test_every_method_is_tried() -> None:
    tried = " ".join(str(changes.get("optim.methods")) for changes in WAYS)
    assert all(name in tried for name in KNOWN)


@pytest.mark.parametrize("changes", WAYS)
def test_a_stopped_run_goes_on_to_the_same_end(tiny: RunConfig, tmp_path: Path, changes: dict[str, object]) -> None:
    config = tiny.override(changes)
    train(config, tmp_path / "whole")
    for step in (0, 20, 50):
        with pytest.raises(Stop):
            train(config, tmp_path / "parts", show=stop_at(step))
    train(config, tmp_path / "parts")
    assert bare_metrics(tmp_path / "whole") == bare_metrics(tmp_path / "parts")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    if "freeze" in config.optim.methods:
        metrics = Run(tmp_path / "whole").metrics
        frozen_from = first_crossing(metrics["step"], metrics["val_acc"], 0.05, PATIENCE)
        assert frozen_from is not None and frozen_from < 40, "it was never frozen"
    if config.train.keep_answers:
        kept = Run(tmp_path / "parts").answers
        assert all((kept[name] == values).all() for name, values in Run(tmp_path / "whole").answers.items())


@pytest.mark.slow(12)
def test_sigkill_at_random_moments_changes_nothing(tiny: RunConfig, tmp_path: Path) -> None:
    """The command and its worker killed twice, then left alone: metrics and weights to the last bit."""
    config = tiny.override(LONGER)
    argv = [sys.executable, "-m", "lib.train", "grokking", "--checkpoints", str(tmp_path), *options(config)]
    folder, chance, kills = tmp_path / "grokking" / config.id, random.Random(0), 0
    while kills < 2:
        before = n_rows(folder)
        process = subprocess.Popen(argv, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        try:
            while n_rows(folder) <= before and process.poll() is None:  # until it trains on
                time.sleep(0.005)
            time.sleep(chance.uniform(0, 0.3))
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        kills += 1
        if (folder / "summary.json").exists():  # it was quicker, or this process looked elsewhere: from the beginning
            shutil.rmtree(folder)
            kills = 0
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    assert (folder / "train.log").read_text().count("resumed") == 2
    run_all("whole", [config], root=tmp_path)
    whole = tmp_path / "whole" / config.id
    assert bare_metrics(folder) == bare_metrics(whole)
    assert weights(folder) == weights(whole)


@pytest.mark.slow(4)
def test_ctrl_c_saves_the_state_and_says_how_to_go_on(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override(LONGER | {"train.max_steps": 100_000})
    argv = [sys.executable, "-m", "lib.train", "grokking", "--checkpoints", str(tmp_path), *options(config)]
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a job in the background would not
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, **heeding)
    folder = tmp_path / "grokking" / config.id
    try:
        while not (folder / "state.pt").exists():
            assert process.poll() is None, "it ended before it could be stopped"
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode != 0
    assert "the same command goes on" in error and "Traceback" not in error
    log = (folder / "train.log").read_text().splitlines()
    step = int(log[-1].rpartition(" ")[2])
    assert "stopped at step" in log[-1]
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == step
    assert not (folder / "summary.json").exists()


def test_in_a_notebook_ctrl_c_stops_between_two_steps(tiny: RunConfig, tmp_path: Path) -> None:
    def show(row: dict[str, float]) -> None:
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="the same call goes on"):
        try:
            train(tiny, tmp_path, show=show)
        except Exception:
            pytest.fail("a loop that goes on after errors would train the next run")
    assert not (tmp_path / "summary.json").exists()
    train(tiny, tmp_path)
    assert Run(tmp_path).metrics["step"][-1] == 60


def test_a_run_that_is_trained_again_counts_as_unfinished(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, show=stop)
    with pytest.raises(UserError, match="not a finished run"):
        Run(tmp_path)


def test_a_damaged_state_is_named(tiny: RunConfig, tmp_path: Path) -> None:
    Trainer(tiny, load_data(tiny), tmp_path).save_state()
    whole = torch.load(tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"metrics\.csv: damaged \(step 0 is missing\); restore"):
        train(tiny, tmp_path)
    for content in (b"half a file", b""):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"state\.pt: damaged .* delete it"):
            train(tiny, tmp_path)
    for changes in ({"model": {}}, {"optimizer": {}}, {"rng": None}):  # of another version
        torch.save(whole | changes, tmp_path / "state.pt")
        with pytest.raises(UserError, match=r"state\.pt: .* another version\); .* delete it"):
            train(tiny, tmp_path)
    torch.save({key: whole[key] for key in whole if key != "losses"}, tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"state\.pt: .* another version\); .* delete it"):
        train(tiny, tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"train.accumulation": 4, "model.dropout": 0.1, "train.prompt": "the cat"},
        {"train.precision": "float16", "train.accumulation": 2, "model.dropout": 0.1, "train.prompt": "a dog"},
        {"train.activation_checkpointing": True, "model.dropout": 0.1, "train.whole_logits": True},
        {"model.kind": "lstm", "model.dropout": 0.1, "data.tokenizer": "character", "train.prompt": "bird"},
    ],
    ids=lambda changes: " ".join(name.partition(".")[2] for name in changes),
)
def test_a_stopped_language_model_goes_on_to_the_same_end(
    story: RunConfig, tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**22, growth_interval=2)  # some steps overflow
    monkeypatch.setattr("torch.amp.GradScaler", scaler)
    config = story.override(changes)
    train(config, tmp_path / "whole")
    for step in (0, 4, 8):
        with pytest.raises(Stop):
            train(config, tmp_path / "parts", show=stop_at(step))
    train(config, tmp_path / "parts")
    assert bare_metrics(tmp_path / "whole") == bare_metrics(tmp_path / "parts")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    run = Run(tmp_path / "whole")
    assert run.metrics["train_loss"][-1] < run.metrics["train_loss"][0]
    if config.train.prompt:
        assert (tmp_path / "whole" / "samples.json").read_bytes() == (tmp_path / "parts" / "samples.json").read_bytes()
        assert list(run.samples) == [0, 4, 8, 12] == run.metrics["step"].tolist()
        assert all(text.startswith(config.train.prompt) for text in run.samples.values())
    else:
        assert not (tmp_path / "whole" / "samples.json").exists()


def test_a_text_with_another_vocabulary_has_changed_too(story: RunConfig, tmp_path: Path) -> None:
    letters = story.override({"data.tokenizer": "character"})
    with pytest.raises(Stop):
        train(letters, tmp_path / "x", show=stop_at(4))
    Path(story.data.corpus).write_text(STORY_TEXT + "Ω\n")
    with pytest.raises(UserError, match=r"story\.txt.*has changed since.*use --fresh"):
        train(letters, tmp_path / "x")


def test_of_two_texts_the_one_that_has_changed_is_named(story: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "val.txt").write_text(STORY_TEXT)
    config = story.override({"data.val_corpus": str(tmp_path / "val.txt")})
    with pytest.raises(Stop):
        train(config, tmp_path / "x", show=stop_at(4))
    (tmp_path / "val.txt").write_text(STORY_TEXT + "The end.\n")
    with pytest.raises(UserError, match=r"^data\.val_corpus = '.*val\.txt': has changed since this run was begun; use"):
        train(config, tmp_path / "x")
