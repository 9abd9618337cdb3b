"""Claims: one owner at a time, whoever dies; and one that was declared dead harms nothing. No Slurm is needed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from conftest import bare_metrics, weights

from lib.config import RunConfig
from lib.runs import claims, cluster
from lib.runs.claims import Claim
from lib.runs.cluster import Sweep
from lib.runs.stored import run_all
from lib.support import files
from lib.support.errors import UserError
from lib.training.datasets import load_data
from lib.training.trainer import Trainer, prepared

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="clusters are Linux")
FILES = ["answers.npz", "config.json", "env.json", "metrics.csv", "model.safetensors", "summary.json", "train.log"]
Says = Callable[[str], None]


@pytest.fixture
def config(tiny: RunConfig) -> RunConfig:
    return tiny.override({"train.max_steps": 10, "train.keep_answers": True})


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Says:
    """Sets what a squeue of the test's own does."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")

    def says(script: str) -> None:
        (tmp_path / "bin" / "squeue").write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / "squeue").chmod(0o755)

    return says


def claimed(folder: Path, **changes: object) -> Claim:
    """A claim on a folder that another made."""
    claim = claims.take(folder)
    owner = replace(claim.owner, **changes)
    files.write_json(folder / claims.CLAIM / claims.OWNER, asdict(owner))
    return Claim(folder, owner)


@pytest.mark.parametrize("dead", [False, True])
def test_of_many_at_once_one_gets_the_run(dead: bool, tmp_path: Path) -> None:
    for attempt in range(20):
        folder, start = tmp_path / str(attempt), threading.Barrier(8)
        if dead:
            claimed(folder, start=1)

        def take(_: int, folder: Path = folder, start: threading.Barrier = start) -> Claim | None:
            start.wait()
            return claims.take(folder)

        with ThreadPoolExecutor(8) as threads:
            [claim] = filter(None, threads.map(take, range(8)))
        assert claims.owner_of(folder) == claim.owner and claim.is_held()
        claim.release()
        assert [*folder.iterdir()] == []


def test_a_judge_who_comes_late_does_not_end_the_claim_that_came_next(tmp_path: Path) -> None:
    dead = claimed(tmp_path / "run", start=1)
    claims.take(tmp_path / "run").release()  # another judged sooner, trained, and gave the run back
    next_one = claims.take(tmp_path / "run")
    assert not claims.end(tmp_path / "run", dead.owner) and next_one.is_held()


def test_a_damaged_claim_is_one_line(tmp_path: Path) -> None:
    folder = claims.take(tmp_path / "run").folder
    (folder / claims.CLAIM / claims.OWNER).write_text('{"host": "no')
    with pytest.raises(UserError, match="damaged; if no worker trains this run, delete it"):
        claims.take(folder)


def test_on_this_machine_the_process_tells(tmp_path: Path) -> None:
    claim = claims.take(tmp_path / "alive")
    os.utime(claim.own / claims.HEARTBEAT, (0, 0))
    assert claims.take(claim.folder) is None and claims.held_by(claim.folder) == claim.owner
    ended = subprocess.Popen(["true"])
    ended.wait()
    zombie = subprocess.Popen(["true"])  # until somebody asks how it ended
    for about in ({"pid": ended.pid}, {"start": 1}, {"pid": zombie.pid, "start": claims.start_of(zombie.pid) or 1}):
        while "pid" in about and claims.start_of(about["pid"]):
            time.sleep(0.01)
        dead = claimed(tmp_path / f"dead {about}", **about)
        taken = claims.take(dead.folder)
        assert taken is not None and not dead.is_held() and taken.is_held()
        taken.release()
        assert [*dead.folder.iterdir()] == []
    zombie.wait()


@pytest.mark.parametrize(
    ("says", "old", "lost"),
    [
        ("echo '7|3|RUNNING|1|1-02:03:04|'", True, False),
        ("echo '7|3|RUNNING|2|0:01|'", True, True),  # a later life of it
        ("echo '7|4|RUNNING|0|0:01|'", True, True),
        ("", True, True),
        ("", False, False),  # Slurm says that it is gone, and it gives heartbeats
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", True, True),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", True, False),
    ],
)
def test_elsewhere_heartbeat_and_slurm_tell_together(
    says: str, old: bool, lost: bool, squeue: Says, tmp_path: Path
) -> None:
    squeue(says)
    claim = claimed(tmp_path / "run", host="elsewhere", job="7_3", restarts=1)
    now = time.time() - (claims.STALE_S + 5) * old
    os.utime(claim.own / claims.HEARTBEAT, (now, now))
    assert claim.owner.is_lost(claim.folder) == lost
    assert (claims.take(claim.folder) is None) == (not lost)


def test_the_loop_gives_heartbeats_and_ends_when_the_claim_is_lost(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "BEAT_S", 0)
    sweep = Sweep.of({"x": [config]}, tmp_path)
    [folder] = sweep.runs
    claim = claims.take(folder)
    os.utime(claim.own / claims.HEARTBEAT, (0, 0))
    beats = []

    def stopping() -> bool:
        beats.append((claim.own / claims.HEARTBEAT).stat().st_mtime)
        if len(beats) == 5:  # another takes it over
            claims.end(folder, claim.owner)
        return False

    assert cluster.train_claimed(sweep, claim, stopping) is None
    assert len(beats) == 5 and min(beats) > time.time() - 60 and not (folder / "summary.json").exists()


