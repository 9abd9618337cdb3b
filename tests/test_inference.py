import json
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
import torch
from conftest import DATA, ROOT

from lib import arithmetic, checkpoint, experiments, inference, networks, runs
from lib.config import ModelConfig, RunConfig
from lib.data import IGNORE
from lib.datasets import load_data
from lib.evaluate import evaluate, precision
from lib.fields import UserError
from lib.inference import answer, generate, parse_equation, sample
from lib.runs import Run, run_live
from lib.tokenizer import CharacterTokenizer

POSITIONS = ("learned", "sinusoidal", "rope", "none")


@pytest.fixture(scope="module")
def memorized() -> Path:
    """The committed checkpoint of the sentence."""
    return runs.CHECKPOINTS / "memorize" / experiments.memorize()[0].id


@pytest.fixture(scope="module")
def division() -> Path:
    """The committed checkpoint of the first division run."""
    return runs.CHECKPOINTS / "grokking" / experiments.grokking()[0].id


def test_sampling_follows_the_distribution_that_it_reports(memorized: Path) -> None:
    model, tokenizer, _ = checkpoint.load_weights(memorized)
    start = torch.full((4000, 1), tokenizer.bos)
    ids, chosen = next(generate(model, start, 1, temperature=20.0, seed=0))
    expected = (model(start[:1], last=True)[0] / 20).softmax(-1)
    torch.testing.assert_close(chosen, expected[ids])
    counts = torch.bincount(ids, minlength=tokenizer.vocab_size) / len(ids)
    assert (counts - expected).abs().max() < 0.04
    ids, _ = next(generate(model, start, 1, temperature=20.0, top_k=2, seed=0))
    assert set(ids.tolist()) == set(expected.topk(2).indices.tolist())


def test_the_sentence_comes_back(memorized: Path) -> None:
    model, tokenizer, config = checkpoint.load_weights(memorized)
    assert sample(model, tokenizer, temperature=0) == [config.data.text]
    assert Counter(sample(model, tokenizer, samples=100, seed=3)) == {config.data.text: 100}
    assert sample(model, tokenizer, "I love", 4, temperature=0) == ["I love mac"]
    assert sample(model, tokenizer, samples=5, temperature=9.0, seed=1) == sample(
        model, tokenizer, samples=5, temperature=9.0, seed=1
    )


def test_samples_that_end_early_do_not_disturb_the_others(memorized: Path) -> None:
    model, tokenizer, _ = checkpoint.load_weights(memorized)
    texts = sample(model, tokenizer, n_tokens=60, samples=20, temperature=3.0, seed=0)
    assert len({len(text) for text in texts}) > 1 and not any("<eos>" in text for text in texts)


NETWORKS = [
    *({"positions": kind, "norm_placement": place} for kind in POSITIONS for place in ("pre", "post")),
    {"kind": "lstm"},
]


def build(**options: object) -> networks.Network:
    torch.manual_seed(0)
    sizes = dict(n_layers=2, n_heads=2, d_model=16, d_ff=24, d_hidden=20, context_length=12)
    return networks.make(ModelConfig(**(sizes | {"init": "torch"} | options)), vocab_size=15).eval()


def plainly(model: networks.Network, tokens: torch.Tensor, n: int, temperature: float) -> tuple[torch.Tensor, ...]:
    """What `generate` yields with seed 0, each step computed from all tokens in reach: ids and probabilities (B, n)."""
    generator, steps = torch.Generator().manual_seed(0), []
    for _ in range(n):
        with torch.no_grad():
            logits = model(tokens[:, -model.config.context_length :])[:, -1]
        p = (logits / (temperature or 1.0)).softmax(-1)
        ids = p.argmax(1, keepdim=True) if temperature == 0 else torch.multinomial(p, 1, generator=generator)
        steps.append(p.gather(1, ids))
        tokens = torch.cat([tokens, ids], 1)
    return tokens[:, -n:], torch.cat(steps, 1)


