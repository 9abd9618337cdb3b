"""Language models: a corpus in windows, its loss in chunks, and the ways of training that were made for them."""

import math
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, bare_metrics
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from lib import archive, bpe, checkpoint, corpora, evaluate, inference, language_models, networks
from lib.config import DataConfig, ModelConfig, OptimConfig, RunConfig, TrainConfig
from lib.corpora import Corpus
from lib.data import IGNORE, Batch, Windows
from lib.evaluate import Objective, evaluate_tokens
from lib.fields import UserError
from lib.model import Block
from lib.runs import Run, find, run_all, train_all
from lib.tokenizer import BytePairTokenizer, CharacterTokenizer
from lib.tracker import write_json
from lib.train import Trainer, load_data, shares_of, train

CHANCE = random.Random(0)
WORDS = [("the cat", "a dog", "one bird"), ("sees", "hears", "never finds"), ("the sea.", "a 12-year-old tree.", "it!")]
STORIES = [" ".join(CHANCE.choice(words) for words in WORDS * 4) + "\n" for _ in range(40)]
TEXT = f"{bpe.END}\n".join(STORIES)
SMALL = {"n_layers": 2, "n_heads": 2, "d_model": 16, "d_ff": 32, "d_hidden": 12, "context_length": 8}
NETWORKS = [
    {"tied": True},
    {"tied": False, "norm": "rmsnorm", "norm_placement": "post"},
    {"output": "stablemax"},
    {"kind": "lstm"},
    {"kind": "lstm", "output": "stablemax"},
]


