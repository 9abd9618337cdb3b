"""Stored runs: open one, or have a list of configs trained as far as they are missing."""

import csv
import json
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from lib import archive, checkpoint, distributed, stats
from lib.backends import check_backends
from lib.config import RunConfig
from lib.corpora import check_unchanged
from lib.datasets import check_all
from lib.fields import UserError
from lib.machine import ROOT, check_device, default_workers, sole_use
from lib.networks import Network
from lib.pool import Pool, divergence
from lib.tokenizer import Tokenizer
from lib.tracker import Row, columns, describe, read_answers, read_metrics
from lib.train import Interrupted, train

CHECKPOINTS = ROOT / "checkpoints"
SWEEP = 30  # an experiment of more runs than this is stored as one archive


class Run:
    """A finished run, in a folder or in a sweep's archive. Raises UserError if it is not finished, or damaged."""

    def __init__(self, path: Path | zipfile.Path) -> None:
        self.path = path
        if not (path / "summary.json").exists():
            raise UserError(f"{path}: not a finished run: it has no summary.json")
        self.summary, config = self.json("summary.json"), self.json("config.json")
        try:
            self.config = RunConfig.from_dict(config)
        except UserError as error:
            raise UserError(f"{path / 'config.json'}: {error}") from None
        try:
            rows = read_metrics(path)
        except (OSError, ValueError, TypeError, csv.Error):
            rows = []
        whole = rows and (rows[-1]["step"] == self.summary.get("steps") or "diverged_at" in self.summary)
        if not whole or "t_grok" not in self.summary:
            raise UserError(f"{path}: metrics.csv or summary.json is damaged; train the run again with --fresh")
        as_float = {name: [np.nan if row[name] is None else row[name] for row in rows] for name in columns(self.config)}
        self.metrics: dict[str, np.ndarray] = {name: np.array(column) for name, column in as_float.items()}

    def json(self, name: str) -> dict[str, Any]:
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{self.path / name}: cannot be read ({error}); train the run again with --fresh") from None

    @cached_property
    def log(self) -> str:
        return (self.path / "train.log").read_text(encoding="utf-8")

    @property
    def t_fit(self) -> int | None:
        return self.summary["t_fit"]

    @property
    def t_grok(self) -> int | None:
        return self.summary["t_grok"]

    @property
    def delay(self) -> int | None:
        """T_grok - T_fit in steps; None if the run does not grok."""
        return None if self.t_grok is None or self.t_fit is None else self.t_grok - self.t_fit

    @property
    def diverged_at(self) -> int | None:
        return self.summary.get("diverged_at")

    def results(self) -> dict[str, Any]:
        """What the report tells of the run: its summary, seed and delay, and how steady it is once it has grokked."""
        after = self.metrics["test_acc"][self.metrics["step"] >= (self.t_grok or np.inf)][stats.PATIENCE :]
        steadiness = {
            "lowest_after_grok": after.min() if len(after) else None,
            "share_below_after_grok": (after < stats.SOLVED).mean() if len(after) else None,
        }
        return self.summary | {"seed": self.config.seed, "delay": self.delay} | steadiness

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """`step` (K,) and for each split the answers (K, N) at those steps.

        Raises UserError unless the run was trained with train.keep_answers.
        """
        if not (self.path / "answers.npz").exists():
            raise UserError(f"{self.path}: keeps no answers; train it with --train.keep_answers true")
        return read_answers((self.path / "answers.npz").read_bytes())

    @cached_property
    def samples(self) -> dict[int, str]:
        """Step -> how the network continued train.prompt then. Raises UserError unless the run had one."""
        return {sample["step"]: sample["text"] for sample in self.json("samples.json")}

    @property
    def snapshots(self) -> dict[int, Path]:
        """Step -> weights file. Raises UserError unless the run was trained with train.keep_weights."""
        kept = self.path / checkpoint.SNAPSHOTS
        files = {int(path.stem): path for path in kept.glob("*.safetensors")} if isinstance(kept, Path) else {}
        if not files:
            raise UserError(f"{self.path}: keeps no weights on the way; train it with --train.keep_weights true")
        return dict(sorted(files.items()))

    @cached_property
    def _loaded(self) -> tuple[Network, Tokenizer, RunConfig]:
        if not isinstance(self.path, Path):
            raise UserError(f"{self.path}: an archived run keeps no weights; train its config on its own to have them")
        return checkpoint.load_weights(self.path)

    def load(self) -> tuple[Network, Tokenizer, RunConfig]:
        """Model, tokenizer and config, from the stored weights. Raises UserError if the run keeps none."""
        return self._loaded


