"""A task of a notebook: its text, its cell with a solution, and what tells a right answer from a wrong one."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from lib.course.answers import Unanswered, Unexplained, Wrong, array, close, guarded, require, shown

Judge = Callable[[Any, np.random.RandomState], None]  # an answer and a source of inputs; raises Wrong
MARK = "### "  # begins the lines BEGIN SOLUTION and END SOLUTION, by which nbgrader tells a solution


@dataclass(frozen=True)
class Task:
    name: str  # "05.2": the second of notebook 05
    title: str
    text: str
    code: str  # assigns `mine`, or defines a function that returns it
    judge: Judge

    @property
    def function(self) -> str | None:
        """The name of the function that is asked for; None where it is a number."""
        found = re.search(r"^def (\w+)", self.code, re.MULTILINE)
        return found[1] if found else None

    @property
    def cells(self) -> tuple[str, str]:
        """The text and the code of its two cells, with the solution."""
        asked = f'check("{self.name}", {self.function or "mine"})'
        gap = "\n\n\n" if self.function else "\n"
        return f"### {self.name} · {self.title}\n\n{self.text}", f"{self.code}{gap}{asked}"

    @property
    def solution(self) -> str:
        return "\n".join(line for line in self.code.splitlines() if not line.strip().startswith(MARK))

    @property
    def examples(self) -> list[tuple[str, str]]:
        """Calls and their results, where the text says: `median([300, None, 500])` is `500`."""
        return re.findall(rf"`({self.function}\([^`]*)`(?:, [^`]*,)? is `([^`]*)`", self.text)

    def on_examples(self, answer: Callable[..., Any]) -> str:
        """The first example of the text for which an answer is wrong, and what it gives; nothing if none is.

        Results of a kind that is not asked are passed over. Raises Wrong or Unanswered if the answer gives none.
        """
        for call, result in self.examples:
            wanted = np.asarray(eval(result, {"np": np}))
            try:
                got = eval(call, {"np": np, "torch": torch, str(self.function): answer})
            except (Wrong, Unanswered):
                raise
            except Exception:  # it has no such element
                return ""
            try:
                read = array(got, wanted.shape, "bool" if wanted.dtype.kind == "b" else "complex")
            except Wrong:
                return ""
            if not close(read, wanted):
                return f"{call} is {result}; yours is {shown(got, widest=60)}"
        return ""

    def judge_function(self, answer: Callable[..., Any], random: np.random.RandomState) -> None:
        """Raises Wrong for a function that is wrong, with an example from the text if that is wrong, too."""
        told = self.on_examples(answer)
        try:
            self.judge(answer, random)
        except Unexplained as wrong:
            raise Wrong(told or f"right in the example, but {wrong}") from None
        except Wrong as wrong:
            raise Wrong(f"{wrong}; {told}" if told else str(wrong)) from None
        require(not told, told)

    def verdict(self, mine: Any) -> str:
        """What `check` says. Inputs are drawn at random, the same each time."""
        random = np.random.RandomState(int(self.name.replace(".", "")))
        try:
            if mine is ...:
                raise Unanswered
            if self.function:
                require(callable(mine), f"hand in the function itself, {self.function}, not what it returns")
                self.judge_function(guarded(mine, self.function), random)
            else:
                require(not callable(mine), "hand in a number, not a function")
                self.judge(mine, random)
        except Unanswered:
            return "not answered yet"
        except Wrong as wrong:
            return " ".join(str(wrong).split())
        except Exception as error:  # an answer of a kind that nobody thought of
            return f"your answer, of type {type(mine).__name__}, cannot be checked ({type(error).__name__})"
        return "right"


TASKS: dict[str, Task] = {}  # those of the modules that are loaded, by name


def task(source: str) -> Callable[[Judge], Judge]:
    """Makes a task of the function that judges its answers.

    source: "05.2 · The title", the text and the code of the cell, with a line between them that is empty.
    """
    head, text, code = source.strip().split("\n\n", 2)
    name, title = head.split(" · ")

    def make(judge: Judge) -> Judge:
        TASKS[name] = Task(name, title, " ".join(text.split()), code, judge)
        return judge

    return make


def of_notebook(number: str) -> list[Task]:
    """The tasks of a notebook, "01" to "10", in their order; none for any other."""
    if find_spec(f"lib.course.t{number}"):
        import_module(f"lib.course.t{number}")
    return [one for name, one in sorted(TASKS.items()) if name.startswith(f"{number}.")]


def found(name: Any) -> Task | None:
    """A task by its name; prints a line if there is none."""
    name = str(name)
    known = {one.name: one for one in of_notebook(name.partition(".")[0])}
    if name not in known:
        print(f"{name}: no such task; " + (f"there are {', '.join(known)}" if known else "the first is 01.1"))
    return known.get(name)


def check(name: str, mine: Any) -> None:
    """Print whether an answer to a task is right, or what is wrong with it: check("05.2", mine)."""
    if one := found(name):
        print(f"{name}: {one.verdict(mine)}")


def solution(name: str) -> None:
    """Print a solution of a task: solution("05.2")."""
    if one := found(name):
        print(one.solution)
