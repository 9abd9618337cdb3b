"""Controls for a notebook: ask a network, scrub through a training run, train while you watch.

Made of ipywidgets' own controls, those of version 7.7.1, which Colab has. What they show is made by `sampling` and
`stills`; here is only what happens when a control is touched, and what is wrong with an input becomes a line in
the widget. What is wrong with the files that a widget is made of is raised as UserError when it is made.
"""

import html
import multiprocessing
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import ipywidgets as widgets

from lib.analysis import equations
from lib.config import RunConfig
from lib.figures import stills
from lib.figures.live import growing
from lib.figures.style import RED, framed
from lib.runs import named
from lib.runs.pool import work
from lib.runs.run import Run
from lib.sampling import answer_probabilities
from lib.support.errors import UserError
from lib.training.folder import SUMMARY, read_metrics

load = lru_cache(maxsize=16)(named.load)  # a network that is trained again is seen by the next kernel


class Panel(widgets.VBox):
    """Controls above a line of text and a picture."""

    def __init__(self, controls: Sequence[widgets.Widget]) -> None:
        self.message = widgets.HTML()
        self.picture = widgets.HTML(layout={"align_self": "flex-start", "max_width": "100%"})
        super().__init__([*controls, self.message, self.picture])

    def show(self, text: str, picture: str | None = None) -> None:
        """Both HTML; an Image would have no words for the picture. Without a picture the space for it closes."""
        self.message.value = text
        self.picture.layout.display = "none" if picture is None else None
        self.picture.layout.visibility = "visible"
        if picture is not None:
            self.picture.value = picture

    def attempt(self, action: Callable[[], None]) -> None:
        """Do it, or say what is wrong with the input, and hide the picture, whose space stays."""
        try:
            action()
        except UserError as error:
            self.message.value = f'<b style="color: {RED}">{html.escape(str(error))}</b>'
            self.picture.layout.visibility = "hidden"


class Sampler(Panel):
    """Ask a checkpoint: an equation of an arithmetic model, a continuation of a text model.

    checkpoints: the name of each in the list, and its run folder or weights file. Raises UserError if one has no
    weights. What was asked stays when another network of the same kind is chosen.
    """

    def __init__(self, checkpoints: Mapping[str, Path]) -> None:
        self.paths = {name: Path(path) for name, path in checkpoints.items()}
        self.checkpoint = widgets.Dropdown(options=list(self.paths), description="network")
        self.a, self.b = (widgets.IntText(value, layout={"width": "80px"}) for value in (13, 5))
        self.operation = widgets.Dropdown()
        self.prompt = widgets.Text(description="or type", continuous_update=False)
        whole = {"description_width": "initial"}
        self.temperature = widgets.FloatText(1.0, description="temperature", style=whole)
        self.top_k = widgets.IntText(0, description="top-k (0: all)", style=whole)
        self.length = widgets.IntText(40, description="tokens")
        self.seed = widgets.IntText(0, description="seed")
        self.button = widgets.Button(description="ask", button_style="primary")
        self.equation = widgets.HBox([self.a, self.operation, self.b, widgets.Label("=")])
        rows = (self.temperature, self.top_k), (self.length, self.seed)
        self.options = widgets.VBox([widgets.HBox(row) for row in rows])
        asked = widgets.HBox([self.prompt, self.button])
        super().__init__([self.checkpoint, self.equation, asked, self.options])
        data = {name: load(path)[2].data for name, path in self.paths.items()}
        self.operations = {name: each.operation for name, each in data.items() if each.task == "arithmetic"}
        self.operation.options = list(dict.fromkeys(self.operations.values()))
        self.operation.layout.width = f"{40 + 10 * max(map(len, self.operation.options), default=1)}px"
        self.checkpoint.observe(lambda _: self.change_network(), "value")
        self.operation.observe(lambda _: self.change_operation(), "value")
        for number in (self.a, self.b):
            number.observe(lambda _: self.compose(), "value")
        for control in (self.prompt, self.temperature, self.top_k, self.length, self.seed):
            control.observe(lambda _: self.attempt(self.ask), "value")
        self.button.on_click(lambda _: self.attempt(self.ask))
        self.task, self.following = "", False  # of the network that was asked last; are the numbers being set to it
        self.change_network()

    def change_network(self) -> None:
        """Show the controls of its task, and ask it."""
        data = load(self.paths[self.checkpoint.value])[2].data
        is_text, before = data.task != "arithmetic", self.prompt.value
        self.options.layout.display = None if is_text else "none"
        self.equation.layout.display = "none" if is_text else None
        self.prompt.description = "prompt" if is_text else "or type"
        if not is_text:
            self.operation.value = data.operation
            self.compose()
        elif self.task in ("", "arithmetic"):
            self.prompt.value = ""
        self.task = data.task
        if self.prompt.value == before:  # else it has been asked already
            self.attempt(self.ask)

    def change_operation(self) -> None:
        """Go to the first network that knows the operation, unless the chosen one does."""
        knows = [name for name, operation in self.operations.items() if operation == self.operation.value]
        if self.checkpoint.value not in knows:
            self.checkpoint.value = knows[0]

    def compose(self) -> None:
        """Make the prompt of the numbers, and ask it if it is another."""
        if not self.following:
            sign = load(self.paths[self.checkpoint.value])[2].data.sign
            self.prompt.value = f"{self.a.value}{sign}{self.b.value}="

    def ask(self) -> None:
        model, tokenizer, config = load(self.paths[self.checkpoint.value])
        prompt = self.prompt.value
        if config.data.task != "arithmetic":
            options = {"temperature": self.temperature.value, "top_k": self.top_k.value or None}
            tokens = stills.spell(model, tokenizer, prompt, self.length.value, seed=self.seed.value, **options)
            self.show(marked(prompt, tokens))
        else:
            a, b = equations.parse_equation(config.data, prompt)
            probabilities = answer_probabilities(model, tokenizer, config.data, a, b)
            told = equations.describe_answer(config, a, b, probabilities).partition("(then")[0]
            figure = stills.answer_picture(model, tokenizer, config, a, b)
            self.show(f"<code>{html.escape(told)}</code>", framed(figure))
            self.following = True  # a typed equation shows in the fields too
            self.a.value, self.b.value = a, b
            self.following = False


