"""Claims: of several workers, on one machine or on many, one at a time trains a run.

A claim is the folder CLAIM in a run folder. It is prepared elsewhere and renamed into place, which only one can do, and
it outlives SIGKILL. It holds who made it, and a folder named after its random token, in which every file of the run is
written before it is renamed to its place (`fenced` of lib/support/files.py). Whoever takes the claim of a dead owner
removes that folder first. So an owner that is declared dead and still writes is refused by the file system itself.
"""

import errno
import json
import os
import platform
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from lib.support.errors import UserError
from lib.support.files import fenced, write_json

CLAIM, OWNER, HEARTBEAT = "claim", "owner.json", "heartbeat"
BEAT_S = 10  # seconds between two heartbeats, which the training loop gives
STALE_S = 60  # seconds without a heartbeat after which Slurm is asked for an owner on another machine


@dataclass(frozen=True)
class Owner:
    """Who claims a run. job: the array task, such as "12_3"; restarts: how often Slurm had begun it again."""

    host: str
    boot: str
    pid: int
    start: int
    job: str
    restarts: int
    token: str

    @classmethod
    def this_process(cls) -> "Owner":
        process = {"pid": os.getpid(), "start": start_of(os.getpid()), "token": secrets.token_hex(8)}
        return cls(platform.node(), boot(), job=this_job(), restarts=int(env("SLURM_RESTART_COUNT") or 0), **process)

    def is_lost(self, folder: Path) -> bool:
        """Whether the owner of the claim on a run folder is dead, as far as can be told from this machine.

        Here the process itself tells. Elsewhere the heartbeat must be old, and Slurm must know of no such job, or of a
        later life of it: Slurm alone is wrong in either direction.
        """
        if (self.host, self.boot) == (platform.node(), boot()):
            return start_of(self.pid) != self.start
        if seconds_since_heartbeat(folder, self.token) < STALE_S:
            return False
        jobs = queue(f"--jobs={self.job}")
        return jobs is not None and (self.job not in jobs or jobs[self.job].restarts > self.restarts)


class Claim:
    """This process's claim on a run folder."""

    def __init__(self, folder: Path, owner: Owner) -> None:
        self.folder, self.owner = folder, owner
        self.own = folder / CLAIM / owner.token
        self.beaten = time.monotonic()

    def fenced(self) -> AbstractContextManager[None]:
        """Meanwhile this process writes only what the claim allows."""
        return fenced(self.folder, self.own)

    def is_held(self) -> bool:
        return self.own.exists()

    def beat(self) -> None:
        """A heartbeat, by the file system's clock, if the last one is BEAT_S ago. Raises UserError if it cannot be."""
        if time.monotonic() - self.beaten >= BEAT_S:
            self.beaten = time.monotonic()
            try:
                os.utime(self.own / HEARTBEAT)
            except OSError as error:
                raise UserError(f"{self.folder}: the claim is lost ({error.strerror})") from None

    def release(self) -> None:
        """Give the run back, if the claim is still this process's."""
        if self.is_held():
            tidy(self.folder, self.owner)


def take(folder: Path) -> Claim | None:
    """A claim on a run folder, which is made; None if another's stands. The claim of an owner that is lost goes."""
    before = owner_of(folder)
    if before is not None and not (before.is_lost(folder) and end(folder, before)):
        return None
    claim = Claim(folder, Owner.this_process())
    prepared = folder / f"{CLAIM}.{claim.owner.token}.tmp"
    (prepared / claim.owner.token).mkdir(parents=True)
    (prepared / claim.owner.token / HEARTBEAT).touch()
    write_json(prepared / OWNER, asdict(claim.owner))
    if moved(prepared, folder / CLAIM):
        return claim
    shutil.rmtree(prepared, ignore_errors=True)
    return None


