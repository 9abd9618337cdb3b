"""A sweep on a cluster: an array of Slurm's jobs, each a worker that takes runs until none is left.

The run folders are the only truth, for what Slurm says of a job may be wrong in either direction. A run is done when
its summary is there, and a worker trains what it has claimed (lib/runs/claims.py). So workers may be stopped, killed or
begun again at any moment, and the command that sent them may be left and called again.
"""

import hashlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lib.config import RunConfig
from lib.runs import claims
from lib.runs.run import find
from lib.support import processes
from lib.support.errors import UserError, check_package, say
from lib.support.fields import Nested, Section, option
from lib.support.files import ROOT, in_use, write_atomically
from lib.training.folder import SUMMARY, divergence

WORKERS, AT_MOST = 16, 1000  # jobs of an array by default; Slurm's own default has room for 1,001
NOTICE_S = 120  # how long before its end a job is told of it; Slurm may tell it a minute early
POLL_S = 10  # seconds between two looks at the run folders
START_S = 180  # how long a job may take to begin its first run, or to go from one to the next


@dataclass(frozen=True)
class SlurmConfig(Section):
    """What each job asks of Slurm: options of sbatch, which are left out where they are empty."""

    partition: str = option("", "the partition, such as ckpt")
    account: str = option("", "the account")
    time: str = option("4:00:00", "how long a job may take; it is begun again as long as runs are left")
    mem: str = option("4G", "memory of a job")
    gpus: str = option("", "GPUs of a job, such as 1; needs --device cuda")
    constraint: str = option("", "features of a node")
    qos: str = option("", "the quality of service")

    def check(self) -> None:
        shape = r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}"
        self.require(bool(re.fullmatch(shape, self.time)), "time", "minutes, hours:minutes:seconds, or days-hours")


@dataclass(frozen=True)
class ClusterConfig(Nested):
    """Where runs are trained. As options: --cluster, --slurm.partition, …"""

    cluster: Literal["local", "slurm"] = option("local", "on this machine, or in jobs of Slurm")
    slurm: SlurmConfig = field(default=SlurmConfig())


