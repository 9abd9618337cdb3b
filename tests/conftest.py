"""Small configs that train in a second, the commands as a user calls them, and what several rooms' tests share."""

import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import checked_shapes  # noqa: F401  before anything of lib
import hypothesis
import matplotlib
import pytest
import torch

from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.data import Batch
from lib.experiments import arithmetic
from lib.experiments.presets import POWER
from lib.language import bpe, corpora
from lib.model import Transformer
from lib.runs.run import Run
from lib.runs.stored import CHECKPOINTS
from lib.support.files import sole_use
from lib.training.folder import COLUMNS, line
from lib.training.trainer import train

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
DATA = Path(os.environ["DATA_DIR"]) if os.environ.get("DATA_DIR") else None  # corpora, vocabularies
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
MadeOnce = Callable[[str, Callable[[Path], None]], Path]  # a name, and what fills the folder of that name
torch.set_num_threads(1)
hypothesis.settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("patient")

# half a second: division mod 11
TINY = RunConfig(
    data=DataConfig(p=11),
    model=ModelConfig(n_layers=2, n_heads=2, d_model=16, d_ff=32, context_length=8),
    optim=OptimConfig(lr=1e-2),
    train=TrainConfig(batch_size=16, max_steps=60, eval_every=10, eval_growth=1),
)
LONGER = {"train.max_steps": 600, "train.eval_every": 20, "model.dropout": 0.1, "data.p": 13}  # seconds, to be cut off

# a transformer with few tokens, and options that together meet every branch of its code
VOCAB = 15
PAPER = {name.removeprefix("model."): v for name, v in POWER.items() if name.startswith("model.")}
POSITIONS = ("learned", "sinusoidal", "rope", "none")
OPTIONS = [
    dict(zip(("norm", "norm_placement", "activation", "positions", "tied", "bias"), values, strict=True))
    for values in itertools.product(
        ("layernorm", "rmsnorm", "none"), ("pre", "post"), ("gelu", "swiglu"), POSITIONS, (True, False), (True, False)
    )
]
SOME = [*OPTIONS[::13], PAPER, {"output": "stablemax", "temperature": 0.5}, {}]

# a text of one's own, for language models
CHANCE = random.Random(0)
WORDS = [("the cat", "a dog", "one bird"), ("sees", "hears", "never finds"), ("the sea.", "a 12-year-old tree.", "it!")]
STORIES = [" ".join(CHANCE.choice(words) for words in WORDS * 4) + "\n" for _ in range(40)]
STORY_TEXT = f"{bpe.END}\n".join(STORIES)
SMALL_NETWORK = {"n_layers": 2, "n_heads": 2, "d_model": 16, "d_ff": 32, "d_hidden": 12, "context_length": 8}


def learn_slowly(pieces: Counter[bytes], vocab_size: int) -> list[bytes]:
    """As the definition says: count all pairs, join the most frequent, the greatest of several; and again."""
    tokens = [bytes([byte]) for byte in range(256)]
    words = {piece: [bytes([byte]) for byte in piece] for piece in pieces}
    while len(tokens) < vocab_size:
        pairs: Counter[tuple[bytes, bytes]] = Counter()
        for piece, word in words.items():
            for pair in pairwise(word):
                pairs[pair] += pieces[piece]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        tokens.append(b"".join(best))
        for piece, word in words.items():
            place = 0
            while place < len(word) - 1:
                if (word[place], word[place + 1]) == best:
                    word[place : place + 2] = [b"".join(best)]
                place += 1
            words[piece] = word
    return tokens


# what takes more than a second or two, beside the tests that are marked one by one: `make quick` leaves it out
SLOW = (
    *("runs/test_callers.py", "runs/test_archive.py", "runs/test_damaged.py"),
    *("training/test_backends.py", "training/test_resuming.py"),
    *("training/test_weights.py", "analysis/test_memory.py", "analysis/test_cells.py", "analysis/test_comparison.py"),
    *("figures/test_widgets.py", "commands/test_notebooks_command.py", "commands/test_inference_command.py"),
    *("language/test_faults_corpora.py", "language/test_gpt1.py", "course/test_editions.py"),
    *(
        "commands/test_train_command.py",
        "commands/test_export_command.py",
        "experiments/test_golden.py",
        "experiments/test_catalogue.py",
    ),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests first, so that the workers end together; the others as they stand."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").as_posix() in SLOW:
            item.add_marker("slow")
    items.sort(key=lambda item: max((-mark.args[0] for mark in item.iter_markers("slow") if mark.args), default=0))