@pytest.mark.slow(4)
def test_a_worker_declared_dead_that_still_writes_harms_nothing(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """It loses its claim just before any one of its renames, when no check could stop it any more."""
    [whole] = run_all("whole", [config], root=tmp_path)
    rename, count, cut = os.replace, [0], [0]

    def take_over() -> None:
        claims.end(folder, claim.owner)
        another = claims.take(folder)
        with another.fenced(), prepared(config, "cpu"):  # on another machine: the lock of this one is no help
            Trainer(config, load_data(config), folder).run()
        another.release()
        after.append({path.name: path.read_bytes() for path in folder.iterdir()})

    def replace(path: Path, to: Path) -> None:
        count[0] += 1
        if count[0] == cut[0]:
            another = threading.Thread(target=take_over)
            another.start()
            another.join()
        rename(path, to)

    monkeypatch.setattr(files.os, "replace", replace)
    for moment in range(1, 1000, 4):
        cut[0], after = 0, []
        sweep = Sweep.of({f"x{moment}": [config]}, tmp_path)
        [folder] = sweep.runs
        claim = claims.take(folder)
        count[0], cut[0] = 0, moment
        assert cluster.train_claimed(sweep, claim, lambda: False) is None
        if not after:  # it was done before
            break
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == after[0]
        assert bare_metrics(folder) == bare_metrics(whole.path) and weights(folder) == weights(whole.path)
        assert sorted(after[0]) == FILES and "has taken it over" in capsys.readouterr().out
    assert moment > 15


def test_what_is_left_by_a_worker_that_was_killed_after_its_summary_goes(
    config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all("x", [config], root=tmp_path)
    sweep = Sweep.of({"x": [config]}, tmp_path)
    [folder] = sweep.runs
    claimed(folder, start=1)
    (folder / f"{claims.CLAIM}.0123456789abcdef.ended.tmp").mkdir()
    monkeypatch.setattr(sweep, "submit", lambda *_: None)
    sweep.train(cluster.SlurmConfig(), None)
    assert sorted(path.name for path in folder.iterdir()) == FILES
    live = claims.take(folder)  # somebody begins it again
    sweep.train(cluster.SlurmConfig(), None)
    assert live.is_held()


@pytest.fixture
def usr2() -> Iterator[None]:
    before = signal.getsignal(signal.SIGUSR2)
    yield
    signal.signal(signal.SIGUSR2, before)


@pytest.mark.usefixtures("usr2")
def test_a_worker_takes_what_nobody_else_trains(config: RunConfig, tmp_path: Path) -> None:
    sweep = Sweep.of({"x": [config.override({"seed": seed}) for seed in range(4)]}, tmp_path)
    file = tmp_path / "sweep.json"
    file.write_text(sweep.text)
    held, lost, waiting, done = sweep.runs
    run_all("x", [sweep.runs[done]], root=tmp_path)
    claim = claims.take(held)
    claimed(lost, start=1)
    assert sweep.status() == "4 runs: 1 done, 1 running, 1 waiting, 1 lost"
    with pytest.raises(UserError, match=rf"{held.name}: job _ of Slurm is training this run; wait for it"):
        run_all("x", sweep.runs.values(), root=tmp_path)
    cluster.work(file)
    assert sweep.status() == "4 runs: 3 done, 1 running, 0 waiting, 0 lost" and not (held / "config.json").exists()
    claim.release()
    cluster.work(file)
    assert sweep.status() == "4 runs: 4 done, 0 running, 0 waiting, 0 lost"
    assert sorted(path.name for path in waiting.iterdir()) == FILES


@pytest.mark.usefixtures("usr2")
@pytest.mark.parametrize("n", [1, 2])
def test_at_the_end_of_its_time_a_worker_is_begun_again_if_runs_are_left(
    n: int, config: RunConfig, tmp_path: Path, squeue: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice comes with the last evaluation of the first run, which is done then."""
    squeue(f'echo "$0 $*" >> {tmp_path}/said')
    (tmp_path / "bin" / "squeue").rename(tmp_path / "bin" / "scontrol")
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    sweep = Sweep.of({"x": [config.override({"seed": seed}) for seed in range(n)]}, tmp_path)
    (tmp_path / "sweep.json").write_text(sweep.text)
    save = Trainer.finish
    monkeypatch.setattr(Trainer, "finish", lambda self: (save(self), os.kill(os.getpid(), signal.SIGUSR2)))
    cluster.work(tmp_path / "sweep.json")
    said = (tmp_path / "said").read_text() if n == 2 else ""
    assert (tmp_path / "said").exists() == (n == 2) and said.endswith("scontrol requeue 12_3\n" * (n == 2))
    assert sweep.status().startswith(f"{n} runs: 1 done, 0 running, {n - 1} waiting")


def test_a_worker_refuses_other_code(config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, usr2) -> None:
    sweep = Sweep.of({"x": [config]}, tmp_path)
    (tmp_path / "sweep.json").write_text(sweep.text)
    monkeypatch.setattr(cluster, "code_hash", lambda: "of code that was edited since")
    with pytest.raises(UserError, match="the code in lib has changed since this worker was sent"):
        cluster.work(tmp_path / "sweep.json")
    assert Sweep.of({"x": [config]}, tmp_path).name != sweep.name