class Sweep:
    """Some experiments' configs, those that are stored among them, and how they are trained."""

    def __init__(self, about: Mapping[str, Any]) -> None:
        self.about = about
        self.root = Path(about["root"])
        configs = [(name, RunConfig.from_dict(one)) for name, some in about["plan"].items() for one in some]
        self.runs = {self.root / name / config.id: config for name, config in configs}
        self.finished: set[Path] = set()
        self.over: set[Path] = set()  # finished, and given back
        self.text = json.dumps(about, sort_keys=True)
        self.name = f"sweep-{hashlib.sha256(self.text.encode()).hexdigest()[:10]}"
        self.place = self.root / ".slurm" / self.name

    @classmethod
    def of(
        cls, plan: Mapping[str, Sequence[RunConfig]], root: Path, device: str = "cpu", backends: Sequence[str] = ()
    ) -> "Sweep":
        stored = {name: [config.to_dict() for config in dict.fromkeys(configs)] for name, configs in plan.items()}
        about = {"plan": stored, "root": str(root.absolute()), "device": device, "backends": list(backends)}
        return cls(about | {"code": code_hash()})

    def is_done(self, folder: Path) -> bool:
        if folder not in self.finished and (
            (folder / SUMMARY).exists() or find(folder.parent.name, self.runs[folder], self.root) is not None
        ):
            self.finished.add(folder)
        return folder in self.finished

    def standing(self, folder: Path) -> str:
        """Whether a run is done, running, waiting, or lost: begun by a worker that is gone."""
        if folder in self.over:
            return "done"
        owner = claims.owner_of(folder)
        lost = owner is not None and owner.is_lost(folder)
        if (owner is not None and not lost) or (folder.exists() and in_use(folder)):
            return "running"
        if self.is_done(folder):
            self.over.add(folder)
            return "done"
        return "lost" if lost else "waiting"

    def standings(self) -> dict[Path, str]:
        """Of each run. Each claim is judged once, which may take a file and a call of Slurm."""
        return {folder: self.standing(folder) for folder in self.runs}

    def status(self) -> str:
        """ "8 runs: 3 done, 2 running, 3 waiting, 0 lost"."""
        return self.told(self.standings())

    def told(self, standings: Mapping[Path, str]) -> str:
        count = Counter(standings.values())
        told = ", ".join(f"{count[each]} {each}" for each in ("done", "running", "waiting", "lost"))
        return f"{len(self.runs)} runs: {told}"

    def left(self) -> list[Path]:
        """The runs that are not done or not yet given back, in which a worker may still write."""
        return [folder for folder, standing in self.standings().items() if standing != "done"]

    def workers(self, standings: Mapping[Path, str]) -> int | None:
        """Jobs that wait, have just begun, or hold a claim: Slurm also calls jobs running that died long ago.

        None if Slurm does not answer.
        """
        if (jobs := claims.queue(f"--name={self.name}")) is None:
            return None
        running = (folder for folder, standing in standings.items() if standing == "running")
        holding = {owner.job for folder in running if (owner := claims.owner_of(folder)) is not None}
        return sum(name in holding or job.state != "RUNNING" or job.seconds < START_S for name, job in jobs.items())

    def train(self, config: SlurmConfig, workers: int | None) -> None:
        """Have what is left trained. Raises UserError if it cannot be, if a run diverged, or on Ctrl-C."""
        left = self.left()
        self.submit(config, workers)
        self.wait()
        for folder in self.runs:  # of workers that were killed when their run was done
            if (owner := claims.owner_of(folder)) is None or owner.is_lost(folder):
                claims.tidy(folder, owner)
        ended = {folder.name: find(folder.parent.name, self.runs[folder], self.root) for folder in left}
        diverged = {name: divergence(run.summary) for name, run in ended.items() if run is not None}
        if any(diverged.values()):
            raise UserError("; ".join(f"run {name}: {told}" for name, told in diverged.items() if told))

    def submit(self, config: SlurmConfig, workers: int | None) -> None:
        """Send as many workers as are needed beside those that there are. Raises UserError if that cannot be."""
        if (there := self.workers(standings := self.standings())) is None:
            raise UserError("--cluster slurm: Slurm does not answer (squeue); call this command again")
        left = [folder for folder, standing in standings.items() if standing != "done"]
        n = min(WORKERS if workers is None else workers, len(left)) - there
        if n > 0:
            send(self, config, n)
            say(f"{n} workers sent to Slurm; what they print: {self.place}")

    def wait(self) -> None:
        """Tell how far the runs are until all are done. Raises UserError if no worker is there, or on Ctrl-C."""
        told, seen = "", time.monotonic()
        try:
            while set((standings := self.standings()).values()) - {"done"}:
                if (status := self.told(standings)) != told:
                    say(f"[{status}]")
                    told = status
                workers, now = self.workers(standings), time.monotonic()
                if workers or workers is None or "running" in standings.values():
                    seen = now
                elif (left := self.left()) and (now - seen > START_S or claims.queue(f"--name={self.name}") == {}):
                    what = f"{len(left)} runs are left, and no worker is there any more"
                    raise UserError(f"{what}; why: {self.place}/*.out; the same command sends new ones")
                for _ in range(5):
                    time.sleep(POLL_S / 5)
                    if all(map(self.is_done, self.runs)):
                        break
        except KeyboardInterrupt:
            again = "the same command comes back to them, and --status tells how far they are"
            raise UserError(f"left; the workers go on; {again}") from None