@pytest.fixture
def tiny() -> RunConfig:
    """Division mod 11 in 60 steps, which take half a second."""
    return TINY


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run on a small text of one's own; nothing is cached outside of the test's folder."""
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    return story_in(tmp_path)


@pytest.fixture
def tokens() -> torch.Tensor:
    """Random tokens (6, 9)."""
    return torch.randint(VOCAB, (6, 9), generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="session")
def memorized() -> Path:
    """The committed checkpoint of the sentence."""
    return CHECKPOINTS / "memorize" / arithmetic.memorize()[0].id


@pytest.fixture(scope="session")
def division() -> Path:
    """The committed checkpoint of the first division run."""
    return CHECKPOINTS / "grokking" / arithmetic.grokking()[0].id


@pytest.fixture
def cell(tiny: RunConfig, tmp_path: Path) -> list[Run]:
    """Four runs: one groks, one groks and falls back, one fits, one does not."""
    return [
        made_up(tmp_path, tiny, 0, 10, 20),
        made_up(tmp_path, tiny, 1, 10, 40, low=0.5),
        made_up(tmp_path, tiny, 2, 30, None),
        made_up(tmp_path, tiny, 3, None, None),
    ]


def made_up(folder: Path, tiny: RunConfig, seed: int, t_fit: int | None, t_grok: int | None, low: float = 1.0) -> Run:
    """A run folder with these milestones: 100 steps of 10, two a second, the last but one evaluation at `low`."""
    config = tiny.override({"seed": seed, "train.max_steps": 100})
    train(config.override({"train.max_steps": 1}), folder / str(seed))
    (folder / str(seed) / "config.json").write_text(json.dumps(config.to_dict()))
    rows = []
    for step in range(0, 101, 10):
        train_acc = float(t_fit is not None and step >= t_fit)
        test_acc = float(t_grok is not None and step >= t_grok) * (low if step == 90 else 1.0)
        values = {"step": step, "time_s": step / 2, "train_acc": train_acc, "test_acc": test_acc, "test_loss": 0.5}
        rows.append([f"{values[name]:g}" if name in values else "" for name in COLUMNS])
    (folder / str(seed) / "metrics.csv").write_text("".join(map(line, [list(COLUMNS), *rows])))
    summary = json.loads((folder / str(seed) / "summary.json").read_text())
    summary |= {"t_fit": t_fit, "t_grok": t_grok, "steps": 100, "test_acc": test_acc}
    (folder / str(seed) / "summary.json").write_text(json.dumps(summary))
    return Run(folder / str(seed))


def story_in(folder: Path) -> RunConfig:
    """A run of a second on STORY_TEXT, which is written into the folder."""
    (folder / "story.txt").write_text(STORY_TEXT)
    return RunConfig(
        data=DataConfig(
            **{"task": "corpus", "corpus": str(folder / "story.txt"), "tokenizer": "bpe", "vocab_size": 300},
            **{"window": 8, "eval_tokens": 160},
        ),
        model=ModelConfig(**SMALL_NETWORK),
        optim=OptimConfig(lr=1e-2, clip=1.0),
        train=TrainConfig(batch_size=8, max_steps=12, eval_every=4, eval_growth=1),
    )


def build(**options: object) -> Transformer:
    """A small transformer with seeded weights, large enough for its logits to differ."""
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, context_length=12)
    return Transformer(ModelConfig(**(sizes | {"init": "torch"} | options)), VOCAB).eval()


def a_batch(vocab_size: int) -> Batch:
    """Five rows of eight random tokens, all scored."""
    ids = torch.randint(vocab_size, (5, 9), generator=torch.Generator().manual_seed(0))
    return Batch(ids[:, :-1], ids[:, 1:], None)


def digits(operation: str, p: int) -> DataConfig:
    """Equations with a token per digit, whose answers differ in length."""
    return DataConfig(operation=operation, p=p, tokenizer="character")


def bare_metrics(folder: Path) -> list[list[str]]:
    """The cells of metrics.csv without the column time_s, the only one that may differ between equal runs."""
    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()]
    time_s = rows[0].index("time_s")
    return [row[:time_s] + row[time_s + 1 :] for row in rows]


def weights(folder: Path) -> bytes:
    """The weights file of a run, which is the same for the same run."""
    return (folder / "model.safetensors").read_bytes()


def n_rows(folder: Path) -> int:
    """Lines of a run's metrics.csv so far."""
    path = folder / "metrics.csv"
    return len(path.read_text().splitlines()) if path.exists() else 0


class Stop(Exception):
    """Raised by a test to end a run early."""


def stop_at(step: int) -> Callable[[dict[str, float]], None]:
    """Stops a run at the evaluation of a step, as a `show` of `train`."""

    def show(row: dict[str, float]) -> None:
        if row["step"] == step:
            raise Stop

    return show


@pytest.fixture
def command() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Calls `python -m MODULE ARGS…` from the repository's root."""

    def call(module: str, *args: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", module, *map(str, args)]
        env = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout, check=False)

    return call


def options(config: RunConfig) -> list[str]:
    """The config as arguments of `python -m lib.train`."""
    return [f"--{name}={value}" for name, value in config.flat().items()]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> MadeOnce:
    """Has a folder filled once for all workers, of which each has session fixtures of its own.

    (A group of tests would do, too, but xdist 3.8 does not see groups under pytest 9.2.)
    """
    base = tmp_path_factory.getbasetemp()
    shared = base if worker_id == "master" else base.parent

    def make_once(name: str, fill: Callable[[Path], None]) -> Path:
        with sole_use(shared / name, wait=True):
            if not (shared / name / "made").exists():
                fill(shared / name)
                (shared / name / "made").touch()
        return shared / name

    return make_once


def copy_of_project(folder: Path) -> Path:
    """The project for running notebooks elsewhere, where they may write what they like; the stored runs are linked."""
    for name in ("lib", "notebooks", "report", "figures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.tmp"))
    (folder / "checkpoints").symlink_to(ROOT / "checkpoints")
    return folder


def pinned() -> bool:
    """Whether the figures were made with this version of matplotlib; others draw other bytes."""
    return f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "constraints.txt").read_text()
