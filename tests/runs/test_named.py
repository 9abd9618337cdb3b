"""What a path names is told, and how to come to its weights."""

import json
import shlex
import zipfile
from pathlib import Path

import pytest
from conftest import Stop, stop_at

from lib import train as command
from lib.config import RunConfig
from lib.experiments.catalogue import EXPERIMENTS, TOURNAMENT
from lib.figures.widgets import Sampler
from lib.runs import archive, named
from lib.runs.run import Run
from lib.runs.stored import CHECKPOINTS, stored
from lib.support.errors import UserError
from lib.support.files import in_use, sole_use, write_json
from lib.training.folder import CONFIG, STATE, SUMMARY
from lib.training.trainer import train

[MEMORIZE] = [config.override({"train.max_steps": 40, "train.eval_every": 10}) for config in EXPERIMENTS["memorize"]()]
AGAIN = "python -m lib.train memorize --train.max_steps=40 --train.eval_every=10 --optim.fall_steps=0 --checkpoints"


def run_of(text: str) -> tuple[str, RunConfig]:
    """The one run that the command line in a text trains: its experiment and its config."""
    words = shlex.split(text[text.index("python -m lib.train ") :])[3:]
    args = vars(command.parser().parse(words))
    changes = {name: args[name] for name in RunConfig.options() if name in args}
    [config] = dict.fromkeys(command.changed(args["experiment"], changes, Path("/nowhere")))
    return args["experiment"], config


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if name not in TOURNAMENT])  # arenas wait for trials
def test_the_command_trains_that_run_and_no_other(name: str) -> None:
    configs = EXPERIMENTS[name]()
    longer = configs[0].override({"train.max_steps": 31, "seed": 77})
    for config in {configs[-1], longer}:
        assert run_of(named.command(name, CHECKPOINTS, config)) == (name, config)


def test_each_state_of_a_run_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "memorize" / MEMORIZE.id

    def says(*words: str, path: Path = folder) -> None:
        for ask in (named.load, Run):
            with pytest.raises(UserError) as error:
                ask(path)
            assert all(word in str(error.value) for word in (str(path), *words)), error.value
            assert "\n" not in str(error.value)

    says("no such file or folder")
    with pytest.raises(UserError, match=f"not a finished run; to train it: {AGAIN} {tmp_path}"):
        stored("memorize", MEMORIZE, tmp_path)
    folder.mkdir(parents=True)
    says("neither a run folder nor a weights file; must be a run folder with model.safetensors, or such a file")
    write_json(folder / CONFIG, MEMORIZE.to_dict())
    says("a run that was begun, and of which nothing is saved", f"to train it: {AGAIN} {tmp_path}")
    with pytest.raises(Stop):
        train(MEMORIZE, folder, show=stop_at(20))
    says("a run that was stopped at step 20 of 40", f"to go on: {AGAIN} {tmp_path}")
    says("no such file", path=folder / "deeper" / "and" / "deeper")
    says("a run that was stopped at step 20 of 40", path=folder / "model.safetensors")
    with sole_use(folder):
        says("a run that is being trained, at step 20 of 40 or later; its weights come at the end")
    with pytest.raises(UserError, match="a run that was stopped at step 20 of 40"):
        Sampler({"one": folder})
    says(f"a folder of runs; name one of them, such as {folder}", path=folder.parent)
    (folder / SUMMARY).write_text("[]")
    says(f"{folder / SUMMARY}: damaged (must hold a dict)")
    (folder / CONFIG).write_text("{")
    with pytest.raises(UserError, match=rf"{folder / CONFIG}: damaged"):
        named.load(folder)


