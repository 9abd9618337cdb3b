"""`python -m lib.inference`, as a user calls it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT

from lib import inference


def test_the_command_samples(command, memorized: Path) -> None:
    said = command("lib.inference", memorized)
    assert (said.stdout, said.stderr, said.returncode) == ("I love machine learning\n", "", 0)


def test_samples_and_answers(memorized: Path, division: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*args: object) -> str:
        assert inference.main(list(map(str, args))) == 0
        return capsys.readouterr().out

    assert said(memorized / "model.safetensors", 6) == "I love\n"
    answer = said(division, "--prompt", "12/5=")
    assert answer.startswith("12/5=80   P ") and "right, " in answer  # 80·5 = 400 = 4·97 + 12
    assert said(memorized, "--prompt", "I love", 8) == "I love machine\n"
    assert len(said(division, "--seed", 0).splitlines()) == inference.DEFAULT_EQUATIONS


def test_command_line_errors(
    memorized: Path, division: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "foreign.txt").write_text("hello")
    truncated = tmp_path / "truncated.safetensors"
    truncated.write_bytes((memorized / "model.safetensors").read_bytes()[:1000])
    broken = tmp_path / "of_another" / "run"
    shutil.copytree(memorized, broken)
    shutil.copy(truncated, broken / "model.safetensors")
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
        ([ROOT / "checkpoints" / "ablation.zip"], ["an archive of 225 runs", "python -m lib.train ablation --"]),
        ([tmp_path / "nothing"], ["nothing", "no such file or folder"]),
        ([tmp_path], ["a folder of runs; name one of them, such as", str(other_config)]),
        (["/nothing"], ["/nothing", "no such file or folder"]),
        (["grokking"], ["a folder of runs; name one of them, such as", str(division)]),
        ([ROOT / "checkpoints"], ["a folder of experiments; name a run of one, such as", "checkpoints/"]),
        ([""], ["''", "name of a file or folder"]),
        ([tmp_path / "foreign.txt"], ["foreign.txt", "no weights file"]),
        (
            [truncated],
            ["truncated.safetensors", "not a whole safetensors file", "; restore it, or train its run again"],
        ),
        ([broken], ["not a whole safetensors file", f"or delete the run folder {broken} and train its run again"]),
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
        ([memorized, "--samples", "0"], ["samples", "from 1 to 1,000"]),
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
