"""Sweeps on a real Slurm of one node, which is started for these tests alone."""

import time
from pathlib import Path

import pytest

from bench.chaos import KINDS, chaos
from bench.private_slurm import lacking, said, slurm, started
from lib.runs import cluster
from lib.runs.cluster import SlurmConfig, Sweep
from lib.support import errors
from lib.support.errors import UserError

on_slurm = pytest.mark.skipif(bool(lacking()), reason=lacking())


@on_slurm
@pytest.mark.slow(60)
@pytest.mark.timeout(1800)  # a machine with other work takes its time
def test_nothing_is_lost_or_differs_under_six_kills(tmp_path: Path) -> None:
    told = chaos(tmp_path, n=8, steps=900, workers=3, kills=6, seed=1)
    assert {kind: told[kind] for kind in KINDS} == dict.fromkeys(KINDS, 1)
    assert (told["runs"], told["differ"], told["processes_left"]) == (8, 0, 0)
    assert told["calls"] > 1 and told["resumed"] >= 1


@on_slurm
@pytest.mark.slow(25)
@pytest.mark.timeout(600)
def test_the_command_sends_workers_and_waits_for_them(command, tmp_path: Path) -> None:
    with slurm(tmp_path / "slurm"):
        args = ["memorize", "--train.max_steps", 20, "--checkpoints", tmp_path, "--cluster", "slurm"]
        failed = command("lib.train", *args, "--slurm.partition", "nosuch", timeout=500)
        assert failed.returncode == 1 and failed.stderr.splitlines()[-1].startswith("error: --cluster slurm: no jobs")
        assert "invalid partition" in failed.stderr.lower()
        done = command("lib.train", *args, "--slurm.partition", "ckpt", "--slurm.time", "10", timeout=500)
        assert done.returncode == 0 and done.stdout.count("\n") == 1 and "train loss" in done.stdout, done.stderr
        assert done.stderr.splitlines()[0] == "memorize: 1 runs to train, 0 stored"
        assert done.stderr.splitlines()[1].startswith("1 workers sent to Slurm; what they print: ")
        again = command("lib.train", *args, timeout=500)
        assert (again.returncode, again.stdout, again.stderr) == (0, done.stdout, "")
        time.sleep(1)
        assert said("squeue", "--noheader") == ""
    assert started(tmp_path / "slurm") == []


def test_what_is_lacking_is_said_in_one_line(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = Sweep.of({"x": [tiny]}, tmp_path)
    monkeypatch.setattr(cluster.shutil, "which", lambda _: None)
    with pytest.raises(UserError, match="there is no sbatch here; must be local, or called on a cluster"):
        cluster.check_slurm(None)
    monkeypatch.setattr(errors, "find_spec", lambda _: None)
    with pytest.raises(
        UserError, match=r"--cluster slurm: needs the package submitit; install it with: pip install sub"
    ):
        cluster.check_slurm(None)
    monkeypatch.setattr(cluster.claims, "queue", lambda _: {})
    monkeypatch.setattr(Sweep, "submit", lambda *_: None)
    with pytest.raises(UserError, match="1 runs are left, and no worker is there any more"):
        sweep.train(SlurmConfig(), None)


def test_waiting_may_be_left(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def leave(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cluster.claims, "queue", leave)
    with pytest.raises(UserError, match="left; the workers go on; the same command comes back to them"):
        Sweep.of({"x": [tiny]}, tmp_path).wait()


def test_workers_that_are_there_are_counted(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that Slurm calls running for long, and that holds no claim, is none."""
    sweep, sent = Sweep.of({"x": [tiny.override({"seed": seed}) for seed in range(9)]}, tmp_path), []
    first = next(iter(sweep.runs))
    monkeypatch.setattr(cluster.claims, "this_job", lambda: "5_0")
    cluster.claims.take(first)
    queue = {
        "5_0": ("RUNNING", 0, 9999),
        "5_1": ("RUNNING", 0, 9999),
        "5_2": ("RUNNING", 0, 3),
        "5_3": ("PENDING", 1, 0),
    }
    jobs = {name: cluster.claims.Job(*about) for name, about in queue.items()}
    monkeypatch.setattr(cluster.claims, "queue", lambda _: jobs)
    monkeypatch.setattr(cluster, "send", lambda *args: sent.append(args[2]))
    judged, judge = [], cluster.claims.Owner.is_lost
    monkeypatch.setattr(cluster.claims.Owner, "is_lost", lambda *args: judged.append(args) or judge(*args))
    for workers in (3, 4, None, 100):
        sweep.submit(SlurmConfig(), workers)
    assert sent == [1, 6, 6] and len(judged) == 4  # each look judges a claim once, which may ask Slurm