def send(sweep: Sweep, config: SlurmConfig, n: int) -> None:
    """Submit an array of `n` workers. Raises UserError if Slurm takes none."""
    import submitit

    sweep.place.mkdir(parents=True, exist_ok=True)
    file = sweep.place / "sweep.json"
    write_atomically(file, sweep.text)
    asked = {name: value for name, value in vars(config).items() if value}
    # the same memory pages as the pool's workers have (lib/runs/pool.py)
    setup = ["export OMP_NUM_THREADS=1 GLIBC_TUNABLES=glibc.malloc.hugetlb=1"]
    setup += [f'export PYTHONPATH={shlex.quote(str(ROOT))}"${{PYTHONPATH:+:$PYTHONPATH}}"']
    executor = submitit.SlurmExecutor(folder=sweep.place)
    executor.update_parameters(
        **{"job_name": sweep.name, "cpus_per_task": 1, "array_parallelism": n, "signal_delay_s": NOTICE_S},
        **{"setup": setup, "stderr_to_stdout": True, "srun_args": ["--open-mode=append"]},
        additional_parameters=asked | {"requeue": True},
    )
    try:
        executor.map_array(work, [file] * n)
    except RuntimeError as error:  # submitit's own are such; sbatch ends with what is wrong
        raise UserError(f"--cluster slurm: no jobs were taken: {str(error).strip().splitlines()[-1]}") from None


def check_slurm(workers: int | None) -> None:
    """Raises UserError if this machine cannot send so many workers to Slurm."""
    check_package("--cluster slurm", "submitit")
    if shutil.which("sbatch") is None:
        raise UserError("--cluster slurm: there is no sbatch here; must be local, or called on a cluster")
    if workers is not None and workers > AT_MOST:
        raise UserError(f"--workers {workers}: must be at most {AT_MOST} with --cluster slurm")


def code_hash() -> str:
    """Of all code in lib: a job runs what is there when it begins, perhaps days after it was sent."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "lib").rglob("*.py")):
        digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()


def work(file: Path) -> None:
    """A worker: trains the runs of a sweep that nobody else trains, one after the other, until none is left.

    It stops between two steps, its state saved, on TERM, and on USR2, which says that the job's time is over. Then
    Slurm is to begin it again, if runs are left. Raises UserError at the end if a run failed.
    """
    noticed = threading.Event()
    signal.signal(signal.SIGUSR2, lambda *_: noticed.set())  # instead of submitit's handler
    sweep, failed = Sweep(json.loads(file.read_text())), {}  # type: Sweep, dict[Path, str]
    if sweep.about["code"] != code_hash():
        raise UserError("the code in lib has changed since this worker was sent; the same command sends new ones")
    with processes.stop_signal() as stopped:
        while not (noticed.is_set() or stopped()) and (claim := take(sweep, failed)):
            try:
                if error := train_claimed(sweep, claim, lambda: noticed.is_set() or stopped()):
                    failed[claim.folder] = error
                    print(f"{claim.folder.name}: {error}", flush=True)
            finally:
                claim.release()
        if noticed.is_set() and sweep.left():
            print("the time is over, and runs are left: to be begun again", flush=True)
            subprocess.run(["scontrol", "requeue", claims.this_job()], check=False)
    if failed:
        raise UserError("; ".join(f"run {folder.name}: {error}" for folder, error in failed.items()))


def train_claimed(sweep: Sweep, claim: claims.Claim, stopping: Callable[[], bool]) -> str | None:
    """Train a claimed run as far as may be; what went wrong, if anything did. A claim that was lost is no fault."""
    from lib.training.trainer import Interrupted, train

    def asked() -> bool:
        claim.beat()
        return stopping()

    device, backends = sweep.about["device"], sweep.about["backends"]
    try:
        with claim.fenced():
            train(sweep.runs[claim.folder], claim.folder, device, backends=backends, asked=asked)
    except Interrupted as stop:
        print(stop, flush=True)
    except Exception as error:  # of the library, too: the other runs go on
        if claim.is_held():
            return str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        print(f"{claim.folder.name}: another worker has taken it over", flush=True)
    return None


def take(sweep: Sweep, failed: Mapping[Path, str]) -> claims.Claim | None:
    """A claim on the longest run that is not done and that nobody trains; None if there is none."""
    from lib.runs.pool import length

    for folder in sorted(sweep.runs, key=lambda folder: length(sweep.runs[folder]), reverse=True):
        if folder not in failed and not sweep.is_done(folder) and (claim := claims.take(folder)):
            if not sweep.is_done(folder):  # meanwhile
                return claim
            claim.release()
    return None
