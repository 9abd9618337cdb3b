"""The tasks of the notebooks: what `check` says of right answers, wrong ones, and whatever else may be handed in."""

import re

import numpy as np
import pytest
import torch
from handed_in import RIGHT, WRONG

from lib.course import check, solution
from lib.course.answers import shown
from lib.course.task import Task, of_notebook

TASKS = [one for number in range(1, 11) for one in of_notebook(f"{number:02}")]
EACH = pytest.mark.parametrize("one", TASKS, ids=lambda one: one.name)
IN_VAIN = re.compile("^right$|^not answered yet|stops with|cannot be checked")


def handed_in(one: Task, code: str) -> object:
    """What a notebook's cell hands to `check`: a function that the code defines, or the value of an expression."""
    names: dict[str, object] = {"np": np, "torch": torch}
    if not one.function:
        return eval(code, names)
    exec(code, names)
    return names[re.findall(r"^def (\w+)", code, re.MULTILINE)[-1]]


def edited(code: str, edit: str) -> str:
    """The code with one mistake: `old => new`."""
    old, new = (side.replace("\\n", "\n") for side in re.split(r" => ?", edit, maxsplit=1))
    assert old in code, f"{old!r} is not there to be replaced"
    return code.replace(old, new, 1)


def test_there_are_two_or_three_tasks_for_each_notebook() -> None:
    counts = [len(of_notebook(f"{number:02}")) for number in range(1, 11)]
    assert set(counts) <= {2, 3} and sum(counts) >= 24
    assert [one.name for one in TASKS] == list(RIGHT) == list(WRONG)


@EACH
def test_right_answers_are_accepted(one: Task) -> None:
    names: dict[str, object] = {"np": np, "torch": torch}
    exec(one.solution, names)
    assert one.verdict(names[one.function or "mine"]) == "right"
    for code in RIGHT[one.name]:
        assert one.verdict(handed_in(one, code)) == "right", code
    assert len(RIGHT[one.name]) + bool(one.function) >= 3


def test_examples_are_what_they_are_said_to_be() -> None:
    """A text says: `accuracy(…)` is `0.5`."""
    n = 0
    for one in TASKS:
        names: dict[str, object] = {"np": np, "torch": torch}
        exec(one.solution, names)
        for example, result in one.examples:
            assert np.allclose(eval(example, names), eval(result, names)), example
            n += 1
    assert n == 18


@EACH
def test_wrong_answers_are_rejected_with_a_reason(one: Task) -> None:
    assert len(set(WRONG[one.name])) >= 10
    for mistake in WRONG[one.name]:
        wrong, _, must_say = mistake.partition(" ?? ")
        verdict = one.verdict(handed_in(one, edited(RIGHT[one.name][0], wrong) if one.function else wrong))
        assert not IN_VAIN.search(verdict) and must_say in verdict, (mistake, verdict)
        assert "\n" not in verdict and len(verdict) < 300, (mistake, verdict)


class Odd:
    def __getattr__(self, name: str) -> object:
        raise RuntimeError(name)


ODD = [
    *(None, True, "a", b"a", "", [], [1, [2]], {}, {1}, 1j, float("nan"), float("inf"), 10**400, object(), Odd, Odd()),
    *(torch.zeros(0), torch.ones(2, 3), torch.tensor(torch.nan), torch.zeros(3, dtype=torch.complex64), np.zeros(5)),
    *(np.array("a"), np.array([None]), [..., ...], (torch.zeros(4, 3),) * 3, torch.zeros(3, device="meta"), range(4)),
]


def quits(*args: object) -> None:
    raise SystemExit


@EACH
def test_whatever_is_handed_in_is_told_in_a_line(one: Task) -> None:
    """As an answer, and as what a function of any arguments returns."""
    functions = [lambda *args, value=value: value for value in ODD]
    for answer in [*ODD, *functions, print, quits, lambda: 0, lambda *args: 1 / 0, lambda *args: args[0]]:
        verdict = one.verdict(answer)
        assert verdict != "right" and "\n" not in verdict and 10 < len(verdict) < 400, (answer, verdict)


def none(*args: object) -> None:
    """What a function without return gives."""


def stops(steps: list[int], accuracy: list[float]) -> int:
    last = len(steps)
    return steps[last]


@pytest.mark.parametrize(
    "name, answer, said",
    [
        ("01.1", None, "your answer is None"),
        ("04.2", none, "divide(3, 2, 7) returns None: does every way through it end with return?"),
        ("05.1", lambda w, g, m, v, *rest: (w, m, ...), "not answered yet"),
        ("07.3", lambda *sizes: torch.nn.Identity(), "your answer is of type Identity; must be numbers"),
        ("04.2", lambda a, b, p: torch.tensor(True), "your answer holds bool; must hold numbers"),
        ("10.2", lambda given, true, p: [1.5] * len(given), "your answer holds 1.5; must hold whole numbers"),
        (
            "04.3",
            stops,
            "t_grok([0, 10, 20, 30], [0.5, 1.0, 1.0, 0.99]) stops with IndexError: list index out of range"
            " (line 3 of your function)",
        ),
        ("06.3", lambda table: 1 / 0, "by_difference([[1, 2], [4, 3]]) stops with ZeroDivisionError"),
        ("01.3", lambda pairs: 1 / 0, "floor([('a', 'b'), ('a', 'c')]) stops with ZeroDivisionError"),
        ("02.3", lambda p, seed: 1 / 0, "train_pairs(31, 1) stops with ZeroDivisionError"),
    ],
)
def test_what_gives_nothing_is_told_with_its_input(name: str, answer: object, said: str) -> None:
    [one] = [one for one in TASKS if one.name == name]
    assert one.verdict(answer).startswith(said)


def test_long_inputs_are_told_by_their_beginning() -> None:
    assert shown(np.arange(30.0), 1 / 3, "text") == "[0.0, 1.0, 2.0, 3.0, …], 0.333, 'text'"
    assert shown(torch.ones(9, 9, 9)) == "[…]"


def test_an_answer_may_change_its_arguments() -> None:
    [one] = [one for one in TASKS if one.name == "10.2"]

    def errors(given: np.ndarray, true: np.ndarray, p: int) -> np.ndarray:
        given -= true
        given %= p
        given[given > p // 2] -= p
        return given

    assert one.verdict(errors) == "right"


def test_the_lines_that_a_notebook_shows(capsys: pytest.CaptureFixture[str]) -> None:
    for name, mine in (("05.3", ...), ("05.2", lambda t_grok: ...), ("05.3", 0.834), ("05.3", 0.05), ("5.2", 1)):
        check(name, mine)
    check("05.4", 1)
    solution("05.3")
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == ["05.3: not answered yet", "05.2: not answered yet", "05.3: right"]
    assert said[3].startswith("05.3: that is for one") and said[4] == "5.2: no such task; the first is 01.1"
    assert said[5] == "05.4: no such task; there are 05.1, 05.2, 05.3"
    assert said[6].startswith("mine = 1 - 0.95**35") and len(said) == 7
