"""Stored runs: find one, or have a list of configs trained as far as they are missing."""

import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.config import RunConfig
from lib.experiments.catalogue import WITH_WEIGHTS
from lib.language.corpora import check_unchanged
from lib.runs import archive, claims
from lib.runs.cluster import ClusterConfig, Sweep, check_slurm
from lib.runs.pool import Pool
from lib.runs.replace import set_aside, settle
from lib.runs.run import CHECKPOINTS, Run, find, stored
from lib.support import machine, processes
from lib.support.errors import UserError
from lib.training import datasets, distributed, weights
from lib.training.backends import Names, check_backends
from lib.training.folder import describe
from lib.training.stack import stacks, train_stack
from lib.training.trainer import ignore, train

SWEEP = 8  # of an experiment with more runs than this, git would keep hundreds of small files: it is one archive


def run_all(experiment: str, configs: Iterable[RunConfig], **options: Any) -> list[Run]:
    """The runs of `configs`, in their order; those that are not stored yet are trained first (options: `train_all`)."""
    configs = list(configs)
    train_all({experiment: configs}, **options)
    return [stored(experiment, config, options.get("root", CHECKPOINTS)) for config in configs]


def train_all(
    plan: Mapping[str, Iterable[RunConfig]],
    *,
    fresh: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    root: Path = CHECKPOINTS,
    backends: Names = (),
    shard: bool = False,
    stack: int | None = None,
    cluster: str = "local",
    slurm: Mapping[str, Any] | None = None,
) -> None:
    """Train the runs of some experiments, by name, that are not stored yet, or all of them if `fresh`.

    Each run has a process of its own with one thread, `workers` at a time (default: one per processor). A run cut off
    earlier resumes from its saved state. In the project's own checkpoints/ a sweep ends up in an archive
    (`keep_light`). `backends`: names of lib/training/backends.py; `shard`: see lib/training/distributed.py; `stack`:
    how many runs of equal shapes to train together in this process (lib/training/stack.py); `cluster`: "local", or
    "slurm" with options such as {"partition": "ckpt"} (lib/runs/cluster.py). Raises UserError before anything begins if
    a config, a folder or a back end cannot work, and at the end if a run failed.
    """
    where = ClusterConfig().override({"cluster": cluster} | {f"slurm.{name}": x for name, x in (slurm or {}).items()})
    if stack is not None:
        check_stack(stack, workers, backends, shard)
    if cluster == "slurm":
        check_alone("--cluster slurm", {"--fresh": fresh, "--shard": shard, "--stack": stack is not None})
        check_slurm(workers)
    else:
        machine.check_device(device)
    check_backends(backends)
    plan, root = {experiment: list(configs) for experiment, configs in plan.items()}, Path(root)
    first = distributed.rank() == 0
    missing: dict[Path, RunConfig] = {}
    for experiment, configs in plan.items():
        for config in dict.fromkeys(configs):
            if shard:
                distributed.check_shard(config)
            folder = root / experiment / config.id
            if first:
                settle(folder)  # if training it again was cut off
            run = None if fresh else find(experiment, config, root)
            if run is None:
                missing[folder] = config
                if first and cluster == "local":
                    claims.check_free(folder)
            elif config.data.task == "corpus":
                check_unchanged(config.data, run.summary.get("sha256", {}), "a stored run was trained on it")
    datasets.check_all(missing.values())
    together = stacks(missing, stack) if stack else []
    sweep = Sweep.of(plan, root, device, backends) if cluster == "slurm" else None
    folders = {folder.parent for folder in missing}
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if missing:
        kept = sum(len(set(configs)) for configs in plan.values()) - len(missing)
        if first:
            print(f"{', '.join(plan)}: {len(missing)} runs to train, {kept} stored", file=sys.stderr, flush=True)
        try:
            if sweep:
                sweep.train(where.slurm, workers)
            elif stack:
                train_stacks(together, fresh, device)
            elif distributed.size() > 1:
                train_together(missing, fresh, device, backends, shard)
            else:
                Pool(device, workers or processes.default_workers(device), fresh, backends).run(missing)
        finally:
            for folder in folders if first and not (sweep and sweep.left()) else ():  # workers may write there
                keep_light(folder, plan[folder.name])
        distributed.barrier()  # until the runs are where they stay
    elif backends and first:
        print("nothing to train, so nothing to show: --fresh trains stored runs again", file=sys.stderr)


def keep_light(folder: Path, configs: Sequence[RunConfig]) -> None:
    """Make an experiment's runs small enough to be committed, in the project's own checkpoints/ alone.

    More runs than SWEEP go into an archive without weights. Runs in WITH_WEIGHTS stay folders, with weights in float16.
    """
    if folder.parent.resolve() == CHECKPOINTS:
        asked = WITH_WEIGHTS.get(folder.name, ())
        for config in set(configs).intersection(asked):
            weights.halve(folder / config.id)
        if len(set(configs)) > SWEEP:
            archive.pack(folder, {config.id for config in set(configs).difference(asked)})


def train_together(runs: Mapping[Path, RunConfig], fresh: bool, device: str, backends: Names, shard: bool) -> None:
    """Train each config into its folder, one after the other, all processes at the same."""
    first = distributed.rank() == 0
    for folder, config in runs.items():
        if first and fresh and folder.exists():
            set_aside(folder)
        distributed.barrier()
        tell = (lambda row: print(describe(row), file=sys.stderr, flush=True)) if first else ignore
        train(config, folder, device, tell, backends, shard)
        distributed.barrier()
        if first:
            settle(folder)


def check_stack(stack: int, workers: int | None, backends: Names, shard: bool) -> None:
    """Raises UserError if a stack is of no size, or asked for beside what it cannot be combined with."""
    if stack < 1:
        raise UserError(f"--stack {stack}: must be at least 1")
    beside = {"--workers": workers is not None, "--tracker": bool(backends), "--shard": shard}
    check_alone(f"--stack {stack}", beside)


def check_alone(option: str, beside: Mapping[str, bool]) -> None:
    """Raises UserError if an option is asked for together with one of those that it cannot be combined with."""
    for name, asked in {**beside, "torchrun": distributed.size() > 1}.items():
        if asked:
            raise UserError(f"{option}: does not work with {name}; leave one of them out")


def train_stacks(together: Iterable[Mapping[Path, RunConfig]], fresh: bool, device: str) -> None:
    """Train one stack after the other. Raises UserError at the end if a run failed."""
    failed: list[str] = []
    for runs in together:
        for folder in runs:
            if fresh and folder.exists():
                set_aside(folder)
        try:
            train_stack(runs, device)
        except UserError as error:
            failed.append(str(error))
        finally:
            for folder in runs:
                settle(folder)
    if failed:
        raise UserError("; ".join(failed))