@pytest.mark.parametrize("n_asked", [1, 5, 12, 15])
@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_generated_tokens_are_those_of_a_plain_loop(options: dict[str, object], n_asked: int) -> None:
    """From prompts within the context of 12 tokens, as long as it and longer, to beyond its end."""
    model = build(**options)
    prompts = torch.randint(15, (4, n_asked), generator=torch.Generator().manual_seed(1))
    for temperature in (0, 1.0, 3.0):
        steps = list(generate(model, prompts, 20, temperature=temperature, seed=0))
        ids, chosen = (torch.stack(part, 1) for part in zip(*steps, strict=True))
        expected_ids, expected = plainly(model, prompts, 20, temperature)
        assert ids.tolist() == expected_ids.tolist()
        torch.testing.assert_close(chosen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["transformer", "lstm"])
def test_each_token_is_read_once_up_to_the_end_of_the_context(kind: str) -> None:
    model, read = build(kind=kind), []
    model.embed.register_forward_hook(lambda _, inputs, output: read.append(inputs[0].shape[1]))
    list(generate(model, torch.zeros(2, 5, dtype=torch.int64), 10))
    assert read == [5] + [1] * 7 + [12, 12]


@pytest.mark.parametrize("kind", ["number", "character"])
def test_answers_are_probabilities_of_whole_answers(kind: str, tiny: RunConfig) -> None:
    """Against the plain product of the next-token probabilities along each answer."""
    config = tiny.override({"data.tokenizer": kind, "data.p": 13, "train.max_steps": 30})
    model, tokenizer, _ = run_live(config).load()
    p = answer(model, tokenizer, config.data, 12, 5)
    assert p.shape == (13,) and (p > 0).all() and p.sum() <= 1 + 1e-5
    for c in (3, 11):
        ids = tokenizer.encode(f"12/5={c}") + ([tokenizer.eos] if isinstance(tokenizer, CharacterTokenizer) else [])
        product, n_asked = 1.0, len(tokenizer.encode("12/5="))
        for t in range(n_asked, len(ids)):
            product *= model(torch.tensor([ids[:t]]), last=True)[0].softmax(-1)[ids[t]].item()
        assert p[c].item() == pytest.approx(product, rel=1e-4)
    assert IGNORE not in ids


def test_committed_division_checkpoint_answers_unseen_equations(division: Path) -> None:
    model, tokenizer, config = checkpoint.load_weights(division)
    rows = arithmetic.split(config.data)["test"]
    right = sum(int(answer(model, tokenizer, config.data, a, b).argmax()) == c for a, b, c in rows[:300].tolist())
    assert right >= 297


def test_every_committed_checkpoint_loads_and_gives_its_recorded_accuracy() -> None:
    listed = subprocess.run(["git", "ls-files", "checkpoints"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in listed.stdout.splitlines() if name.endswith("/model.safetensors")]
    assert {file.parent.parent.name for file in files} >= {"memorize", "memorize_masked", "grokking"}
    for file in files:
        run = Run(file.parent)
        model, _, config = run.load()
        if config.data.task == "corpus" and DATA is None:
            assert networks.n_params(model) == run.summary["n_params"]
            continue  # its text is not part of the project
        data = load_data(config)
        for name, batch in data.splits.items():
            with precision(config.train, "cpu"):
                loss, accuracy = evaluate(model, batch, data.scoring)
            assert accuracy == pytest.approx(run.summary[f"{name}_acc"], abs=1e-3), file
            assert loss == pytest.approx(run.summary[f"{name}_loss"], rel=1e-2, abs=1e-6), file


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("12*5=", ["'12*5='", "must be a/b="]),
        ("97/5=", ["a = 97", "must be from 0 to 96"]),
        ("12/-5=", ["b = -5", "must be from 0 to 96"]),
        ("12+5=", ["this network knows / only", "such as 12/5="]),
        ("12/5/3=", ["must be a/b="]),
        ("12/0=", ["divided by 0", "b not 0"]),
        ("=", ["must be a/b="]),
        ("", ["must be a/b="]),
    ],
)
def test_prompts_that_are_no_equation(division: Path, prompt: str, words: list[str]) -> None:
    data = checkpoint.load_weights(division)[2].data
    with pytest.raises(UserError) as error:
        parse_equation(data, prompt)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


