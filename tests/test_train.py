import io
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ROOT, bare_metrics

from lib import archive, checkpoint, networks, runs, stats
from lib.config import RunConfig
from lib.datasets import load_data
from lib.evaluate import evaluation_steps
from lib.fields import UserError
from lib.machine import sole_use
from lib.runs import Run, agreement, find, run_all, run_live, train_all
from lib.train import Interrupted, Trainer, train


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_folder_holds_all_that_was_promised(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "env.json", "metrics.csv", "train.log", "summary.json", "model.safetensors"}
    run = Run(tmp_path / "run")
    assert run.config == tiny
    assert run.metrics["step"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert run.summary["train_loss"] == run.metrics["train_loss"][-1]
    assert (run.metrics["matrix_norm"] < run.metrics["weight_norm"]).all()
    assert run.summary["n_params"] == networks.n_params(run.load()[0])
    assert (run.metrics["weight_norm"] > 0).all() and np.isnan(run.metrics["grad_norm"][0])
    assert run.json("env.json")["threads"] == 1
    assert "step 60" in run.log and "done" in run.log


def test_the_same_run_twice_gives_the_same_bytes(tiny: RunConfig, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(tiny, tmp_path / name)
    assert bare_metrics(tmp_path / "one") == bare_metrics(tmp_path / "two")
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def test_another_seed_is_another_run(tiny: RunConfig, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(tiny.override({"seed": seed}), tmp_path / str(seed))
    assert weights(tmp_path / "0") != weights(tmp_path / "1")


def test_training_leaves_the_callers_random_state_and_threads_alone(tiny: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    train(tiny, tmp_path)
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == threads


@pytest.mark.parametrize(
    "changes",
    [
        {"optim.name": "muon", "model.dropout": 0.1},
        {"optim.grokfast": 2.0, "optim.orthogonal": True, "model.output": "stablemax"},
        {"train.keep_answers": True, "train.precision": "bfloat16"},
        {"data.tokenizer": "character", "data.p": 13, "optim.name": "momentum", "optim.schedule": "cosine"},
    ],
)
def test_a_stopped_run_goes_on_to_the_same_end(tiny: RunConfig, tmp_path: Path, changes: dict[str, object]) -> None:
    config = tiny.override(changes)
    train(config, tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop_at(step: int):
        def on_eval(row: dict[str, float]) -> None:
            if row["step"] == step:
                raise Stop

        return on_eval

    for step in (0, 20, 50):
        with pytest.raises(Stop):
            train(config, tmp_path / "parts", on_eval=stop_at(step))
    train(config, tmp_path / "parts")
    assert bare_metrics(tmp_path / "whole") == bare_metrics(tmp_path / "parts")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    if config.train.keep_answers:
        kept = Run(tmp_path / "parts").answers
        assert all((kept[name] == values).all() for name, values in Run(tmp_path / "whole").answers.items())


LONGER = {"train.max_steps": 1200, "train.eval_every": 20, "model.dropout": 0.1, "data.p": 13}


def options(config: RunConfig) -> list[str]:
    return [
        f"--{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in config.flat().items()
    ]


def n_rows(folder: Path) -> int:
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0


def test_a_killed_worker_is_started_again(tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    config = tiny.override(LONGER)
    train(config, tmp_path / "whole")
    folder = tmp_path / "x" / config.id
    thread = threading.Thread(target=run_all, args=("x", [config]), kwargs={"root": tmp_path})
    thread.start()
    while n_rows(folder) < 5:
        time.sleep(0.005)
    [worker] = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGKILL)
    thread.join()
    assert "killed (exit code -9); it goes on from its saved state" in capfd.readouterr().err
    assert "resumed" in (folder / "train.log").read_text()
    assert bare_metrics(folder) == bare_metrics(tmp_path / "whole")
    assert weights(folder) == weights(tmp_path / "whole")


def test_two_processes_cannot_train_one_run(tiny: RunConfig, tmp_path: Path) -> None:
    with sole_use(tmp_path / "run"), pytest.raises(UserError, match="another process is training this run"):
        train(tiny, tmp_path / "run")
    train(tiny, tmp_path / "run")
    [run] = run_all("x", [tiny], root=tmp_path)
    with sole_use(run.path), pytest.raises(UserError, match="another process is training this run"):
        run_all("x", [tiny], fresh=True, root=tmp_path)
    assert find("x", tiny, tmp_path) is not None


def test_several_experiments_share_one_pool_and_may_hold_the_same_config(tiny: RunConfig, tmp_path: Path) -> None:
    other = tiny.override({"seed": 1})
    train_all({"x": [tiny], "y": [other, tiny]}, root=tmp_path)
    assert {path.parent.name for path in tmp_path.glob(f"*/{tiny.id}")} == {"x", "y"}
    assert find("y", other, tmp_path) and not find("x", other, tmp_path)
    assert weights(tmp_path / "x" / tiny.id) == weights(tmp_path / "y" / tiny.id)


def test_fresh_empties_each_folder_only_when_its_run_begins(tiny: RunConfig, tmp_path: Path) -> None:
    good = tiny.override({"train.max_steps": 10})
    run_all("x", [good], root=tmp_path)
    with pytest.raises(UserError, match=r"model\.context_length"):
        run_all("x", [good, tiny.override({"model.context_length": 3})], fresh=True, root=tmp_path)
    assert find("x", good, tmp_path) is not None


def test_sigkill_at_random_moments_changes_nothing(tiny: RunConfig, tmp_path: Path) -> None:
    """The command and its worker killed again and again, then left alone: metrics and weights to the last bit."""
    config = tiny.override(LONGER)
    train(config, tmp_path / "whole")
    argv = [sys.executable, "-m", "lib.train", "grokking", "--checkpoints", str(tmp_path), *options(config)]
    folder = tmp_path / "grokking" / config.id
    chance = random.Random(0)
    for _ in range(3):
        before = n_rows(folder)
        process = subprocess.Popen(argv, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
        while n_rows(folder) <= before:  # until it trains on
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.3))
        assert process.poll() is None, "the run ended before it could be killed: make it longer"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "summary.json").exists()
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True)
    assert (folder / "train.log").read_text().count("resumed") == 3
    assert bare_metrics(folder) == bare_metrics(tmp_path / "whole")
    assert weights(folder) == weights(tmp_path / "whole")


def test_ctrl_c_saves_the_state_and_says_how_to_go_on(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override(LONGER | {"train.max_steps": 100_000})
    argv = [sys.executable, "-m", "lib.train", "grokking", "--checkpoints", str(tmp_path), *options(config)]
    heeding = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}  # a job in the background would not
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.PIPE, text=True, **heeding)
    folder = tmp_path / "grokking" / config.id
    while not (folder / "state.pt").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "the same command goes on" in error and "Traceback" not in error
    log = (folder / "train.log").read_text().splitlines()
    step = int(log[-1].rpartition(" ")[2])
    assert "stopped at step" in log[-1]
    assert torch.load(folder / "state.pt", weights_only=True)["step"] == step
    assert not (folder / "summary.json").exists()


def test_in_a_notebook_ctrl_c_stops_between_two_steps(tiny: RunConfig, tmp_path: Path) -> None:
    def on_eval(row: dict[str, float]) -> None:
        if row["step"] == 20:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="the same call goes on"):
        train(tiny, tmp_path, on_eval=on_eval)
    assert not (tmp_path / "summary.json").exists()
    train(tiny, tmp_path)
    assert Run(tmp_path).metrics["step"][-1] == 60