def owner_of(folder: Path) -> Owner | None:
    """Who claims a run folder; None if nobody does."""
    try:
        return Owner(**json.loads((folder / CLAIM / OWNER).read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, TypeError):
        raise UserError(f"{folder / CLAIM}: damaged; if no worker trains this run, delete it") from None


def held_by(folder: Path) -> Owner | None:
    """The owner of the claim on a run folder, if there is one and it is not lost."""
    owner = owner_of(folder)
    return None if owner is None or owner.is_lost(folder) else owner


def check_free(folder: Path) -> None:
    """Raises UserError if a worker elsewhere has claimed the run; removes the claim of one that is lost."""
    if owner := held_by(folder):
        job = owner.job
        if owner.host != platform.node() and shutil.which("squeue") is None:
            over = f"if that is over, delete {folder / CLAIM}"
            raise UserError(f"{folder}: claimed by job {job} of Slurm on {owner.host}; {over}")
        raise UserError(f"{folder}: job {job} of Slurm is training this run; wait for it, or: scancel {job}")
    if owner := owner_of(folder):
        end(folder, owner)


def end(folder: Path, owner: Owner) -> bool:
    """End an owner's claim; false if another does. After that nothing of what the owner writes comes into the folder.

    What stays of the claim keeps others, who judged the owner at the same time, from ending the claim that comes next.
    """
    ended = folder / f"{CLAIM}.{owner.token}.ended.tmp"
    if not (folder / CLAIM / owner.token).exists() or not moved(folder / CLAIM, ended):
        return False
    with suppress(FileNotFoundError):  # a file system of several machines may still know it by its old name
        shutil.rmtree(ended / owner.token)
    return True


def tidy(folder: Path, owner: Owner | None) -> None:
    """End the claim of an owner, who is this process or lost, and remove what ended claims have left in the folder."""
    if owner is not None:
        end(folder, owner)
    for ended in folder.glob(f"{CLAIM}.*.ended.tmp"):
        shutil.rmtree(ended, ignore_errors=True)


def moved(path: Path, to: Path) -> bool:
    """Whether this process could rename a folder; false if it is gone, or if the place is taken."""
    try:
        path.rename(to)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def seconds_since_heartbeat(folder: Path, token: str) -> float:
    """By the file system's clock alone, for the clocks of machines differ; infinite if the claim has gone."""
    with tempfile.NamedTemporaryFile(dir=folder) as now:
        try:
            return os.stat(now.name).st_mtime - (folder / CLAIM / token / HEARTBEAT).stat().st_mtime
        except FileNotFoundError:
            return float("inf")


def boot() -> str:
    """What changes whenever this machine starts; nothing where that is not told, as where there is no Slurm."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""


def start_of(pid: int) -> int:
    """When a process of this machine began, in ticks since the machine did; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 0 if fields[0] in "ZX" else int(fields[19])  # a zombie has ended, though nobody has asked how


def env(name: str) -> str:
    return os.environ.get(name, "")


def this_job() -> str:
    """The array task that this process is; SLURM_JOB_ID may name the whole array."""
    return f"{env('SLURM_ARRAY_JOB_ID')}_{env('SLURM_ARRAY_TASK_ID')}"


@dataclass(frozen=True)
class Job:
    """An array task that Slurm has not done with."""

    state: str
    restarts: int
    seconds: int  # since it began


def queue(which: str) -> Mapping[str, Job] | None:
    """The array tasks in Slurm's queue that an option of squeue selects, by name; None if Slurm does not answer."""
    form = ",".join(f"{name}:|" for name in ("ArrayJobID", "ArrayTaskID", "State", "RestartCnt", "TimeUsed"))
    argv = ["squeue", "--noheader", "--array", which, "--Format", form]
    try:
        call = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if call.returncode and "Invalid job id" not in call.stderr:
        return None
    jobs = {}
    for array, task, state, restarts, used, *_ in (line.split("|") for line in call.stdout.splitlines()):
        parts = [int(part) for part in used.replace("-", ":").split(":") if part.isdigit()]
        seconds = sum(part * unit for part, unit in zip(reversed(parts), (1, 60, 3600, 86400), strict=False))
        jobs[f"{array}_{task}"] = Job(state, int(restarts), seconds)
    return jobs
