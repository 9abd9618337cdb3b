"""A run trained here and now, for watching, and how it compares with a stored run."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from lib.config import RunConfig
from lib.runs.run import Run
from lib.support.errors import UserError
from lib.training.trainer import Interrupted, Show, ignore, train


def run_live(config: RunConfig, show: Show = ignore) -> Run:
    """Train here and now, in this process, for watching; `show` sees each evaluation. Nothing stays on the disk.

    Raises UserError if it diverges or is stopped.
    """
    with tempfile.TemporaryDirectory(prefix="run-", ignore_cleanup_errors=True) as folder:
        try:
            train(config, Path(folder), show=show)
        except Interrupted as stop:
            raise UserError(f"stopped at step {stop.step}; a live run is not kept") from None
        run = Run(Path(folder))
        if run.diverged_at is not None:
            raise UserError(run.divergence)
        _ = run.log, run.load()
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
