"""How long a training step takes, by kind of step: the quickest of some, all in turns, in one process with one thread.

Writes lib/experiments/step_times.json, which notebooks 05, 07 and 08 read. Nothing else should run. To be called again
where the trainer, torch or a config has changed.
"""

import torch

from bench.side import new_trainer, timed
from lib.analysis.step_times import STEP_TIMES, kind
from lib.experiments.ablation import RECIPE, TWO_LAYERS
from lib.experiments.catalogue import EXPERIMENTS
from lib.experiments.reliable import SURE
from lib.support import machine
from lib.support.files import write_json

ROUNDS, WARM_UP = 20, 2
SWEEPS = ("lstm_vs_gpt", "lstm_vs_gpt_deeper", "tinystories")
SINGLE = (TWO_LAYERS, RECIPE, SURE)  # AdamW and Muon, batches of 512, and Muon with batches of 1,024


def main() -> None:
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    machine.keep_freed_memory()
    configs = [*SINGLE, *(config for name in SWEEPS for config in EXPERIMENTS[name]())]
    trainers = {kind(config): new_trainer(config) for config in {kind(config): config for config in configs}.values()}
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(WARM_UP + ROUNDS):
        for name, trainer in trainers.items():
            seconds[name].append(timed(trainer.loop.take_step))
    quickest = {name: float(f"{min(times[WARM_UP:]):.3g}") for name, times in seconds.items()}  # noise only adds
    environment = {"processor": machine.processor(), "torch": torch.__version__, "threads": 1, "rounds": ROUNDS}
    write_json(STEP_TIMES, environment | {"seconds": quickest})


if __name__ == "__main__":
    main()
