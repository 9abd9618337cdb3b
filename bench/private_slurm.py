"""A Slurm of one node for the tests: its own configuration, key, sockets and ports, all in one folder.

A Slurm that the machine may have is not touched. Everything that was started ends with it.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CONFIG = """
ClusterName=private
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=0,batch_sched_delay=0,bf_interval=1
MpiDefault=none
ReturnToService=2
KillWait={kill_wait}
UnkillableStepTimeout=30
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=1000000 State=UNKNOWN
PartitionName=ckpt Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Why there can be no private Slurm here; nothing if there can be one."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "srun", "sbatch") if found(name) is None]
    if missing:
        return f"Slurm is not installed ({', '.join(missing)}); on Debian: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "Slurm's daemons are started by root alone"


def found(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


@contextmanager
def slurm(folder: Path, cpus: int = 64, kill_wait: int = 5) -> Iterator[None]:
    """Starts Slurm in an empty folder, and sets SLURM_CONF, by which all commands find it. `cpus` may be made up."""
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o400)
    folder.chmod(0o755)
    host, ports = socket.gethostname().partition(".")[0], free_ports(2)
    about = {"host": host, "ports": ports, "cpus": cpus, "kill_wait": kill_wait}
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, **about))
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munge.pid", "seed-file": "munge.seed"}
    munge = [f"--{option}={folder / name}" for option, name in places.items()]
    daemons: list[subprocess.Popen[bytes]] = []
    try:
        for argv in (
            ["munged", "--foreground", "--force", "--num-threads=2", f"--log-file={folder}/munged.log", *munge],
            ["slurmctld", "-D"],
            ["slurmd", "-D", "-N", host],
        ):
            with open(folder / f"{argv[0]}.out", "wb") as out:
                daemons.append(subprocess.Popen([found(argv[0]) or "", *argv[1:]], stdout=out, stderr=out))
            if argv[0] == "munged":
                until(lambda: (folder / "munge.socket").exists(), 60)
        until(lambda: "idle" in said("sinfo", "--noheader", "--format=%T"), 120)
        yield
    finally:
        end(folder, daemons)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def end(folder: Path, daemons: list[subprocess.Popen[bytes]]) -> None:
    """Kill the daemons, and whatever they have started; nothing may be left of them."""
    for daemon in reversed(daemons):
        daemon.terminate()
        try:
            daemon.wait(5)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()
    until(lambda: not [os.kill(pid, signal.SIGKILL) for pid in started(folder)], 20)


def started(folder: Path) -> list[int]:
    """The processes that were told of this Slurm, but for this one: daemons, steps, scripts, workers."""
    mark, own, found = os.fsencode(f"SLURM_CONF={folder / 'slurm.conf'}"), {os.getpid(), os.getppid()}, []
    for place in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # gone meanwhile
            if mark in (place / "environ").read_bytes().split(b"\0") and int(place.name) not in own:
                found.append(int(place.name))
    return found


def free_ports(n: int) -> list[int]:
    """Ports that nobody uses at the moment."""
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def said(*argv: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout


def until(true: Callable[[], bool], seconds: float) -> None:
    """Wait until something is true. Raises TimeoutError after so many seconds."""
    end_at = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end_at:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)
