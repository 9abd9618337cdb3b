"""The first numbers of each preset: logits, loss, and the losses of ten steps, to notice what changes them unawares.

`python tests/experiments/golden.py` writes them into golden.json anew, for a change that is meant.
"""

import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from lib.config import RunConfig
from lib.experiments.arithmetic import MEMORIZE
from lib.experiments.language import GPT2, TINYSTORIES, WIKITEXT, experiment
from lib.experiments.presets import ADD_SUB, CHARACTERS, DIVISION, DIVISION_POWER
from lib.language import corpora
from lib.training.datasets import load_data
from lib.training.trainer import Trainer

FILE = Path(__file__).with_name("golden.json")
STEPS = 10
OWN_TEXT = {"data.vocab_size": 298, "data.val_fraction": 0.3, "data.eval_tokens": 512}
OWN_TEXT |= {"train.prompt": "", "train.batch_size": 4}  # seconds less
PRESETS = {
    "the starter divides": DIVISION,
    "Power et al.'s network divides": DIVISION_POWER,
    "a sentence": MEMORIZE,
    "addition and subtraction, a token per digit": ADD_SUB.override(CHARACTERS | {"data.operation": "-"}),
    "LSTM on WikiText": WIKITEXT.override(experiment(2) | OWN_TEXT),
    "GPT on WikiText": WIKITEXT.override(experiment(6) | OWN_TEXT),
    "TinyStories": TINYSTORIES.override(OWN_TEXT),
    "GPT-2": GPT2.override(OWN_TEXT),
}


def numbers(config: RunConfig) -> dict[str, Any]:
    """`logits`: eight after a first sequence. `loss`: of the first batch. `losses`: of the first steps."""
    with tempfile.TemporaryDirectory() as folder:
        if config.data.task == "corpus":
            path = Path(folder) / "text.txt"
            path.write_text(text())
            corpora.CACHE, cache = Path(folder) / "cache", corpora.CACHE
            try:
                data = load_data(config.override({"data.corpus": str(path)}))
            finally:
                corpora.CACHE = cache
        else:
            data = load_data(config)
        (run := Path(folder) / "run").mkdir()
        trainer = Trainer(config, data, run)
        loop = trainer.loop
        batch = data.splits["train"][loop.batch_rows()]
        with torch.no_grad():
            logits = trainer.model(batch.tokens[:1], None if batch.lengths is None else batch.lengths[:1], last=True)
            loss = trainer.objective(batch)
        for _ in range(STEPS):
            loop.take_step()
    told = {"logits": logits[0, :8], "loss": loss, "losses": torch.stack(loop.losses)}
    return {name: json.loads(json.dumps(x.float().tolist()), parse_float=shortened) for name, x in told.items()}


def shortened(number: str) -> float:
    return float(f"{float(number):.7g}")


def text() -> str:
    """Sentences about animals, always the same."""
    chance = random.Random(1)
    words = [("the cat", "a dog", "one bird"), ("sees", "hears", "never finds"), ("the sea.", "a tree.", "it!")]
    stories = [" ".join(chance.choice(some) for some in words * 4) for _ in range(300)]
    return "\n<|endoftext|>\n".join(stories)


if __name__ == "__main__":
    torch.set_num_threads(1)
    lines = [f"{json.dumps(name)}: {json.dumps(numbers(config))}" for name, config in PRESETS.items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
