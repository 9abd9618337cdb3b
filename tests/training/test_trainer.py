"""One run: its folder, its bytes, its end."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import bare_metrics, digits, weights

from lib.config import RunConfig
from lib.language import networks
from lib.language.chunks import evaluate_tokens
from lib.model import Block
from lib.objective import Objective, first_crossing
from lib.runs.run import Run
from lib.runs.stored import find, run_all
from lib.support.errors import UserError
from lib.support.files import sole_use
from lib.training.datasets import load_data
from lib.training.trainer import Trainer, train


def test_a_run_folder_holds_all_that_was_promised(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path / "run")
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names == {"config.json", "env.json", "metrics.csv", "train.log", "summary.json", "model.safetensors"}
    run = Run(tmp_path / "run")
    assert run.config == tiny
    assert run.metrics["step"].tolist() == [0, 10, 20, 30, 40, 50, 60]
    assert run.summary["train_loss"] == run.metrics["train_loss"][-1]
    assert (run.metrics["matrix_norm"] < run.metrics["weight_norm"]).all()
    assert run.summary["n_params"] == networks.n_params(run.load()[0])
    assert (run.metrics["weight_norm"] > 0).all() and np.isnan(run.metrics["grad_norm"][0])
    assert run.json("env.json")["threads"] == 1
    assert "step 60" in run.log and "done" in run.log


def test_the_same_run_twice_gives_the_same_bytes(tiny: RunConfig, tmp_path: Path) -> None:
    for name in ("one", "two"):
        train(tiny, tmp_path / name)
    assert bare_metrics(tmp_path / "one") == bare_metrics(tmp_path / "two")
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def test_another_seed_is_another_run(tiny: RunConfig, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(tiny.override({"seed": seed}), tmp_path / str(seed))
    assert weights(tmp_path / "0") != weights(tmp_path / "1")


def test_training_leaves_the_callers_random_state_and_threads_alone(tiny: RunConfig, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(5)
    train(tiny, tmp_path)
    assert torch.equal(torch.rand(3), expected) and torch.get_num_threads() == threads


def test_two_processes_cannot_train_one_run(tiny: RunConfig, tmp_path: Path) -> None:
    with sole_use(tmp_path / "run"), pytest.raises(UserError, match="another process is training this run"):
        train(tiny, tmp_path / "run")
    train(tiny, tmp_path / "run")
    [run] = run_all("x", [tiny], root=tmp_path)
    with sole_use(run.path), pytest.raises(UserError, match="another process is training this run"):
        run_all("x", [tiny], fresh=True, root=tmp_path)
    assert find("x", tiny, tmp_path) is not None


def test_divergence_is_named_and_the_last_good_state_kept(tiny: RunConfig, tmp_path: Path) -> None:
    """SGD with a learning rate far too large: the loss overflows."""
    changes = {"optim.name": "sgd", "optim.lr": 3e4, "optim.warmup_steps": 1000, "model.norm": "none"}
    config = tiny.override(changes | {"train.eval_every": 1})
    train(config, tmp_path)
    run = Run(tmp_path)
    assert run.diverged_at is not None and 2 <= run.diverged_at < 60
    assert f"loss of step {run.diverged_at} is not finite; learning rate {30 * run.diverged_at}" in run.log
    assert f"gradient norm {run.metrics['grad_norm'][-1]:.3g} at step {run.diverged_at - 1}" in run.log
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == run.metrics["step"][-1]
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.slow(4)
def test_a_run_that_is_solved_goes_on_and_stops(tiny: RunConfig, tmp_path: Path) -> None:
    easy = {"data.p": 11, "data.operation": "+", "data.train_fraction": 0.8, "optim.weight_decay": 0.1}
    train(tiny.override(easy | {"train.max_steps": 4000, "train.stop_at": 0.3, "train.go_on": 1.5}), tmp_path)
    run = Run(tmp_path)
    steps = run.metrics["step"]
    solved = [first_crossing(steps, run.metrics[f"{split}_acc"], 0.3, 3) for split in ("val", "test")]
    assert 0 < max(solved) < 1000 and steps[-1] == max(round(1.5 * max(solved)), max(solved) + 20)


def test_bfloat16_is_close_and_leaves_the_weights_in_float32(tiny: RunConfig, tmp_path: Path) -> None:
    for precision in ("float32", "bfloat16"):
        train(tiny.override({"train.precision": precision}), tmp_path / precision)
    exact, rounded = (Run(tmp_path / precision) for precision in ("float32", "bfloat16"))
    assert rounded.metrics["test_loss"] == pytest.approx(exact.metrics["test_loss"], rel=0.02)
    assert (rounded.metrics["test_loss"] != exact.metrics["test_loss"]).any()
    assert {p.dtype for p in rounded.load()[0].parameters()} == {torch.float32}


def test_answers_are_kept_at_log_spaced_steps(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.override({"train.keep_answers": True})
    train(config, tmp_path)
    run = Run(tmp_path)
    kept = run.answers
    assert kept["step"].tolist() == [10, 20, 30, 50, 60]
    for split, rows in load_data(config).splits.items():
        right = (kept[split] == rows.targets[:, -1].numpy()).mean(1)
        at = np.isin(run.metrics["step"], kept["step"])
        assert right == pytest.approx(run.metrics[f"{split}_acc"][at], abs=1e-6)
    characters = config.override({"data.tokenizer": "character"})
    with pytest.raises(UserError, match=r"train\.keep_answers = true: must be false"):
        load_data(characters)


def test_the_clock_stands_still_during_evaluations_and_pictures(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours, counter, evaluate = [0], time.perf_counter, Objective.evaluate

    def an_hour(*_: object) -> None:
        hours[0] += 1

    def slowly(*args: object) -> tuple[float, float]:
        an_hour()
        return evaluate(*args)

    monkeypatch.setattr(Objective, "evaluate", slowly)
    monkeypatch.setattr("lib.support.processes.time.perf_counter", lambda: counter() + 3600 * hours[0])
    train(tiny, tmp_path, show=an_hour)
    assert hours == [7 * (3 + 1)] and Run(tmp_path).summary["seconds"] < 3600


def test_gradient_norm_is_that_before_clipping(tiny: RunConfig, tmp_path: Path) -> None:
    train(tiny, tmp_path / "free")
    train(tiny.override({"optim.clip": 1e-6, "train.max_steps": 1}), tmp_path / "clipped")
    assert Run(tmp_path / "clipped").metrics["grad_norm"][1] > 1e-3


def test_an_infinite_first_loss_is_one_line(tiny: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"not finite before the first step; see model\.init_scale"):
        train(tiny.override({"model.init_scale": 1e30, "model.norm": "none"}), tmp_path)


def test_folders_that_cannot_be_used(tiny: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        train(tiny, tmp_path / "file" / "run")
    train(tiny.override({"train.max_steps": 1}), tmp_path / "run")
    with pytest.raises(UserError, match="another config"):
        train(tiny, tmp_path / "run")
    whole = (tmp_path / "run" / "metrics.csv").read_text()
    for damaged in ("", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "run" / "metrics.csv").write_text(damaged)
        with pytest.raises(UserError, match=r"metrics\.csv: damaged .*; restore it, or delete the folder"):
            Run(tmp_path / "run")
    with pytest.raises(UserError, match=r"no summary\.json"):
        Run(tmp_path / "nothing")


def test_what_is_kept_on_the_way_includes_the_end_of_a_run_that_stops_early(tiny: RunConfig, tmp_path: Path) -> None:
    changes = {"train.keep_answers": True, "train.keep_weights": True, "train.stop_at": 1e-9, "train.go_on": 1.3}
    train(tiny.override(changes), tmp_path)
    run = Run(tmp_path)
    end = run.summary["steps"]
    assert end < tiny.train.max_steps and run.answers["step"][-1] == end and max(run.snapshots) == end


def weights_after(config: RunConfig, folder: Path, n_steps: int = 6) -> list[torch.Tensor]:
    folder.mkdir(exist_ok=True)
    trainer = Trainer(config, load_data(config), folder)
    for _ in range(n_steps):
        trainer.loop.take_step()
    return [p.detach() for p in trainer.model.parameters()]


def equations(config: RunConfig) -> RunConfig:
    return replace(config, data=digits("+", 13)).override({"train.batch_size": 16})


@pytest.mark.parametrize("task", [lambda config: config, equations], ids=["corpus", "equations"])
def test_a_batch_in_parts_is_the_same_step(story: RunConfig, tmp_path: Path, task: Callable) -> None:
    config = task(story).override({"optim.name": "momentum", "optim.lr": 0.1, "model.init_scale": 3})
    whole = weights_after(config, tmp_path / "whole")
    parts = weights_after(config.override({"train.accumulation": 4}), tmp_path / "parts")
    torch.testing.assert_close(parts, whole, rtol=0, atol=1e-6)
    start = weights_after(config, tmp_path / "start", 0)
    assert max((a - b).abs().max() for a, b in zip(whole, start, strict=True)) > 0.05


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
    with pytest.raises(UserError, match="keeps no samples"):
        _ = run.samples
