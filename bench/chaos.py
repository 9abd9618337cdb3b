"""`make chaos`: 200 tiny runs on a Slurm of their own, whose jobs are killed, requeued, cancelled and stopped.

No run may be lost or doubled: at the end each must equal the same run trained by the pool in peace, to the last bit.
It fails, too, if the runs are done before 100 hits were dealt.
With --overhead: how much longer two workers of Slurm take than the pool's for the same runs, in peace.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.private_slurm import lacking, said, slurm, started
from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.runs import claims, cluster
from lib.runs.stored import run_all
from lib.support.errors import one_line_errors
from lib.support.files import ROOT, write_json
from lib.support.processes import interrupt
from lib.training.folder import ANSWERS, METRICS, WEIGHTS, read_metrics

NAME = "chaos"
KINDS = ("script", "python", "slurmstepd", "requeue", "cancel", "notice")
TINY = RunConfig(
    data=DataConfig(p=13),
    model=ModelConfig(n_layers=1, n_heads=2, d_model=16, d_ff=32, context_length=8, dropout=0.1),
    optim=OptimConfig(lr=1e-2),
    train=TrainConfig(batch_size=16, max_steps=300, eval_every=10, eval_growth=1, keep_answers=True),
)


def runs(n: int, steps: int) -> list[RunConfig]:
    return [TINY.override({"seed": seed, "train.max_steps": steps + 10 * (seed % 7)}) for seed in range(n)]


def call(root: Path, n: int, steps: int, workers: int) -> None:
    """What a user calls, again and again."""
    cluster.POLL_S, cluster.START_S = 1, 60
    run_all(NAME, runs(n, steps), root=root, workers=workers, cluster="slurm", slurm={"mem": "1G", "time": "60"})


class Chaos:
    """A sweep under fire; `done` counts what was done to it, and `calls` how often it was called."""

    def __init__(self, folder: Path, kills: int, seed: int, command: list[str]) -> None:
        self.root, self.folder, self.kills = folder / "fire", folder, kills
        self.argv = [sys.executable, "-m", "bench.chaos", "--call", str(self.root), *command]
        self.chance, self.done, self.calls = random.Random(seed), Counter(), 0  # type: random.Random, Counter[str], int
        self.plan = [KINDS[i % len(KINDS)] for i in range(kills)]
        self.chance.shuffle(self.plan)
        self.hit: set[str] = set()  # the owners that were hit: each life is hit once

    def run(self) -> None:
        """Call the command until it ends well, and do what is planned. Raises RuntimeError if it never does."""
        command: subprocess.Popen[bytes] | None = None
        last = time.monotonic()
        while command is None or command.poll() != 0:
            if command is None or command.poll() is not None:
                with open(self.folder / "command.log", "ab") as log:
                    command = subprocess.Popen(self.argv, cwd=ROOT, stdout=log, stderr=log)
                self.calls += 1
            time.sleep(0.2)
            for name, job in (claims.queue("--states=pending") or {}).items():
                if job.restarts:  # Slurm itself would wait for two minutes
                    said("scontrol", "update", f"JobId={name}", "StartTime=now")
            if self.plan and time.monotonic() - last > 0.5 and self.do(self.plan[-1]):
                last = time.monotonic()
                self.done[self.plan.pop()] += 1
                if not self.plan or len(self.plan) % 10 == 3:
                    command.send_signal(signal.SIGINT)  # the command is left, and called again
            if self.calls > 3 * self.kills + 20:
                raise RuntimeError(f"called {self.calls} times; see {self.folder / 'command.log'}")

    def do(self, kind: str) -> bool:
        """Hit a worker in the midst of a run; false if there is none."""
        owners = [
            (path.parents[1], claims.owner_of(path.parents[1])) for path in self.root.glob("*/*/claim/owner.json")
        ]
        fresh = [(folder, owner) for folder, owner in owners if owner and owner.token not in self.hit]
        live = [owner for folder, owner in fresh if len(read_metrics(folder)) > 1 and not owner.is_lost(folder)]
        if not live:
            return False
        owner = self.chance.choice(live)
        self.hit.add(owner.token)
        if kind in ("script", "python", "slurmstepd"):
            hit = [owner.pid] if kind == "python" else of_job(owner, kind)
            for pid in hit:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return bool(hit)
        argv = {
            "requeue": ["scontrol", "requeue", owner.job],
            "cancel": ["scancel", owner.job],
            "notice": ["scancel", "--signal=USR2", owner.job],
        }[kind]
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0


def of_job(owner: claims.Owner, kind: str) -> list[int]:
    """The batch script, or the keepers of the steps, of the job of a claim's owner."""
    job = next((word for word in read(owner.pid, "environ").split(b"\0") if word.startswith(b"SLURM_JOB_ID=")), b"=")
    found = []
    for pid in (int(place.name) for place in Path("/proc").glob("[0-9]*")):
        words = read(pid, "cmdline")
        if kind == "slurmstepd":
            hit = words.startswith(b"slurmstepd: [" + job.partition(b"=")[2] + b".")
        else:
            hit = b"/slurm_script" in words and job in read(pid, "environ").split(b"\0")
        found += [pid] * hit
    return found


