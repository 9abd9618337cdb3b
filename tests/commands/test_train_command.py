"""`python -m lib.train`, as a user calls it."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from lib import train as command_line
from lib.config import RunConfig
from lib.experiments.catalogue import EXPERIMENTS, HOMEWORK, STORED
from lib.support.errors import UserError

QUICK = ["--data.p", 11, "--model.d_model", 16, "--model.d_ff", 32, "--train.max_steps", 20, "--train.batch_size", 16]


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """The command in this process; its handler of SIGTERM stays out of it."""
    monkeypatch.setattr(command_line.signal, "signal", lambda *_: None)
    return lambda *args: command_line.main(list(map(str, args)))


@pytest.mark.slow(6)
def test_trains_with_any_field_changed(command, main, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Workers import lib/train.py as their main module; neither they nor runpy have anything to complain of."""
    args = ["memorize", "--checkpoints", tmp_path, "--train.max_steps", 20]
    args += ["--optim.lr", "3e-3", "--model.norm=rmsnorm", "--seed", 7]
    said = command("lib.train", *args)
    assert said.returncode == 0, said.stderr
    [folder] = (tmp_path / "memorize").iterdir()
    config = json.loads((folder / "config.json").read_text())
    assert (config["optim"]["lr"], config["model"]["norm"], config["seed"]) == (3e-3, "rmsnorm", 7)
    assert said.stdout.startswith(f"{folder}  train loss ") and said.stdout.count("\n") == 1
    progress = [line for line in said.stderr.splitlines() if line.startswith(folder.name)]
    assert "steps/s" in progress[-1] and progress[-1].endswith(" · done")
    assert said.stderr.splitlines() == ["memorize: 1 runs to train, 0 stored", *progress]
    assert main(*args) == 0
    assert capsys.readouterr() == (said.stdout, "")  # stored: nothing to train


def test_all_leaves_out_the_slow_ones_and_the_trials(main, monkeypatch, tmp_path: Path) -> None:
    asked = {}

    def note(plan, **options) -> None:
        asked.update(plan=plan, **options)
        raise UserError("enough")

    monkeypatch.setattr("lib.runs.stored.train_all", note)
    assert main("all", "--fresh", "--checkpoints", tmp_path) == 1
    assert asked["plan"] == {name: STORED[name]() for name in HOMEWORK} and "recipe" in asked["plan"]
    assert not {"grokking_slow", "ablation_two_layers", "recipe_tuning"} & set(asked["plan"])
    assert not any(config.data.task == "corpus" for configs in asked["plan"].values() for config in configs)
    assert asked["fresh"] and asked["root"] == tmp_path


