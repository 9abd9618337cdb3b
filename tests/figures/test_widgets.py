"""The widgets without a browser: what each control does, what is shown, and what wrong input says."""

import html
import re
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TINY, weights

from lib.analysis.equations import describe_answer, right_answer
from lib.config import RunConfig
from lib.figures import grokking as figure_one
from lib.figures import stills
from lib.figures.stills import spell
from lib.figures.widgets import LiveTraining, Sampler, Scrubber, marked
from lib.runs.run import Run
from lib.runs.stored import run_all
from lib.sampling import answer_probabilities, sample
from lib.support.errors import UserError
from lib.training.folder import read_metrics
from lib.training.trainer import train

PNG = re.compile(r'<img alt="[^"]*\d[^"]*" src="data:image/png;base64,iVBOR')  # a picture, and words with a number
DIVISION = TINY.override({"data.operation": "/", "data.p": 13, "train.keep_weights": True})
NETWORKS = {
    "division": DIVISION,
    "digits": TINY.override(
        {"data.operation": "+", "data.tokenizer": "character", "data.p": 13, "model.positions": "rope"}
    ),
    "text": TINY.override({"data.task": "text", "data.text": "hello", "train.batch_size": 1}),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Run folders of a network of each kind."""
    folders = {name: tmp_path_factory.mktemp(name) for name in NETWORKS}
    for name, config in NETWORKS.items():
        train(config, folders[name])
    return folders


def test_asking_by_numbers_and_by_typing(trained: dict[str, Path]) -> None:
    sampler = Sampler(trained)
    assert sampler.prompt.value == "13/5=" and "must be" in sampler.message.value  # 13 is no number modulo 13
    sampler.a.value = 7
    model, tokenizer, config = Run(trained["division"]).load()
    probabilities = answer_probabilities(model, tokenizer, config.data, 7, 5)
    told = describe_answer(config, 7, 5, probabilities)
    assert sampler.message.value.removeprefix("<code>")[:25] == told[:25]
    assert PNG.match(sampler.picture.value) and sampler.picture.layout.display is None
    before = sampler.picture.value
    sampler.prompt.value = "12/5="
    assert sampler.message.value.startswith("<code>12/5=") and sampler.picture.value != before
    sampler.button.click()
    assert sampler.message.value.startswith("<code>12/5=")
    assert (sampler.a.value, sampler.b.value) == (12, 5)


def test_a_network_of_an_expression_is_asked_by_its_sign(trained: dict[str, Path], tmp_path: Path) -> None:
    for name, operation in (("times", "a*b"), ("squares", "a**2+b")):
        train(TINY.override({"data.operation": operation, "data.p": 13, "train.max_steps": 1}), tmp_path / name)
    sampler = Sampler({"times": tmp_path / "times", "squares": tmp_path / "squares"} | trained)
    sampler.prompt.value = "3o4="
    assert sampler.message.value.startswith("<code>3o4=") and sampler.operation.value == "a*b"
    sampler.operation.value = "a**2+b"
    assert sampler.checkpoint.value == "squares" and sampler.message.value.startswith("<code>3o4=")


def test_another_network_is_asked_the_same(trained: dict[str, Path]) -> None:
    sampler = Sampler({"one": trained["division"], "two": trained["division"], "text": trained["text"]})
    sampler.prompt.value = "3/4="
    sampler.checkpoint.value = "two"
    assert sampler.message.value.startswith("<code>3/4=")
    sampler.checkpoint.value = "text"
    assert sampler.prompt.value == "" and sampler.message.value.startswith("<pre")
    sampler.checkpoint.value = "one"
    assert sampler.message.value.startswith("<code>3/4=")
    texts = Sampler({"one": trained["text"], "two": trained["text"]})
    texts.prompt.value = "he"
    texts.checkpoint.value = "two"
    assert texts.prompt.value == "he" and "<b>he</b>" in texts.message.value


def test_the_operation_leads_to_a_network_that_knows_it_and_back(trained: dict[str, Path]) -> None:
    sampler = Sampler(trained)
    assert list(sampler.operation.options) == ["/", "+"]
    sampler.b.value, sampler.a.value = 1, 2
    sampler.operation.value = "+"
    assert sampler.checkpoint.value == "digits" and sampler.message.value.startswith("<code>2+1=")
    sampler.checkpoint.value = "division"
    assert sampler.operation.value == "/" and sampler.message.value.startswith("<code>2/1=")


def test_a_sample_of_a_text_model_repeats_under_its_seed(trained: dict[str, Path]) -> None:
    sampler = Sampler({"text": trained["text"]})
    assert sampler.equation.layout.display == "none" and sampler.options.layout.display is None
    first = sampler.message.value
    assert first.startswith("<pre") and 'title="P ' in first and sampler.picture.layout.display == "none"
    sampler.button.click()
    assert sampler.message.value == first
    sampler.temperature.value = 5.0
    assert sampler.message.value != first
    sampler.temperature.value, sampler.prompt.value = 0, "he"
    model, tokenizer, _ = Run(trained["text"]).load()
    spelled = spell(model, tokenizer, "he", 40, temperature=0)
    assert sampler.message.value == marked("he", spelled)
    assert "".join(token for token, _ in spelled if token != "<eos>") == sample(
        model, tokenizer, "he", 40, temperature=0
    )[0].removeprefix("he")


@pytest.mark.parametrize(
    ("name", "control", "value", "words"),
    [
        ("division", "b", 0, "nothing can be divided by 0"),
        ("division", "a", -1, "a = -1: must be from 0 to 12"),
        ("division", "b", 13, "b = 13: must be from 0 to 12"),
        ("division", "prompt", "7+5=", "this network knows / only"),
        ("division", "prompt", "seven", "'seven': must be a/b="),
        ("division", "prompt", "", "must be a/b="),
        ("division", "prompt", "<b>&", "'<b>&': must be a/b="),
        ("text", "prompt", "xyz", "'x'"),
        ("text", "prompt", "hello, hello", "must be"),
        ("text", "temperature", -1, "temperature = -1"),
        ("text", "top_k", -3, "top-k = -3"),
        ("text", "length", 0, "N = 0"),
        ("text", "seed", -1, "seed = -1"),
    ],
)
def test_wrong_input_is_a_line_in_the_widget(trained, name: str, control: str, value: object, words: str) -> None:
    sampler = Sampler({name: trained[name]})
    if name == "division":
        sampler.a.value = 7
    getattr(sampler, control).value = value
    sampler.button.click()
    assert words in html.unescape(sampler.message.value) and sampler.message.value.startswith("<b style")
    assert sampler.picture.layout.visibility == "hidden"


def test_the_slider_shows_each_moment(trained: dict[str, Path]) -> None:
    run = Run(trained["division"])
    scrubber = Scrubber(run)
    steps = list(run.snapshots)
    assert scrubber.slider.max == scrubber.play.max == len(steps) - 1
    shown = {}
    for place in range(len(steps)):
        scrubber.slider.value = place
        shown[scrubber.message.value] = scrubber.picture.value
    assert list(shown) == [f"step {step}" for step in steps] and len(set(shown.values())) == len(steps)


def test_the_table_of_a_moment_is_that_of_the_metrics(trained: dict[str, Path]) -> None:
    run = Run(trained["division"])
    cells, embedding = stills.seen_at(run.snapshots[60])
    kinds = list(figure_one.KINDS)
    right, wrong = ((cells == kinds.index(f"train, {name}")).sum() for name in ("right", "wrong"))
    assert right / (right + wrong) == pytest.approx(run.metrics["train_acc"][-1], abs=0.02)
    assert (cells == kinds.index("no equation")).sum() == 13 and embedding.shape == (12, 16)
    with pytest.raises(UserError, match="step 7: must be one"):
        stills.moment(run, 7)


def test_only_a_run_that_divides_can_be_scrubbed(tmp_path: Path) -> None:
    train(TINY.override({"data.operation": "+", "train.keep_weights": True}), tmp_path)
    assert "data.operation = +: must be /" in Scrubber(Run(tmp_path)).message.value


def test_the_figure_marks_the_right_answer_and_has_a_table_per_layer(trained: dict[str, Path]) -> None:
    model, tokenizer, config = Run(trained["division"]).load()
    figure = stills.answer_picture(model, tokenizer, config, 12, 5)
    bars, *heads = figure.axes
    probabilities = answer_probabilities(model, tokenizer, config.data, 12, 5)
    assert [bar.get_width() for bar in bars.patches] == pytest.approx(probabilities.topk(5).values.tolist())
    marked_right = [text.get_text() for text in bars.texts if "right" in text.get_text()]
    assert len(marked_right) == (right_answer(config.data, 12, 5)[0] in probabilities.topk(5).indices)
    assert len(heads) == config.model.n_layers
    assert [label.get_text() for label in heads[0].get_xticklabels()] == ["12", "/", "5", "="]


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


def finished(widget: LiveTraining) -> bool:
    return not widget.running and not widget.follower.is_alive()


@pytest.mark.slow(9)
def test_training_starts_stops_and_goes_on(tmp_path: Path) -> None:
    config: RunConfig = TINY.override({"train.max_steps": 1000, "train.eval_every": 50})
    widget = LiveTraining(config)
    empty = widget.picture.value
    assert "waiting for the first evaluation" in empty and widget.message.value == "not begun"
    widget.button.click()
    wait_for(lambda: len(read_metrics(widget.folder)) > 2)
    assert widget.running and widget.button.description == "stop"
    widget.button.click()
    wait_for(lambda: finished(widget))
    stopped_at = read_metrics(widget.folder)[-1]["step"]
    assert 0 < stopped_at < 1000 and widget.message.value.startswith("stopped at step")
    assert widget.button.description == "go on" and widget.picture.value != empty
    widget.button.click()
    wait_for(lambda: finished(widget))
    assert widget.message.value.startswith("done: 1,000 steps, T_fit") and widget.button.disabled
    [whole] = run_all("whole", [config], root=tmp_path)
    assert weights(widget.folder) == weights(whole.path)


@pytest.mark.slow(3)
def test_a_click_as_it_ends_trains_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr("lib.figures.widgets.time", SimpleNamespace(sleep=lambda _: go_on.wait()))
    widget = LiveTraining(TINY.override({"train.max_steps": 10}))
    widget.button.click()
    wait_for(lambda: not widget.running)
    process = widget.process
    widget.button.click()  # the button has not been told yet
    go_on.set()
    wait_for(lambda: finished(widget))
    assert widget.process is process and widget.message.value.startswith("done: 10 steps")


@pytest.mark.slow(3)
def test_divergence_is_told() -> None:
    changes = {"optim.name": "sgd", "optim.lr": 1e30, "model.norm": "none", "train.max_steps": 20}
    widget = LiveTraining(TINY.override(changes))
    widget.button.click()
    wait_for(lambda: finished(widget))
    assert "is not finite" in widget.message.value and widget.button.disabled


@pytest.mark.slow(3)
def test_a_new_one_stops_the_one_before() -> None:
    first = LiveTraining(TINY.override({"train.max_steps": 10**6}))
    first.button.click()
    wait_for(lambda: read_metrics(first.folder))
    LiveTraining(TINY)
    wait_for(lambda: finished(first))
    assert first.message.value.startswith("stopped")


@pytest.mark.slow(2)
def test_training_that_cannot_begin_says_why() -> None:
    widget = LiveTraining(TINY.override({"model.context_length": 2}))
    widget.button.click()
    wait_for(lambda: finished(widget))
    assert "model.context_length = 2: must be at least" in widget.message.value
