"""Messages that a user can act on, on every stream."""

import io
import sys
from pathlib import Path

import pytest

from lib import inference
from lib.support.errors import one_line_errors, shortened, suggestion


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("float64", ("float32", "bfloat16", "float16"), ""),
        ("--data.label_noise", ("--data.vocab_size", "--data.p"), ""),
        ("muno", ("adam", "muon"), "; did you mean muon?"),
        ("groking", ("grokking", "recipe"), "; did you mean grokking?"),
    ],
)
def test_a_suggestion_is_a_misspelling_and_nothing_else(word: str, known: tuple[str, ...], hint: str) -> None:
    assert suggestion(word, known) == hint


def test_a_long_text_is_told_by_its_beginning_and_its_length() -> None:
    assert shortened("12/5=") == "'12/5='"
    assert shortened("7" * 5000) == f"{'7' * 60!r}… (5,000 characters)"


def test_a_stream_that_lacks_a_character_gets_its_code(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.setattr(sys, "stdout", out)
    assert one_line_errors(lambda: print("naïve ⊥ \N{SLIGHTLY SMILING FACE}") or 0)() == 0
    assert out.buffer.getvalue().decode("cp1252").split() == ["naïve", r"\u22a5", r"\U0001f642"]


def test_a_path_without_permission_or_through_a_file_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (tmp_path / "file" / "run", loop / "run", loop):
        assert inference.main([str(path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1 and str(path) in said, said


def test_an_error_of_the_system_names_the_file(capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> int:
        raise PermissionError(13, "Permission denied", "/another/user/run")

    assert one_line_errors(refused)() == 1
    assert capsys.readouterr().err == "error: /another/user/run: cannot be read or written (Permission denied)\n"


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("can't allocate memory: 9")]
)
def test_want_of_memory_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def greedy() -> int:
        raise error

    assert one_line_errors(greedy)() == 1
    said = f"error: out of memory ({str(error) or 'MemoryError'}); a smaller train.batch_size, "
    assert capsys.readouterr().err == f"{said}or a larger train.accumulation, may help\n"


@pytest.mark.parametrize("defect", ["the shapes do not match", "unsupported memory format option"])
def test_a_defect_is_no_want_of_memory(defect: str) -> None:
    def wrong() -> int:
        raise RuntimeError(defect)

    with pytest.raises(RuntimeError, match=defect):
        one_line_errors(wrong)()