@pytest.fixture
def story(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    """A run on a small text of one's own; nothing is cached outside of the test's folder."""
    monkeypatch.setattr(corpora, "CACHE", tmp_path / "cache")
    (tmp_path / "story.txt").write_text(TEXT)
    return RunConfig(
        data=DataConfig(
            **{"task": "corpus", "corpus": str(tmp_path / "story.txt"), "tokenizer": "bpe", "vocab_size": 300},
            **{"window": 8, "eval_tokens": 160},
        ),
        model=ModelConfig(**SMALL),
        optim=OptimConfig(lr=1e-2, clip=1.0),
        train=TrainConfig(batch_size=8, max_steps=12, eval_every=4, eval_growth=1),
    )


def a_batch(vocab_size: int) -> Batch:
    ids = torch.randint(vocab_size, (5, 9), generator=torch.Generator().manual_seed(0))
    return Batch(ids[:, :-1], ids[:, 1:], None)


def a_network(changes: dict[str, object], vocab_size: int = 40) -> nn.Module:
    """With weights large enough for predictions to differ."""
    torch.manual_seed(0)
    return networks.make(ModelConfig(**SMALL | {"init_scale": 10.0} | changes), vocab_size)


def loss_and_gradients(network: nn.Module, batch: Batch, **options: object) -> list[torch.Tensor]:
    network.zero_grad()
    loss = Objective(network, "all", TrainConfig(**options))(batch)
    loss.backward()
    return [loss.detach(), *(p.grad.clone() for p in network.parameters())]


@given(st.integers(2, 200), st.integers(1, 20))
def test_windows_follow_one_another_and_cover_the_text(n: int, width: int) -> None:
    windows = Windows(np.arange(n, dtype=np.uint16), width, 1)
    rows = windows[torch.arange(windows.size)]
    assert rows.tokens.shape == (windows.size, width) and rows.lengths is None
    assert rows.tokens.flatten().tolist() == list(range(windows.size * width))
    assert torch.equal(rows.targets, rows.tokens + 1)
    assert 0 <= n - 1 - windows.size * width < width, "another row would have fitted"


@given(st.data(), st.integers(1, 60), st.integers(1, 5), st.integers(1, 40))
def test_evaluated_rows_are_spread_over_the_split(data: st.DataObject, size: int, width: int, n_tokens: int) -> None:
    n = data.draw(st.integers(1, size))
    parts = list(Windows(np.arange(size * width + 1), width, n).parts(n_tokens))
    assert all(part.tokens.numel() <= max(n_tokens, width) for part in parts)
    rows = torch.cat([part.tokens[:, 0] for part in parts]) // width
    gaps = rows.diff(append=torch.tensor([rows[0] + size]))  # the last one's to the end, and round
    assert len(rows) == n and rows[0] == 0
    assert (gaps >= size // n).all() and (gaps <= -(-size // n)).all()


def test_windows_are_handed_out_where_they_are_wanted() -> None:
    windows = Windows(np.arange(9), 4, 2)
    elsewhere = windows.to("meta")
    assert {part.tokens.device.type for part in elsewhere.parts(8)} == {"meta"}
    assert windows[torch.tensor([1])].targets.tolist() == [[5, 6, 7, 8]]


def test_a_corpus_is_cut_where_the_config_says(story: RunConfig) -> None:
    whole = corpora.load(replace(story.data, eval_tokens=0))
    n = sum(whole.facts["tokens"].values())
    assert whole.facts["tokens"]["val"] == pytest.approx(0.1 * n, abs=1)
    assert all(split.n_evaluated == split.size for split in whole.splits.values())
    assert whole.scoring == "all" and whole.longest == 8
    train, val = (whole.splits[name].ids.tolist() for name in ("train", "val"))
    assert whole.tokenizer.decode(train + val) == TEXT
    part = corpora.load(replace(story.data, train_tokens=80, eval_tokens=24, val_fraction=0.4))
    assert part.splits["train"].ids.tolist() == train[:81] and part.splits["train"].size == 10
    assert part.splits["val"].ids.tolist() == (train + val)[-len(part.splits["val"].ids) :]
    assert part.facts["tokens"]["val"] == pytest.approx(0.4 * n, abs=1)
    assert {split.n_evaluated for split in part.splits.values()} == {3}


def test_a_split_shorter_than_a_window_is_refused(story: RunConfig) -> None:
    n = corpora.load(story.data).facts["tokens"]["val"]
    corpora.load(replace(story.data, window=n - 1, eval_tokens=0))
    with pytest.raises(UserError, match=rf"data\.window = {n}: must be less than {n}, the tokens of the val split of "):
        corpora.load(replace(story.data, window=n, eval_tokens=0))


def test_what_no_context_can_tell_is_counted(story: RunConfig) -> None:
    data = corpora.load(story.data)
    counts = Counter(data.splits["train"].ids.tolist())
    total = counts.total() + data.tokenizer.vocab_size
    for name, split in data.splits.items():
        targets = [token for part in split.parts(100) for token in part.targets.flatten().tolist()]
        expected = -sum(math.log((counts[token] + 1) / total) for token in targets) / len(targets)
        assert data.facts["unigram_loss"][name] == pytest.approx(expected, rel=1e-12)
        assert expected < math.log(data.tokenizer.vocab_size)
    n_ids = sum(data.facts["tokens"].values())
    assert data.facts["bytes_per_token"] == dict.fromkeys(("train", "val"), len(TEXT.encode()) / n_ids)


def test_a_vocabulary_has_as_many_entries_as_were_asked_for(story: RunConfig) -> None:
    for size in (257, 300):
        tokenizer = corpora.load(replace(story.data, vocab_size=size)).tokenizer
        assert tokenizer.vocab_size == size and tokenizer.eos == size - 1
        assert len(set(tokenizer.tokens)) == size - 1
        assert networks.make(story.model, size).embed.num_embeddings == size
        again = corpora.load(replace(story.data, vocab_size=size)).tokenizer  # from the cache
        assert again == tokenizer


def test_a_byte_pair_vocabulary_travels_with_the_weights(story: RunConfig, tmp_path: Path) -> None:
    tokenizer = corpora.load(story.data).tokenizer
    network = networks.make(story.model, tokenizer.vocab_size)
    checkpoint.save_weights(tmp_path / "weights.safetensors", network, story, tokenizer, 0)
    loaded, same, config = checkpoint.load_weights(tmp_path / "weights.safetensors")
    assert config == story and same == tokenizer and isinstance(same, BytePairTokenizer)
    written = TEXT + "naïve 低い \x00\xff"
    assert same.encode(written, special="token") == tokenizer.encode(written, special="token")
    batch = a_batch(300)
    assert torch.equal(loaded(batch.tokens), network.eval()(batch.tokens))


@given(st.lists(st.sampled_from(["one", " two", "\n", "é", bpe.END]), max_size=12))
def test_the_end_of_a_document_is_what_one_says_it_is(parts: list[str]) -> None:
    tokenizer = BytePairTokenizer.of(bpe.learn(bpe.count_pieces(["one two"]), 260))
    text = "".join(parts)
    as_text, as_tokens = (tokenizer.encode(text, special=special) for special in ("text", "token"))
    assert tokenizer.decode(as_text) == tokenizer.decode(as_tokens) == text
    assert tokenizer.eos not in as_text and as_tokens.count(tokenizer.eos) == parts.count(bpe.END)
    assert tokenizer.encode_documents(text).tolist() == as_tokens
    if bpe.END in parts:
        with pytest.raises(UserError, match="must not be there, unless you say what is meant"):
            tokenizer.encode(text)
    else:
        assert tokenizer.encode(text) == as_text
    with pytest.raises(UserError, match="special = 'both': must be one of refuse, text, token"):
        tokenizer.encode(text, special="both")


def test_a_corpus_in_characters(story: RunConfig) -> None:
    data = corpora.load(replace(story.data, tokenizer="character"))
    assert data.tokenizer == replace(CharacterTokenizer.of(TEXT), begins=False)
    ids = np.concatenate([data.splits[name].ids for name in ("train", "val")])
    assert data.tokenizer.decode(ids.tolist()) == TEXT
    assert data.facts["bytes_per_token"]["train"] == 1
    assert data.tokenizer.encode(bpe.END) == data.tokenizer.encode_documents(bpe.END).tolist()


def test_a_character_of_the_validation_text_alone_can_be_encoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, story: RunConfig
) -> None:
    files = {"train": ("train.txt", "abc " * 40), "val": ("val.txt", "cab é " * 10)}
    for name, content in files.values():
        (tmp_path / name).write_text(content)
    digests = {split: (name, corpora.sha256(tmp_path / name)) for split, (name, _) in files.items()}
    monkeypatch.setitem(corpora.CORPORA, "letters", Corpus(".", digests, None))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    data = corpora.load(replace(story.data, corpus="letters", tokenizer="character"))
    assert data.tokenizer.decode(data.splits["val"].ids.tolist()) == files["val"][1]


@pytest.mark.parametrize("by_torch", [True, False], ids=["torch's function", "chunk by chunk"])
@pytest.mark.parametrize("changes", NETWORKS, ids=str)
def test_the_loss_in_chunks_is_that_of_whole_logits(
    changes: dict, by_torch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if by_torch and not hasattr(torch.nn, "LinearCrossEntropyOptions"):
        pytest.skip("this torch does not have the function")
    if not by_torch:
        monkeypatch.delattr(torch.nn, "LinearCrossEntropyOptions", raising=False)
    monkeypatch.setattr(evaluate, "EVAL_LOGITS", 40 * 7)  # 40 tokens: five chunks of 7, one of 5
    network, batch = a_network(changes), a_batch(40)
    in_chunks, whole = (loss_and_gradients(network, batch, whole_logits=whole) for whole in (False, True))
    torch.testing.assert_close(in_chunks, whole, rtol=1e-5, atol=1e-5)
    by_hand = F.cross_entropy(network(batch.tokens).flatten(0, 1), batch.targets.flatten())
    torch.testing.assert_close(in_chunks[0], by_hand.detach())


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_in_sixteen_bits_the_loss_in_chunks_is_float32s_of_the_same_states(kind: str) -> None:
    """With more tokens than the width and more words than it, where torch's function works in chunks indeed."""
    torch.manual_seed(0)
    config = ModelConfig(kind=kind, d_model=16, n_heads=2, d_ff=32, d_hidden=16, n_layers=1, context_length=64)
    network, ids = networks.make(config, 500), torch.randint(500, (8, 65))
    batch = Batch(ids[:, :-1], ids[:, 1:], None)
    losses = []
    for whole in (False, True):
        objective = Objective(network, "all", TrainConfig(precision="bfloat16", whole_logits=whole))
        network.zero_grad()
        loss = objective(batch)
        assert loss.dtype == torch.float32
        loss.backward()
        losses.append([loss.detach(), *(p.grad.clone() for p in network.parameters())])
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_stablemax_is_of_any_network(kind: str) -> None:
    plain, stable = (
        a_network({"kind": kind, "output": output})(a_batch(40).tokens) for output in ("softmax", "stablemax")
    )
    torch.testing.assert_close(stable, plain.sign() * plain.abs().log1p())


@pytest.mark.parametrize("changes", [*NETWORKS, {"dropout": 0.5}], ids=str)
def test_a_split_is_scored_as_token_by_token(changes: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "EVAL_LOGITS", 40 * 7)
    monkeypatch.setattr(evaluate, "EVAL_TOKENS", 24)
    network = a_network(changes).train()
    windows = Windows(a_batch(40).tokens.flatten().numpy(), 6, 4)
    loss, accuracy = evaluate_tokens(network, windows)
    assert network.training
    network.eval()
    [everything] = windows.parts(10**6)
    log_p = network(everything.tokens).log_softmax(-1)
    nll = -log_p.gather(2, everything.targets[..., None])
    assert loss == pytest.approx(nll.mean().item(), rel=1e-5)
    assert accuracy == pytest.approx((log_p.argmax(-1) == everything.targets).float().mean().item())


def weights_after(config: RunConfig, folder: Path, n_steps: int = 6) -> list[torch.Tensor]:
    folder.mkdir(exist_ok=True)
    trainer = Trainer(config, load_data(config), folder)
    for _ in range(n_steps):
        trainer.take_step()
    return [p.detach() for p in trainer.model.parameters()]


def equations(config: RunConfig) -> RunConfig:
    """With answers of one and of two digits."""
    data = DataConfig(operation="+", p=13, tokenizer="character")
    return replace(config, data=data).override({"train.batch_size": 16})


@pytest.mark.parametrize("task", [lambda config: config, equations], ids=["corpus", "equations"])
def test_a_batch_in_parts_is_the_same_step(story: RunConfig, tmp_path: Path, task: Callable) -> None:
    config = task(story).override({"optim.name": "momentum", "optim.lr": 0.1, "model.init_scale": 3})
    whole = weights_after(config, tmp_path / "whole")
    parts = weights_after(config.override({"train.accumulation": 4}), tmp_path / "parts")
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    start = weights_after(config, tmp_path / "start", 0)
    assert max((a - b).abs().max() for a, b in zip(whole, start, strict=True)) > 0.05


def test_parts_count_by_what_is_scored_in_them(story: RunConfig) -> None:
    split = load_data(equations(story)).splits["train"]
    parts = [split[rows] for rows in torch.arange(16).chunk(4)]
    scored = [int((part.targets != IGNORE).sum()) for part in parts]
    assert len(set(scored)) > 1, "the parts are meant to differ"
    assert shares_of(parts) == pytest.approx([n / sum(scored) for n in scored])
    assert shares_of(parts[:1]) == [1.0]


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_blocks_computed_twice_give_the_same_gradients(dropout: float) -> None:
    network, batch = a_network({"dropout": dropout}), a_batch(40)
    calls = []
    for block in network.blocks:
        block.register_forward_pre_hook(lambda block, _: calls.append(block))
    found = []
    for network.checkpointing in (False, True):
        torch.manual_seed(1)
        found.append(loss_and_gradients(network, batch))
    torch.testing.assert_close(*found, rtol=0, atol=1e-6)
    assert len(calls) == 3 * len(network.blocks), "once, and then twice"


def test_whole_logits_leave_checkpointing_alone(
    story: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, forward = [], Block.forward

    def counted(block: Block, *args: object, **options: object) -> torch.Tensor:
        calls.append(block)
        return forward(block, *args, **options)

    monkeypatch.setattr(Block, "forward", counted)
    changes = {"train.activation_checkpointing": True, "train.whole_logits": True}
    weights_after(story.override(changes), tmp_path, 1)
    assert len(calls) == 2 * story.model.n_layers


class Stop(Exception):
    pass


def stop_at(step: int) -> Callable[[dict[str, float]], None]:
    def on_eval(row: dict[str, float]) -> None:
        if row["step"] == step:
            raise Stop

    return on_eval


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"train.accumulation": 4, "model.dropout": 0.1, "train.prompt": "the cat"},
        {"train.precision": "float16", "train.accumulation": 2, "model.dropout": 0.1, "train.prompt": "a dog"},
        {"train.activation_checkpointing": True, "model.dropout": 0.1, "train.whole_logits": True},
        {"model.kind": "lstm", "model.dropout": 0.1, "data.tokenizer": "character", "train.prompt": "bird"},
    ],
    ids=lambda changes: " ".join(name.partition(".")[2] for name in changes),
)
def test_a_stopped_run_goes_on_to_the_same_end(
    story: RunConfig, tmp_path: Path, changes: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    scaler = partial(torch.amp.GradScaler, init_scale=2.0**22, growth_interval=2)  # some steps overflow
    monkeypatch.setattr("torch.amp.GradScaler", scaler)
    config = story.override(changes)
    train(config, tmp_path / "whole")
    for step in (0, 4, 8):
        with pytest.raises(Stop):
            train(config, tmp_path / "parts", on_eval=stop_at(step))
    train(config, tmp_path / "parts")
    assert bare_metrics(tmp_path / "whole") == bare_metrics(tmp_path / "parts")
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    run = Run(tmp_path / "whole")
    assert run.metrics["train_loss"][-1] < run.metrics["train_loss"][0]
    if config.train.prompt:
        assert (tmp_path / "whole" / "samples.json").read_bytes() == (tmp_path / "parts" / "samples.json").read_bytes()
        assert list(run.samples) == [0, 4, 8, 12] == run.metrics["step"].tolist()
        assert all(text.startswith(config.train.prompt) for text in run.samples.values())
    else:
        assert not (tmp_path / "whole" / "samples.json").exists()


def test_metrics_and_summary_tell_what_a_language_model_came_to(story: RunConfig, tmp_path: Path) -> None:
    config = story.override({"model.frozen_embeddings": True})
    train(config, tmp_path / "run")
    run = Run(tmp_path / "run")
    header = (tmp_path / "run" / "metrics.csv").read_text().splitlines()[0].split(",")
    assert header[-4:] == ["tokens", "train_ppl", "val_ppl", "test_ppl"] and set(run.metrics) == set(header)
    assert run.metrics["tokens"].tolist() == [step * 8 * 8 for step in run.metrics["step"]]
    for split in ("train", "val"):
        assert run.metrics[f"{split}_ppl"] == pytest.approx(np.exp(run.metrics[f"{split}_loss"]), rel=1e-6)
    assert np.isnan(run.metrics["test_ppl"]).all()
    data, network = load_data(config), run.load()[0]
    assert {name: run.summary[name] for name in data.facts} == data.facts
    assert run.summary["n_params"] - run.summary["n_learnable"] == (300 + 8) * 16 == network.embed.weight.numel() + 128
    assert run.summary["tokens_per_s"] == pytest.approx(12 * 8 * 8 / run.summary["seconds"], rel=0.2)
    assert 0 < run.summary["start_memory_mb"] <= run.summary["peak_memory_mb"]
    loss, accuracy = evaluate_tokens(network, data.splits["val"])
    assert (run.summary["val_loss"], run.summary["val_acc"]) == pytest.approx((loss, accuracy), rel=1e-6)
    assert f"perplexity {run.metrics['val_ppl'][-1]:.4g}" in run.log
    with pytest.raises(UserError, match=r"samples\.json: cannot be read"):
        _ = run.samples


def test_an_archive_keeps_what_was_sampled(story: RunConfig, tmp_path: Path) -> None:
    config = story.override({"train.prompt": "the cat", "train.max_steps": 2})
    train(config, tmp_path / "x" / config.id)
    samples = find("x", config, tmp_path).samples
    archive.pack(tmp_path / "x", [config.id])
    assert not (tmp_path / "x").exists()
    assert find("x", config, tmp_path).samples == samples and list(samples) == [0, 2]


def test_a_text_that_has_changed_is_not_the_one_that_a_run_was_trained_on(story: RunConfig, tmp_path: Path) -> None:
    [run] = run_all("x", [story], root=tmp_path)
    begun = story.override({"seed": 1})
    with pytest.raises(KeyError):
        train(begun, tmp_path / "x" / begun.id, on_eval=lambda row: {}[row["step"]])
    Path(story.data.corpus).write_text(TEXT + "One more line.\n")
    for config in (story, begun):
        with pytest.raises(UserError, match=r"story\.txt.*has changed since.*use --fresh"):
            train_all({"x": [config]}, root=tmp_path, workers=1)
    [again] = run_all("x", [story], root=tmp_path, fresh=True)
    assert again.summary["sha256"] != run.summary["sha256"]


def test_a_text_with_another_vocabulary_has_changed_too(story: RunConfig, tmp_path: Path) -> None:
    letters = story.override({"data.tokenizer": "character"})
    with pytest.raises(Stop):
        train(letters, tmp_path / "x", on_eval=stop_at(4))
    Path(story.data.corpus).write_text(TEXT + "Ω\n")
    with pytest.raises(UserError, match=r"story\.txt.*has changed since.*use --fresh"):
        train(letters, tmp_path / "x")


@pytest.fixture
def two_processes(story: RunConfig, tmp_path: Path) -> Callable[..., None]:
    """Runs `python ARGS…` in two processes with gloo, on a copy of the library, whose cache is then the copy's."""
    shutil.copytree(ROOT / "lib", tmp_path / "lib", ignore=shutil.ignore_patterns("__pycache__"))

    def call(*args: object) -> None:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
        env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
        argv = [*launch, *map(str, args)]
        done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr

    return call


ADAMW = {"optim.name": "adamw", "optim.lr": 1e-3, "data.vocab_size": 301}  # an odd number of rows to share


@pytest.mark.parametrize(
    ("changes", "ways"),
    [
        ({"optim.name": "momentum", "optim.lr": 0.1}, []),
        (ADAMW, ["--shard"]),
        (ADAMW | {"model.tied": False, "train.activation_checkpointing": True}, ["--shard"]),
    ],
    ids=["each with all weights", "each with a part", "each with a part, and computing blocks twice"],
)
def test_two_processes_train_what_one_trains_and_go_on_where_one_stopped(
    changes: dict[str, object],
    ways: list[str],
    story: RunConfig,
    tmp_path: Path,
    two_processes: Callable[..., None],
) -> None:
    base = story.override(changes | {"train.accumulation": 2, "train.prompt": "the cat"})
    configs = [base.override({"seed": seed}) for seed in range(3)]  # as add_sub_adam's, once all else is overridden
    for config in configs:
        train(config, tmp_path / "alone" / config.id)
    place = tmp_path / "together" / "add_sub_adam"
    fresh, begun, stored = (place / config.id for config in configs)
    with pytest.raises(Stop):
        train(configs[1], begun, on_eval=stop_at(4))
    shutil.copytree(tmp_path / "alone" / stored.name, stored)
    options = [f"--{name}={value}" for name, value in base.flat().items() if name != "seed"]
    two_processes("-m", "lib.train", "add_sub_adam", "--checkpoints", place.parent, *options, *ways)
    assert sorted(place.iterdir()) == sorted([fresh, begun, stored])
    assert "resumed at step 4" in Run(begun).log and "resumed" not in Run(fresh).log
    assert f"2 processes, each with {'a part' if ways else 'all'} of the weights" in Run(fresh).log
    for folder in (fresh, begun, stored):
        alone = tmp_path / "alone" / folder.name
        assert {path.name for path in folder.iterdir()} == {path.name for path in alone.iterdir()}
        one, two = Run(alone), Run(folder)
        assert two.samples.keys() == one.samples.keys() and two.summary.keys() == one.summary.keys()
        for column in set(one.metrics) - {"time_s"}:
            assert two.metrics[column] == pytest.approx(one.metrics[column], rel=1e-6, nan_ok=True), column
    assert weights(stored) == weights(tmp_path / "alone" / stored.name)


SHARDED = """
from pathlib import Path
from lib import distributed
from lib.datasets import load_data
from lib.networks import n_params
from lib.tracker import read_config
from lib.train import Trainer

def share(tensors):
    return sum(x.to_local().numel() for x in tensors) / n_params(trainer.model)

with distributed.group("cpu"):
    config = read_config(Path("config.json"))
    for precision in ("bfloat16", "float32"):
        folder = Path(f"{precision}-{distributed.rank()}")
        folder.mkdir()
        changed = config.override({"train.precision": precision})
        trainer = Trainer(changed, load_data(changed), folder, shard=True)
        seen = []
        trainer.model.blocks[0].feed_forward.up.register_forward_pre_hook(lambda up, _: seen.append(up.weight.dtype))
        trainer.evaluate()
        for _ in range(4):
            trainer.take_step()
        trainer.evaluate()
        assert {str(dtype) for dtype in seen} == {f"torch.{precision}"}
        weights = list(trainer.model.parameters())
        [adamw] = trainer.optimizer.parts
        moments = [[adamw.state[w][name] for w in weights] for name in ("exp_avg", "exp_avg_sq")]
        for kept in (weights, [w.grad for w in weights], *moments):
            assert 0.4 < share(kept) < 0.6
"""


def test_a_sharding_process_keeps_half_of_the_weights_gradients_and_moments_and_saves_them_whole(
    story: RunConfig, tmp_path: Path, two_processes: Callable[..., None]
) -> None:
    config = story.override(ADAMW | {"train.prompt": "the cat"})
    write_json(tmp_path / "config.json", config.to_dict())
    (tmp_path / "sharded.py").write_text(SHARDED)
    two_processes("sharded.py")
    assert not (tmp_path / "float32-1" / "state.pt").exists(), "the first process writes"
    train(config, tmp_path / "float32-0")
    train(config, tmp_path / "alone")
    train(config.override({"train.precision": "bfloat16"}), tmp_path / "bfloat16-0")
    went_on, alone, rounded = (Run(tmp_path / name) for name in ("float32-0", "alone", "bfloat16-0"))
    assert "resumed at step 4" in went_on.log and "resumed at step 4" in rounded.log
    for column in ("train_loss", "val_loss", "weight_norm"):
        assert went_on.metrics[column] == pytest.approx(alone.metrics[column], rel=1e-6)
        assert rounded.metrics[column] == pytest.approx(alone.metrics[column], rel=1e-2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.kind": "lstm"}, "model.kind = 'lstm': must be 'transformer' with --shard"),
        ({"optim.name": "muon"}, "optim.name = 'muon': must be 'adam' or 'adamw' with --shard"),
        ({"train.precision": "float16"}, "train.precision = 'float16': must be 'float32' or 'bfloat16' with --shard"),
    ],
)
def test_what_cannot_be_sharded_is_one_line_before_anything_begins(
    story: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], words: str
) -> None:
    for call in (partial(train_all, {"x": [story]}, root=tmp_path), partial(train, story, tmp_path / "x")):
        with pytest.raises(UserError, match="--shard: needs several processes: torchrun"):
            call(shard=True)
    monkeypatch.setattr("lib.distributed.size", lambda: 2)
    with pytest.raises(UserError) as error:
        train_all({"x": [story, story.override(changes)]}, root=tmp_path, shard=True)
    assert str(error.value) == words
    assert not (tmp_path / "x").exists()