def test_help_names_every_field_and_list_every_experiment(main, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main("--help")
    shown = capsys.readouterr().out
    assert end.value.code == 0 and all(f"--{name} " in shown for name in RunConfig.options())
    assert main("--list") == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(EXPERIMENTS)


def test_the_list_goes_on_after_a_damaged_run(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "memorize.zip").write_text("no archive")
    command_line.show_experiments(tmp_path)
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(EXPERIMENTS) and "damaged" in listed[0] and "0/1 stored" in listed[1]


@pytest.mark.parametrize("call", ["lib.train --help", "lib.train --list", "lib.inference --help"])
def test_help_and_list_need_not_wait_for_torch(call: str) -> None:
    program = "import runpy, sys; sys.modules['torch'] = None; runpy.run_module(sys.argv.pop(1), run_name='__main__')"
    said = subprocess.run([sys.executable, "-c", program, *call.split()], cwd=ROOT, capture_output=True, check=False)
    assert said.returncode == 0 and said.stdout, said.stderr


@pytest.mark.slow(2)
def test_a_reader_may_leave_early() -> None:
    listed = f"{sys.executable} -m lib.train --list | head -n 1"
    call = subprocess.run(listed, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert call.stdout.startswith("memorize ") and call.stderr == ""


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["groking"], ["experiment groking", "did you mean grokking?"]),
        (["xyz"], ["experiment xyz", "must be one of memorize"]),
        ([], ["which experiment?", "--list"]),
        (["grokking", "--optim.lrr", 1], ["--optim.lrr", "did you mean --optim.lr?"]),
        (["grokking", "--lr", 1], ["--lr", "no such option"]),
        (["grokking", "--seed", 5001, 5002], ["5002: one word too many"]),
        (["recipe", "--optim.schedule", "constant"], ["optim.fall_steps = 400", "0 unless optim.schedule = cosine"]),
        (["grokking", "--optim.lr", "fast"], ["optim.lr = 'fast'", "a finite number"]),
        (["grokking", "--data.operation", "*"], ["data.operation = '*'", "+, -, /"]),
        (["grokking", "--data.p", 98], ["data.p = 98", "prime"]),
        (["grokking", "--data.p", 2], ["data.p = 2", "from 3"]),
        (["grokking", "--data.train_fraction", 0.99], ["data.train_fraction = 0.99", "1 - data.val_fraction = 0.9"]),
        (["grokking", "--data.train_fraction", "1e308"], ["data.train_fraction = 1e+308", "= 0.9"]),
        (["grokking", "--data.operation", "a/0"], ["data.operation = 'a/0'", "no a and b have an answer modulo 97"]),
        (["grokking", "--checkpoints", ""], ["--checkpoints", "''", "name of a file or folder"]),
        (["grokking", "--data.val_fraction", 1.5], ["data.val_fraction = 1.5", "below 1"]),
        (["grokking", "--model.n_heads", 3], ["model.d_model = 128", "divisible by model.n_heads = 3"]),
        (["grokking", "--model.context_length", 3], ["model.context_length = 3", "at least 4"]),
        (["grokking", "--device", "tpu"], ["device = 'tpu'", "cpu or cuda"]),
        (["grokking", "--workers", 0], ["--workers 0", "at least 1"]),
        (["memorize", "--cluster", "slrm"], ["cluster = 'slrm'", "one of local, slurm; did you mean slurm?"]),
        (["memorize", "--cluster", "slurm", "--slurm.time", "4h"], ["slurm.time = '4h'", "must be minutes"]),
        (["memorize", "--cluster", "slurm", "--fresh"], ["--cluster slurm: does not work with --fresh"]),
        (["memorize", "--checkpoints", "/dev/null/here"], ["/dev/null/here", "cannot be written"]),
        pytest.param(
            ["grokking", "--device", "cuda"],
            ["no CUDA device"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    main, tmp_path: Path, capsys: pytest.CaptureFixture, args: list[object], words: list[str]
) -> None:
    place = [] if "--checkpoints" in args else ["--checkpoints", tmp_path]
    try:
        status = main(*args, *place)
    except SystemExit as end:  # argparse's own way
        status = end.code
    said = capsys.readouterr()
    assert status not in (0, None) and said.out == ""
    assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
    assert all(word in said.err for word in words), said.err
    assert not any(tmp_path.iterdir()), "something half-made was left behind"


@pytest.mark.slow(2)
def test_a_bad_command_ends_with_its_one_line(command) -> None:
    said = command("lib.train", "groking")
    assert said.returncode == 1 and said.stdout == ""
    assert said.stderr.startswith("error: experiment groking: ") and said.stderr.count("\n") == 1


def test_divergence_ends_with_one_line(main, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    args = ["grokking", *QUICK, "--optim.name", "sgd", "--optim.lr", "1e30", "--model.norm", "none"]
    for _ in range(2):  # when it happens, and when it is asked for again
        assert main(*args, "--checkpoints", tmp_path, "--workers", 1) == 1
        assert "is not finite; learning rate 2e+29" in capsys.readouterr().err.splitlines()[-1]


def test_the_command_takes_both_trackers(
    main, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = {}
    monkeypatch.setattr("lib.runs.stored.Pool", lambda *args: asked.update(args=args) or NoPool())
    args = ["memorize", "--checkpoints", tmp_path]
    assert main(*args, "--tracker", "wandb", "--tracker=tensorboard") == 1
    assert list(asked["args"][-1]) == ["wandb", "tensorboard"]
    assert main(*args, "--tracker", "tensorbord") == 1
    said = "error: tracker = 'tensorbord': must be one of wandb, tensorboard; did you mean tensorboard?"
    assert capsys.readouterr().err.splitlines()[-1] == said


class NoPool:
    def run(self, _: object) -> None:
        raise UserError("enough")