def test_a_finished_run_without_weights_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "memorize" / MEMORIZE.id
    train(MEMORIZE, folder)
    with pytest.raises(UserError, match=r"no such file; the weights of this run are .*model\.safetensors"):
        named.load(folder / "weights" / "7.safetensors")
    for lacks, option in (("snapshots", "keep_weights"), ("answers", "keep_answers"), ("samples", "prompt")):
        with pytest.raises(UserError, match=rf"keeps no .*; to train it with --train\.{option}=\w+: python -m lib"):
            getattr(Run(folder), lacks)
    (folder / "model.safetensors").unlink()
    for ask in (named.load, lambda path: Run(path).load()):
        with pytest.raises(UserError, match=f"a finished run, stored without weights; .* {AGAIN} NEW_FOLDER"):
            ask(folder)
    archive.pack(folder.parent, [MEMORIZE.id])
    for path in (tmp_path / "memorize.zip" / MEMORIZE.id, folder, f"{tmp_path}/memorize.zip/{MEMORIZE.id}/"):
        assert Run(path).summary["steps"] == 40
        with pytest.raises(UserError, match=f"stored in an archive without weights; .* {AGAIN} NEW_FOLDER"):
            named.load(path)
    for path in (tmp_path / "memorize.zip", folder.parent):
        with pytest.raises(UserError, match=r"an archive of 1 runs .*memorize --checkpoints NEW_FOLDER"):
            named.load(path)
    with pytest.raises(UserError, match="no such file or folder"):
        named.load(folder.with_name("another"))


def test_a_run_that_diverged_says_when(tmp_path: Path) -> None:
    train(MEMORIZE.override({"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none"}), tmp_path / "x" / "run")
    with pytest.raises(UserError, match=r"a run that diverged, and so has no weights: the loss of step \d+ is not fin"):
        named.load(tmp_path / "x" / "run")


def test_the_list_of_experiments_counts_what_was_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [config] = EXPERIMENTS["memorize"]()
    (tmp_path / "memorize" / config.id).mkdir(parents=True)
    (tmp_path / "memorize" / config.id / STATE).touch()
    command.show_experiments(tmp_path)
    assert " 0/1 stored, 1 begun " in capsys.readouterr().out.splitlines()[0]


def test_a_run_in_an_archive_without_its_summary_is_damaged(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "memorize.zip", "w") as packed:
        packed.writestr(f"run/{CONFIG}", json.dumps(MEMORIZE.to_dict()))
    with pytest.raises(UserError, match=r"memorize\.zip/run/summary\.json: damaged \(it is missing\)"):
        named.load(tmp_path / "memorize.zip" / "run")


def test_no_archive_is_read_but_that_of_a_sweep(tmp_path: Path) -> None:
    (tmp_path / "home.zip").write_bytes(b"another's, and no archive")
    with pytest.raises(UserError, match="no such file or folder"):
        named.load(tmp_path / "home" / "sweep" / "run")


def test_a_folder_of_another_library_is_told_how_it_comes_in(tmp_path: Path) -> None:
    write_json(tmp_path / CONFIG, {"model_type": "gpt2", "n_embd": 16})
    for path in (tmp_path, tmp_path / "weights.safetensors"):
        with pytest.raises(UserError, match=rf"neither a run .*: python -m lib\.export {tmp_path} --from hf"):
            named.load(path)
    assert in_use(tmp_path) is False and [each.name for each in tmp_path.iterdir()] == [CONFIG]


def test_a_place_is_not_taken_for_a_run_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memorize" / "run").mkdir(parents=True)
    write_json(tmp_path / "memorize" / "run" / CONFIG, MEMORIZE.to_dict())
    (tmp_path / "folder.zip").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("a.txt", "of another kind")
    monkeypatch.chdir(tmp_path / "memorize" / "run")
    for path, words in (
        (".", "a run that was begun"), ("..", "a folder of runs"), ("../..", "neither a run folder nor a weights file"),
        ("../../folder.zip", "neither a run folder"), ("../../folder.zip/run", "no such file or folder"),
        ("../../other.zip", "neither a run folder"), ("../../other.zip/a.txt", "no such file or folder"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            named.load(path)
