"""Stored runs: find one, or have a list of configs trained as far as they are missing."""

import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lib.config import RunConfig
from lib.experiments.catalogue import WITH_WEIGHTS
from lib.language.corpora import check_unchanged
from lib.runs import archive
from lib.runs.pool import Pool
from lib.runs.run import Run
from lib.support.errors import UserError
from lib.support.files import ROOT, sole_use
from lib.support.machine import check_device
from lib.support.processes import default_workers
from lib.training import distributed
from lib.training.backends import check_backends
from lib.training.datasets import check_all
from lib.training.folder import STATE, SUMMARY, Folder, describe
from lib.training.trainer import train
from lib.training.weights import halve

CHECKPOINTS = ROOT / "checkpoints"
SWEEP = 8  # of an experiment with more runs than this, git would keep hundreds of small files: it is one archive


def find(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run | None:
    """The finished run of `config`, from its folder or from the archive `<experiment>.zip`; None if there is none.

    A run in the archive that was begun again counts as none until it is finished.
    """
    folder = root / experiment / config.id
    places: list[Folder] = [folder]
    packed = archive.open_archive(root / experiment)
    if packed is not None and not (folder / STATE).exists():
        places.append(packed / config.id)
    for place in places:
        if (place / SUMMARY).exists():
            run = Run(place)
            if run.config == config:
                return run
    return None


def stored(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run:
    """The finished run of `config`; raises UserError if there is none."""
    run = find(experiment, config, root)
    if run is None:
        raise UserError(f"{root / experiment / config.id}: not a finished run; train it with python -m lib.train")
    return run


def run_all(experiment: str, configs: Sequence[RunConfig], **options: Any) -> list[Run]:
    """The runs of `configs`, in their order; those that are not stored yet are trained first (options: `train_all`)."""
    train_all({experiment: configs}, **options)
    return [stored(experiment, config, options.get("root", CHECKPOINTS)) for config in configs]


def train_all(
    plan: Mapping[str, Sequence[RunConfig]],
    *,
    fresh: bool = False,
    workers: int | None = None,
    device: str = "cpu",
    root: Path = CHECKPOINTS,
    backends: Sequence[str] = (),
    shard: bool = False,
) -> None:
    """Train the runs of some experiments, by name, that are not stored yet, or all of them if `fresh`.

    Each run has a process of its own with one thread, `workers` at a time (default: one per processor). A run cut off
    earlier resumes from its saved state. A sweep ends up in an archive (`keep_light`). `backends`: names of
    lib/training/backends.py; `shard`: see lib/training/distributed.py. Raises UserError before anything begins if a
    config, a folder or a back end cannot work, and at the end if a run failed.
    """
    check_device(device)
    check_backends(backends)
    missing: dict[Path, RunConfig] = {}
    for experiment, configs in plan.items():
        new = [c for c in dict.fromkeys(configs) if fresh or find(experiment, c, root) is None]
        missing |= {root / experiment / config.id: config for config in new}
        for config in set(configs) - set(new):
            if config.data.task == "corpus":
                check_unchanged(config.data, stored(experiment, config, root).summary)
    for config in {config for configs in plan.values() for config in configs} if shard else ():
        distributed.check_shard(config)
    check_all(missing.values())
    for folder in {folder.parent for folder in missing}:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error.strerror}); choose another folder") from None
    if missing:
        kept = sum(len(set(configs)) for configs in plan.values()) - len(missing)
        if distributed.rank() == 0:
            print(f"{', '.join(plan)}: {len(missing)} runs to train, {kept} stored", file=sys.stderr, flush=True)
        try:
            if distributed.size() > 1:
                train_together(missing, fresh, device, backends, shard)
            else:
                Pool(device, workers or default_workers(device), fresh, backends).run(missing)
        finally:
            for folder in {folder.parent for folder in missing} if distributed.rank() == 0 else ():
                keep_light(folder, plan[folder.name])
        distributed.barrier()  # until the runs are where they stay
    elif backends and distributed.rank() == 0:
        print("nothing to train, so nothing to show: --fresh trains stored runs again", file=sys.stderr)


def keep_light(folder: Path, configs: Sequence[RunConfig]) -> None:
    """Make an experiment's runs small enough to be committed, in the project's own checkpoints/ alone.

    The runs of a sweep, which are more than SWEEP, go into an archive without weights. The runs in WITH_WEIGHTS stay
    folders, and their weights become float16.
    """
    if folder.parent.resolve() == CHECKPOINTS:
        asked = WITH_WEIGHTS.get(folder.name, ())
        for config in set(configs).intersection(asked):
            halve(folder / config.id)
        if len(set(configs)) > SWEEP:
            archive.pack(folder, {config.id for config in set(configs).difference(asked)})


def train_together(
    runs: Mapping[Path, RunConfig], fresh: bool, device: str, backends: Sequence[str], shard: bool
) -> None:
    """Train each config into its folder, one after the other, all processes at the same."""
    first = distributed.rank() == 0
    for folder, config in runs.items():
        if first and fresh and folder.exists():
            with sole_use(folder):
                shutil.rmtree(folder)
        distributed.barrier()
        tell = (lambda row: print(describe(row), file=sys.stderr, flush=True)) if first else (lambda row: None)
        train(config, folder, device, tell, backends, shard)
        distributed.barrier()