TOGETHER = """
from pathlib import Path
from lib import distributed, runs
from lib.tracker import read_config
from lib.train import Trainer, train

def stop(row):
    if row["step"] == 4:
        raise KeyError

def overflow_in_the_second(trainer):
    take_step(trainer)
    if distributed.rank() == 1 and trainer.step == 6:
        trainer.losses[-1] = trainer.losses[-1] + float("inf")

with distributed.group("cpu"):
    config = read_config(Path("config.json"))
    configs = [config, config.override({"seed": 1})]
    runs.SWEEP = 1
    runs.train_all({"x": configs}, root=Path(), shard=SHARD)
    print([runs.stored("x", config, Path()).path for config in configs])
    try:
        train(config, Path("parts"), on_eval=stop, shard=SHARD)
    except KeyError:
        distributed.wait()
    train(config, Path("parts"), shard=SHARD)
    take_step, Trainer.take_step = Trainer.take_step, overflow_in_the_second
    train(config, Path("diverged"), shard=SHARD)
"""


@pytest.mark.parametrize("shard", [False, True], ids=["each with all weights", "each with a part"])
def test_two_processes_with_dropout_go_on_to_the_same_end_and_agree_when_to_stop(
    shard: bool, story: RunConfig, tmp_path: Path, two_processes: Callable[..., None]
) -> None:
    config = story.override({"model.dropout": 0.2})
    write_json(tmp_path / "config.json", config.to_dict())
    (tmp_path / "together.py").write_text(TOGETHER.replace("SHARD", str(shard)))
    two_processes("together.py")
    assert not (tmp_path / "x").exists()
    whole, parts = find("x", config, tmp_path), Run(tmp_path / "parts")
    assert "resumed at step 4" in parts.log
    for column in set(whole.metrics) - {"time_s"}:
        np.testing.assert_array_equal(parts.metrics[column], whole.metrics[column])
    assert Run(tmp_path / "diverged").diverged_at == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"data.corpus": "wikitext3"},
            ["data.corpus = 'wikitext3' (no such file)", "wikitext2, tinystories", "did you mean wikitext2?"],
        ),
        ({"data.corpus": "no/story.txt"}, ["data.corpus = 'no/story.txt'", "or a text file"]),
        ({"train.prompt": f"the cat{bpe.END}"}, ["train.prompt = 'the cat<|endoftext|>'", "must not be there"]),
        ({"train.prompt": "Zebra", "data.tokenizer": "character"}, ["train.prompt = 'Zebra'", "must be one of"]),
        ({"train.prompt": "Zebras jump high"}, ["train.prompt = 'Zebras jump high'", "tokens; must be at most 7"]),
        ({"train.prompt": "12", "data": DataConfig()}, ["train.prompt = '12'", "empty unless data.task = corpus"]),
        (
            {"train.activation_checkpointing": True, "model.kind": "lstm"},
            ["train.activation_checkpointing = true", "must be false unless model.kind = transformer"],
        ),
        ({"model.context_length": 7}, ["model.context_length = 7", "at least 8"]),
        ({"model.context_length": 9}, ["model.context_length = 9", "must be 8, as data.window is"]),
        ({"data.corpus": "binary.txt"}, ["data.corpus = 'binary.txt': must be a text in UTF-8; byte 0x80"]),
    ],
    ids=lambda value: "" if isinstance(value, list) else " ".join(value),
)
def test_what_does_not_fit_a_corpus_is_one_line_before_anything_begins(
    story: RunConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, object],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary.txt").write_bytes(bytes(range(256)))
    bad = replace(story, data=changes.pop("data", story.data)).override(changes)
    with pytest.raises(UserError) as error:
        train_all({"x": [story, bad, story.override({"seed": 1})]}, root=tmp_path)
    message = str(error.value)
    assert all(word in message for word in words) and "\n" not in message
    assert not (tmp_path / "x").exists()