def test_divergence_is_named_and_the_last_good_state_kept(tiny: RunConfig, tmp_path: Path) -> None:
    """SGD with a learning rate far too large: the loss overflows."""
    changes = {"optim.name": "sgd", "optim.lr": 3e4, "optim.warmup_steps": 1000, "model.norm": "none"}
    config = tiny.override(changes | {"train.eval_every": 1})
    train(config, tmp_path)
    run = Run(tmp_path)
    assert run.diverged_at is not None and 2 <= run.diverged_at < 60
    assert f"loss of step {run.diverged_at} is not finite; learning rate {30 * run.diverged_at}" in run.log
    assert f"gradient norm {run.metrics['grad_norm'][-1]:.3g} at step {run.diverged_at - 1}" in run.log
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == run.metrics["step"][-1]
    assert not (tmp_path / "model.safetensors").exists()


def test_early_stopping_and_going_on(tiny: RunConfig, tmp_path: Path) -> None:
    easy = {"data.p": 11, "data.operation": "+", "data.train_fraction": 0.8, "optim.weight_decay": 0.1}
    config = tiny.override(easy | {"train.max_steps": 4000, "train.stop_at": 0.3})
    train(config, tmp_path / "stop")
    train(config.override({"train.go_on": 3}), tmp_path / "on")
    stopped, went_on = Run(tmp_path / "stop"), Run(tmp_path / "on")
    steps = stopped.metrics["step"]
    accuracies = [stopped.metrics[f"{split}_acc"] for split in ("val", "test")]
    solved = max(stats.first_crossing(steps, accuracy, 0.3, 3) for accuracy in accuracies)
    assert solved == steps[-3] and went_on.metrics["step"][-1] == max(3 * solved, steps[-1])


