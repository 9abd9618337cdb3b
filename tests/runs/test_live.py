"""Live runs beside stored ones."""

from lib.config import RunConfig
from lib.language import networks
from lib.runs.live import agreement, run_live


def test_agreement_of_another_config(tiny: RunConfig) -> None:
    runs = [run_live(tiny.override({"train.max_steps": 10, "model.init_scale": s})) for s in (1, 2)]
    assert agreement(*runs) == "the live run has another config than the stored run"
    assert networks.n_params(runs[0].load()[0]) == runs[0].summary["n_params"]  # though its folder is gone