def find(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run | None:
    """The finished run of `config`, from its folder or from the archive `<experiment>.zip`; None if there is none.

    A run in the archive that was begun again counts as none until it is finished.
    """
    folder = root / experiment / config.id
    places: list[Path | zipfile.Path] = [folder]
    packed = archive.open_archive(root / experiment)
    if packed is not None and not (folder / "state.pt").exists():
        places.append(packed / config.id)
    for place in places:
        if (place / "summary.json").exists():
            run = Run(place)
            if run.config == config:
                return run
    return None


def stored(experiment: str, config: RunConfig, root: Path = CHECKPOINTS) -> Run:
    """The same, or a UserError."""
    run = find(experiment, config, root)
    if run is None:
        raise UserError(f"{root / experiment / config.id}: not a finished run; train it with python -m lib.train")
    return run


def run_live(config: RunConfig, on_eval: Callable[[Row], None] = lambda row: None) -> Run:
    """Train here and now, in this process, for watching; `on_eval` sees each evaluation. Nothing stays on the disk.

    Raises UserError if it diverges or is stopped.
    """
    folder = Path(tempfile.mkdtemp(prefix="run-"))
    try:
        train(config, folder, on_eval=on_eval)
        run = Run(folder)
        if run.diverged_at is not None:
            raise UserError(divergence(folder))
        _ = run.log, run.load()
    except Interrupted as stop:
        raise UserError(f"stopped at step {stop.step}; a live run is not kept") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return run


def agreement(live: Run, stored: Run) -> str:
    """How a run trained here compares with the stored one of the same config, at the evaluations both have.

    Equal on the same kind of processor; elsewhere rounding differs in the last bit, and training magnifies that.
    """
    if replace(live.config, train=stored.config.train) != stored.config:
        return "the live run has another config than the stored run"
    steps = np.intersect1d(live.metrics["step"], stored.metrics["step"])
    losses = [run.metrics["train_loss"][np.isin(run.metrics["step"], steps)] for run in (live, stored)]
    apart = ~np.isclose(*losses, rtol=1e-6)
    if not apart.any():
        return f"the live run and the stored run agree at all {len(steps)} evaluations up to step {int(steps[-1]):,}"
    return f"the live run and the stored run agree before step {int(steps[apart][0]):,}; then rounding leads them apart"


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

    Each in a process of its own with one thread, `workers` at a time (default: one per processor). A run cut off
    earlier goes on from its saved state. More than SWEEP runs of an experiment end up in an archive. `backends` are
    the names of those that show what is trained (lib.backends); `shard`: see lib.distributed. Raises UserError before
    anything begins if a config, a folder or a back end cannot work, and if a run fails, after the others are done.
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
            for experiment, configs in plan.items():
                ids = {config.id for config in configs}
                trained = any(folder.parent.name == experiment for folder in missing)
                if len(ids) > SWEEP and trained and distributed.rank() == 0:
                    archive.pack(root / experiment, ids)
        distributed.wait()  # until the runs are where they stay
    elif backends and distributed.rank() == 0:
        print("nothing to train, so nothing to show: --fresh trains stored runs again", file=sys.stderr)


def train_together(
    runs: Mapping[Path, RunConfig], fresh: bool, device: str, backends: Sequence[str], shard: bool
) -> None:
    """Train each config into its folder, one after the other, all processes at the same."""
    first = distributed.rank() == 0
    for folder, config in runs.items():
        if first and fresh and folder.exists():
            with sole_use(folder):
                shutil.rmtree(folder)
        distributed.wait()
        tell = (lambda row: print(describe(row), file=sys.stderr, flush=True)) if first else (lambda row: None)
        train(config, folder, device, tell, backends, shard)
        distributed.wait()


def medians(runs: Sequence[Run]) -> dict[str, float | None]:
    """Kaplan-Meier medians of T_fit, T_grok and the delay; runs that do not get there count as censored.

    None if so many do not that there is no median.
    """
    return {name: stats.median_time(*censored(runs, name))[0] for name in ("t_fit", "t_grok", "delay")}


def censored(runs: Sequence[Run], name: str) -> tuple[list[float], list[bool]]:
    """(times, observed) of a milestone: where a run does not reach it, the time at which we stopped looking.

    A run that does not fit has no delay, and is left out of its sample.
    """
    times, observed = [], []
    for run in runs:
        end, seconds = run.metrics["step"][-1], run.metrics["time_s"]
        if name == "delay" and run.t_fit is None:
            continue
        limit = {"delay": end - (run.t_fit or 0), "seconds": seconds[-1]}.get(name, end)
        if run.diverged_at is not None:
            limit = np.inf  # however long we look
        if name == "seconds":
            value = None if run.t_grok is None else seconds[run.metrics["step"] == run.t_grok][0]
        else:
            value = getattr(run, name)
        times.append(float(limit if value is None else value))
        observed.append(value is not None)
    return times, observed