def test_evaluations_are_log_spaced(tiny: RunConfig) -> None:
    steps = sorted(evaluation_steps(tiny.override({"train.max_steps": 1000, "train.eval_growth": 1.1}).train))
    assert steps[:3] == [0, 10, 20] and steps[-1] == 1000
    gaps = np.diff(steps[:-1])
    assert (gaps >= 10).all() and (np.diff(gaps) >= 0).all() and gaps[-1] > 50


def test_run_all_trains_what_is_missing_and_keeps_the_order(tiny: RunConfig, tmp_path: Path) -> None:
    configs = [tiny.override({"seed": seed, "train.max_steps": 10}) for seed in (2, 0, 1)]
    [first] = run_all("x", configs[:1], root=tmp_path)
    before = (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns
    runs = run_all("x", configs, workers=2, root=tmp_path)
    assert [run.config for run in runs] == configs
    assert (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns == before
    run_all("x", configs[:1], fresh=True, root=tmp_path)
    assert (tmp_path / "x" / configs[0].id / "summary.json").stat().st_mtime_ns != before
    assert agreement(run_live(configs[0]), first).endswith("agree at all 2 evaluations up to step 10")


def test_run_all_reports_failed_and_diverged_runs_after_the_others(tiny: RunConfig, tmp_path: Path) -> None:
    good = tiny.override({"train.max_steps": 10})
    bad = good.override({"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none"})
    with pytest.raises(UserError, match=rf"{bad.id}.*not finite"):
        run_all("x", [bad, good], workers=1, root=tmp_path)
    assert find("x", good, tmp_path) is not None
    assert find("x", bad, tmp_path).diverged_at is not None


def test_a_sweep_is_packed_and_opens_like_folders(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configs = [tiny.override({"train.max_steps": 10, "seed": seed}) for seed in range(3)]
    folders = run_all("x", configs[:2], root=tmp_path / "folders")
    monkeypatch.setattr(runs, "SWEEP", 1)
    run_all("x", configs[:2], root=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != "folders"] == ["x.zip"]
    packed = (tmp_path / "x.zip").read_bytes()
    names = set(zipfile.ZipFile(tmp_path / "x.zip").namelist())
    assert {name.partition("/")[2] for name in names} == set(archive.KEPT) - {"answers.npz", "samples.json"}
    for config, run in zip(configs, folders, strict=False):
        archived = find("x", config, tmp_path)
        assert archived.config == config and "done" in archived.log
        assert archived.metrics["test_acc"].tolist() == run.metrics["test_acc"].tolist()
    with pytest.raises(UserError, match="an archived run keeps no weights"):
        archived.load()
    (tmp_path / "x").mkdir()
    archive.pack(tmp_path / "x", [config.id for config in configs])  # nothing new
    assert (tmp_path / "x.zip").read_bytes() == packed

    run_all("x", configs, root=tmp_path)  # trains the third, and leaves the others as they are
    with zipfile.ZipFile(tmp_path / "x.zip") as after, zipfile.ZipFile(io.BytesIO(packed)) as before:
        assert {name.partition("/")[0] for name in after.namelist()} == {config.id for config in configs}
        assert all(after.read(name) == before.read(name) for name in before.namelist())
    with zipfile.ZipFile(tmp_path / "x.zip", "a") as grown:
        grown.writestr(f"{configs[0].id}/mark.txt", "of the old run")
    run_all("x", configs, fresh=True, root=tmp_path)
    assert not (find("x", configs[0], tmp_path).path / "mark.txt").exists()


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

    for place in ("lib.archive.os.replace", "lib.archive.shutil.rmtree"):
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


def test_a_run_that_is_trained_again_counts_as_unfinished(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(tiny, tmp_path, on_eval=stop)
    with pytest.raises(UserError, match="not a finished run"):
        Run(tmp_path)


def test_the_longest_run_begins_first(tiny: RunConfig, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    short, long = (tiny.override({"train.max_steps": steps}) for steps in (10, 40))
    run_all("x", [short, long], workers=1, root=tmp_path)
    lines = [line for line in capfd.readouterr().err.splitlines() if "done" in line]
    assert lines[0].startswith(long.id) and lines[2].startswith(short.id)
    assert re.fullmatch(r"\[1/2 done · 1 running · 0 waiting · about \d+:\d\d to go\]", lines[1])


def test_bfloat16_is_close_and_leaves_the_weights_in_float32(tiny: RunConfig, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        train(tiny.override({"train.precision": precision}), tmp_path / precision)
    exact, rounded = (Run(tmp_path / precision) for precision in ("float32", "bfloat16"))
    assert rounded.metrics["test_loss"] == pytest.approx(exact.metrics["test_loss"], rel=0.02)
    assert (rounded.metrics["test_loss"] != exact.metrics["test_loss"]).any()
    assert {p.dtype for p in rounded.load()[0].parameters()} == {torch.float32}


def test_answers_are_kept_at_log_spaced_steps(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override({"train.keep_answers": True})
    train(config, tmp_path)
    run = Run(tmp_path)
    kept = run.answers
    assert kept["step"].tolist() == [10, 20, 30, 50, 60]
    for split, rows in load_data(config).splits.items():
        right = (kept[split] == rows.targets[:, -1].numpy()).mean(1)
        at = np.isin(run.metrics["step"], kept["step"])
        assert right == pytest.approx(run.metrics[f"{split}_acc"][at], abs=1e-6)
    characters = config.override({"data.tokenizer": "character"})
    with pytest.raises(UserError, match=r"train\.keep_answers = true: must be false"):
        load_data(characters)


def test_the_clock_stands_still_during_evaluations_and_pictures(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path, on_eval=lambda row: time.sleep(1))
    assert Run(tmp_path).summary["seconds"] < 6  # seven evaluations, each with a second's pause


def test_gradient_norm_is_that_before_clipping(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path / "free")
    train(tiny.override({"optim.clip": 1e-6, "train.max_steps": 1}), tmp_path / "clipped")
    assert Run(tmp_path / "clipped").metrics["grad_norm"][1] > 1e-3


def test_an_infinite_first_loss_is_one_line(tiny: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not finite before the first step; see model\.init_scale"):
        train(tiny.override({"model.init_scale": 1e30, "model.norm": "none"}), tmp_path)


def test_agreement_of_another_config(tiny: RunConfig) -> None:
    runs = [run_live(tiny.override({"train.max_steps": 10, "model.init_scale": s})) for s in (1, 2)]
    assert agreement(*runs) == "the live run has another config than the stored run"
    assert networks.n_params(runs[0].load()[0]) == runs[0].summary["n_params"]  # though its folder is gone


def test_folders_that_cannot_be_used(tiny: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        train(tiny, tmp_path / "file" / "run")
    train(tiny.override({"train.max_steps": 1}), tmp_path / "run")
    with pytest.raises(UserError, match="another config"):
        train(tiny, tmp_path / "run")
    whole = (tmp_path / "run" / "metrics.csv").read_text()
    for damaged in ("", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "run" / "metrics.csv").write_text(damaged)
        with pytest.raises(UserError, match="damaged; train the run again"):
            Run(tmp_path / "run")
    with pytest.raises(UserError, match=r"no summary\.json"):
        Run(tmp_path / "nothing")


def test_a_damaged_state_is_named(tiny: RunConfig, tmp_path: Path) -> None:
    Trainer(tiny, load_data(tiny), tmp_path).save_state()
    whole = torch.load(tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"metrics\.csv: damaged or not there; delete the folder"):
        train(tiny, tmp_path)
    for content in (b"half a file", b""):
        (tmp_path / "state.pt").write_bytes(content)
        with pytest.raises(UserError, match=r"state\.pt: damaged, .* delete it"):
            train(tiny, tmp_path)
    for changes in ({"model": {}}, {"optimizer": {}}, {"rng": None}):  # of another version
        torch.save(whole | changes, tmp_path / "state.pt")
        with pytest.raises(UserError, match=r"state\.pt: .* another version; delete it"):
            train(tiny, tmp_path)
    torch.save({key: whole[key] for key in whole if key != "losses"}, tmp_path / "state.pt")
    with pytest.raises(UserError, match=r"state\.pt: .* another version; delete it"):
        train(tiny, tmp_path)


def test_weights_survive_the_round_trip(tiny: RunConfig, tmp_path: Path) -> None:
    trainer = Trainer(tiny, load_data(tiny), tmp_path)
    checkpoint.save_weights(tmp_path / checkpoint.WEIGHTS, trainer.model, tiny, trainer.data.tokenizer, 0)
    model, tokenizer, config = checkpoint.load_weights(tmp_path)
    assert config == tiny and tokenizer == trainer.data.tokenizer
    tokens = trainer.data.splits["train"].tokens
    assert torch.equal(model(tokens), trainer.model.eval()(tokens))


def test_wilson_interval() -> None:
    """Against the worked values of Newcombe 1998 (Statistics in Medicine 17), table I, method 3."""
    assert stats.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert stats.wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert stats.wilson(0, 20) == pytest.approx((0, 0.1611), abs=1e-4)
    assert stats.wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)


def test_kaplan_meier() -> None:
    """The 6-MP arm of Freireich et al. 1963, the textbooks' example: median 23 weeks, log-log interval from 13 on."""
    times = [6, 6, 6, 6, 7, 9, 10, 10, 11, 13, 16, 17, 19, 20, 22, 23, 25, 32, 32, 34, 35]
    relapsed = [bool(int(c)) for c in "111010100110001100000"]
    rows = stats.kaplan_meier(times, relapsed)
    assert [time for time, _, _ in rows] == [6, 7, 10, 13, 16, 22, 23]
    assert [share for _, share, _ in rows] == pytest.approx([0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)
    assert stats.median_time(times, relapsed) == (23, 13, None)
    assert stats.median_time([5, 6, 7], [True, True, True]) == (6, 5, None)  # too few to close the interval
    assert stats.median_time([4, 5, 6, 7, 8, 9], [True] * 6) == (6, 4, 9)
    assert stats.median_time([420] * 10, [True] * 10) == (420, 420, 420)
    assert stats.median_time([220] * 12 + [240] * 8, [True] * 20) == (220, 220, 240)
    assert [stats.median_time(range(1, n + 1), [True] * n)[0] for n in (24, 28, 30, 38)] == [12, 14, 15, 19]
    assert stats.median_time([5, 6], [False, False]) == (None, None, None)


def test_milestones() -> None:
    steps, accuracy = [0, 10, 20, 30, 40, 50, 60], [0, 1, 1, 0.5, 0.99, 1, 1]
    assert stats.steps_to_fit(steps, accuracy) == 10
    assert stats.steps_to_grok(steps, accuracy) == 40
    assert stats.steps_to_grok(steps[:6], accuracy[:6]) is None


def test_ratio_of_geometric_means() -> None:
    middle, low, high = stats.ratio([100, 200, 400, 200], [100, 100, 100])
    assert middle == pytest.approx(2) and low < 2 < high
    x = np.exp(np.random.RandomState(0).randn(400))
    _, low, high = stats.ratio(x, np.ones(5))
    assert np.log(high / low) == pytest.approx(2 * 1.96 * np.log(x).std() / 20, rel=0.1)
    with pytest.raises(ValueError, match="above 0"):
        stats.ratio([0, 1], [1])


def test_what_is_kept_on_the_way_includes_the_end_of_a_run_that_stops_early(tiny: RunConfig, tmp_path: Path) -> None:
    changes = {"train.keep_answers": True, "train.keep_weights": True, "train.stop_at": 1e-9, "train.go_on": 1.3}
    train(tiny.override(changes), tmp_path)
    run = Run(tmp_path)
    end = run.summary["steps"]
    assert end < tiny.train.max_steps and run.answers["step"][-1] == end and max(run.snapshots) == end