def read(pid: int, name: str) -> bytes:
    """A file that tells of a process; nothing if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/{name}").read_bytes()
    return b""


def differing(root: Path, other: Path) -> list[str]:
    """The runs of `other` that differ in their metrics, but for seconds, in their weights, or in their answers."""

    def what(folder: Path) -> Any:
        rows = [row | {"time_s": None} for row in read_metrics(folder)]
        files = [(folder / name).read_bytes() for name in (WEIGHTS, ANSWERS)]
        return rows, len((folder / METRICS).read_text().splitlines()), files

    names = [folder.name for folder in (other / NAME).iterdir()]
    return [name for name in names if what(root / NAME / name) != what(other / NAME / name)]


def chaos(folder: Path, n: int, steps: int, workers: int, kills: int, seed: int) -> dict[str, Any]:
    """Train n runs under fire and in peace. What was done, and how many differ, which should be none."""
    with slurm(folder / "slurm"):
        command = [f"--runs={n}", f"--steps={steps}", f"--workers={workers}"]
        begun, under_fire = time.monotonic(), Chaos(folder, kills, seed, command)
        under_fire.run()
        seconds = time.monotonic() - begun
    left = started(folder / "slurm")
    begun = time.monotonic()
    run_all(NAME, runs(n, steps), root=folder / "peace", workers=2)
    times = {"seconds": round(seconds, 1), "seconds_in_peace": round(time.monotonic() - begun, 1)}
    differ = differing(folder / "fire", folder / "peace")
    resumed = sum("resumed at" in path.read_text() for path in (folder / "fire").glob("*/*/train.log"))
    hits = {"hits": sum(under_fire.done.values())} | {kind: under_fire.done[kind] for kind in KINDS}
    told = {"runs": n, "steps": steps, **hits, "calls": under_fire.calls, "resumed": resumed}
    return told | {"differ": len(differ), "processes_left": len(left)} | times


def overhead(folder: Path, n: int, steps: int) -> dict[str, Any]:
    """Seconds that two workers of Slurm take for n runs, over those of the pool's two, from call to end."""
    times = {}
    with slurm(folder / "slurm", cpus=2):
        for where in ("local", "slurm"):
            options: dict[str, Any] = {"mem": "1G", "time": "60"} if where == "slurm" else {}
            begun = time.monotonic()
            run_all(NAME, runs(n, steps), root=folder / where, workers=2, cluster=where, slurm=options)
            times[where] = round(time.monotonic() - begun, 1)
    return {"runs": n, "steps": steps, "seconds": times, "ratio": round(times["slurm"] / times["local"], 3)}


@one_line_errors
def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=1000, help="of a run, at least")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=12, help="so many that some are there to be hit")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default: bench/chaos.json, or bench/overhead.json")
    parser.add_argument("--overhead", action="store_true", help="time Slurm's workers against the pool's instead")
    parser.add_argument("--call", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.call:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which is ignored if this began in the background
        call(args.call, args.runs, args.steps, args.workers)
        return 0
    if why := lacking():
        print(why, file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, interrupt)
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    if args.overhead:
        told = overhead(folder, args.runs, args.steps)
        write_json(args.out or ROOT / "bench" / "overhead.json", told)
        print(json.dumps(told))
        shutil.rmtree(folder)
        return 0
    told = chaos(folder, args.runs, args.steps, args.workers, args.kills, args.seed)
    write_json(args.out or ROOT / "bench" / "chaos.json", told)
    print(json.dumps(told))
    if told["differ"] or told["processes_left"] or told["hits"] < args.kills:  # longer runs meet more of them
        print(f"see {folder}", file=sys.stderr)
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