def test_a_batch_is_divided_among_processes_and_parts(story: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.distributed.size", lambda: 3)
    with pytest.raises(UserError, match=r"train\.batch_size = 8: must be divisible by 3 processes times train\.accum"):
        load_data(story)


EXPERIMENTS = language_models.ON_A_CPU | language_models.ON_A_GPU
VOCABULARIES = {"gpt1": 40_479, "gpt2": 50_257}


def size(config: RunConfig) -> int:
    with torch.device("meta"):  # shapes alone
        vocab_size = VOCABULARIES.get(config.data.tokenizer, config.data.vocab_size)
        return networks.n_params(networks.make(config.model, vocab_size))


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_can_be_made(name: str) -> None:
    configs = EXPERIMENTS[name]()
    assert configs and len({config.id for config in configs}) == len(configs)
    assert EXPERIMENTS[name].__doc__ and len({config.data.corpus for config in configs}) == 1
    for config in configs:
        assert config.data.task == "corpus" and config.data.window <= config.model.context_length
        assert config.data.corpus in corpora.CORPORA
    assert all(size(replace(configs[0], model=model)) > 0 for model in {config.model for config in configs})


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        (
            "lstm_vs_gpt_paper",
            [34_107_392] * 4 + [38_372_352] * 4 + [36_208_640, 40_411_136, 45_460_224, 59_635_968],
        ),
        ("tinystories_paper", [76_635_648, 76_635_648, 68_244_992, 86_072_832, 76_635_648]),
    ],
)
def test_the_assignments_sizes_are_exact(name: str, sizes: list[int]) -> None:
    assert [size(config) for config in EXPERIMENTS[name]()] == sizes


def test_a_sample_begins_as_the_training_text_did(story: RunConfig, tmp_path: Path) -> None:
    """With the separator where there is one; a text without any teaches no beginning, so a prompt must make it."""
    plain = tmp_path / "plain.txt"
    plain.write_text(TEXT.replace("<|endoftext|>", ""))
    for config, begins in ((story, True), (story.override({"data.corpus": str(plain)}), False)):
        train(config, tmp_path / str(begins))
        model, tokenizer, _ = checkpoint.load_weights(tmp_path / str(begins))
        assert (tokenizer.bos is None) != begins
        assert inference.encode_prompt(model, tokenizer, "The")[0 if not begins else 1 :] == tokenizer.encode("The")
        if not begins:
            with pytest.raises(UserError, match="prompt '': must not be empty"):
                inference.sample(model, tokenizer)