def marked(prompt: str, tokens: Sequence[tuple[str, float]]) -> str:
    """A sample as HTML: the darker a token's ground, the likelier it was; its probability where the mouse is."""
    spans = [
        f'<span title="P {p:.3f}" style="background: rgba(0, 114, 178, {0.4 * p:.3f})">{html.escape(token)}</span>'
        for token, p in tokens
    ]
    return f'<pre style="white-space: pre-wrap"><b>{html.escape(prompt)}</b>{"".join(spans)}</pre>'


class Scrubber(Panel):
    """A run that divides, at the steps at which it kept its weights: `stills.moment`, with a slider.

    Raises UserError if it kept none.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.steps = run, list(run.snapshots)
        last = len(self.steps) - 1
        self.play = widgets.Play(min=0, max=last, interval=1000)
        self.slider = widgets.IntSlider(min=0, max=last, description="moment", readout=False, layout={"width": "420px"})
        widgets.jslink((self.play, "value"), (self.slider, "value"))
        self.drawn = lru_cache(maxsize=None)(lambda step: framed(stills.moment(run, step)))
        super().__init__([widgets.HBox([self.play, self.slider])])
        self.slider.observe(lambda _: self.attempt(self.move), "value")
        self.attempt(self.move)

    def move(self) -> None:
        step = self.steps[self.slider.value]
        self.show(f"step {step:,}", self.drawn(step))


class LiveTraining(Panel):
    """A button that trains `config`, and stops it, and goes on; the curve grows meanwhile.

    In a process of its own, so that the notebook can be used. metric: "acc" or "loss". What it trains is not kept. One
    at a time: a new one, as of a cell that is run again, stops the one before.
    """

    last: "LiveTraining | None" = None

    def __init__(self, config: RunConfig, metric: str = "acc") -> None:
        if LiveTraining.last is not None and LiveTraining.last.running:
            LiveTraining.last.process.terminate()
        LiveTraining.last = self
        self.config, self.metric = config, metric
        self.folder = Path(tempfile.mkdtemp(prefix="run-")) / config.id
        weakref.finalize(self, shutil.rmtree, self.folder.parent, ignore_errors=True)
        self.process: Any = None
        self.follower: threading.Thread | None = None
        self.button = widgets.Button(description="train", icon="play", button_style="primary")
        self.button.on_click(lambda _: self.attempt(self.press))
        super().__init__([self.button])
        self.redraw("not begun")

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.is_alive()

    def press(self) -> None:
        """Begin, go on, or stop between two steps."""
        if self.follower is not None and self.follower.is_alive():
            if self.running:
                self.process.terminate()
            return  # a process that has just ended is about to be told of
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(target=work, args=(self.config, self.folder, "cpu", sender), daemon=True)
        self.process.start()
        sender.close()
        self.button.description, self.button.icon = "stop", "stop"
        self.follower = threading.Thread(target=self.follow, args=(receiver,), daemon=True)
        self.follower.start()

    def follow(self, receiver: Any) -> None:
        """Draw what there is until the process ends."""
        n_shown = -1
        while self.running:
            time.sleep(0.3)
            rows = read_metrics(self.folder)
            if len(rows) != n_shown:
                n_shown = len(rows)
                self.redraw(f"training … step {rows[-1]['step']:,.0f}" if rows else "starting a process …")
        try:
            error = receiver.recv()
        except EOFError:  # before it began
            error = "stopped"
        ended = (self.folder / SUMMARY).exists()
        if ended and not error:
            run = Run(self.folder)
            error = f"done: {run.summary['steps']:,} steps"
            if self.metric == "acc":
                error += f", T_fit {run.t_fit or 'not reached'}, T_grok {run.t_grok or 'not reached'}"
        self.redraw(error.partition(";")[0])
        self.button.description, self.button.icon = ("ended", "check") if ended else ("go on", "play")
        self.button.disabled = ended

    def redraw(self, text: str) -> None:
        self.show(html.escape(text), framed(growing(read_metrics(self.folder), self.metric)))