def test_command_line(command, memorized: Path, division: Path) -> None:
    said = command("lib.inference", memorized)
    assert (said.stdout, said.returncode) == ("I love machine learning\n", 0)
    assert command("lib.inference", memorized / "model.safetensors", 6).stdout == "I love\n"
    said = command("lib.inference", division, "--prompt", "12/5=")
    assert said.stdout.startswith("12/5=80   P ") and "right, " in said.stdout  # 80·5 = 400 = 4·97 + 12
    assert command("lib.inference", memorized, "--prompt", "I love", 8).stdout == "I love machine\n"
    assert command("lib.inference", memorized, 0).returncode != 0
    said = command("lib.inference", division, "--seed", 0)
    assert len(said.stdout.splitlines()) == inference.DEFAULT_EQUATIONS


def test_command_line_errors(
    memorized: Path, division: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "foreign.txt").write_text("hello")
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes((memorized / "model.safetensors").read_bytes()[:1000])
    from safetensors.torch import save_file

    save_file({"w": torch.zeros(2)}, tmp_path / "other.safetensors")
    save_file({"w": torch.zeros(2)}, tmp_path / "no-config.safetensors", {"run": "{}"})
    save_file({"w": torch.zeros(2)}, tmp_path / "no-json.safetensors", {"run": "x"})
    other_config = tmp_path / "run"
    shutil.copytree(memorized, other_config)
    stored = json.loads((other_config / "config.json").read_text())
    stored["model"]["d_model"] = 32
    (other_config / "config.json").write_text(json.dumps(stored))
    for args, words in [
        ([ROOT / "checkpoints" / "ablation.zip"], ["keeps no weights", "train it again"]),
        ([tmp_path / "nothing"], ["nothing", "no such weights file"]),
        ([tmp_path], ["no such weights file", "model.safetensors"]),
        ([tmp_path / "foreign.txt"], ["foreign.txt", "not a whole safetensors file"]),
        ([truncated], ["truncated.safetensors", "not a whole safetensors file"]),
        ([tmp_path / "other.safetensors"], ["not a weights file of this project"]),
        ([other_config], ["config.json", "model.d_model = 32", "must be 64"]),
        ([memorized, 0], ["N = 0", "at least 1"]),
        ([memorized, "ten"], ["N", "'ten'"]),
        ([memorized, "--prompt", "hello?"], ["'?'", "must be one of"]),
        ([memorized, "--prompt", "I love" * 9], ["54 tokens", "at most 23"]),
        *(([memorized, "--temperature", t], ["temperature", "0.001 to 1000"]) for t in ("-1", "nan", "inf", "1e-45")),
        ([memorized, "--seed", "9" * 23], ["seed", "2^63"]),
        ([tmp_path / "no-config.safetensors"], ["no-config.safetensors", "not a weights file of this project"]),
        ([tmp_path / "no-json.safetensors"], ["no-json.safetensors", "not a weights file of this project"]),
        ([division, "--samples", "3"], ["--samples", "text models only"]),
        ([memorized, "--top-k", "0"], ["top-k", "at least 1"]),
        ([memorized, "--samples", "0"], ["samples", "at least 1"]),
        ([memorized, "--top", "3"], ["--top", "did you mean --top-k?"]),
        ([division, "--prompt", "1+1="], ["this network knows / only", "such as 12/5="]),
        *([] if torch.cuda.is_available() else [([memorized, "--device", "cuda"], ["no CUDA device"])]),
    ]:
        try:
            status = inference.main(list(map(str, args)))
        except SystemExit as end:  # argparse's own way
            status = end.code
        said = capsys.readouterr()
        assert status != 0 and said.out == "", args
        assert said.err.startswith("error: ") and said.err.count("\n") == 1, said.err
        assert all(word in said.err for word in words), said.err
