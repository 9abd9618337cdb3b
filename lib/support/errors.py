"""Errors that a user can act on, and command lines that report such an error in one line."""

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn


class UserError(ValueError):
    """The user's input cannot work. The message is one line: the field, its value, and what is allowed."""


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" for the known word nearest to `word`, or nothing."""
    sizes = re.findall(r"\d{2,}", word)  # float64 is no misspelt float16
    possible = [one for one in known if not sizes or re.findall(r"\d{2,}", one) == sizes]
    close = get_close_matches(word, possible, n=1, cutoff=0.75)
    return f"; did you mean {close[0]}?" if close else ""


def shortened(value: object) -> str:
    """`value` as Python shows it; of a long text the first 60 characters and the length."""
    if isinstance(value, str) and len(value) > 60:
        return f"{value[:60]!r}… ({len(value):,} characters)"
    return repr(value)


def first_line(said: object) -> str:
    """The first line of what an outside library says."""
    return str(said).strip().partition("\n")[0]


def check_package(asked: str, name: str) -> None:
    """Raises UserError, naming what was asked for, if it needs a package that is not installed."""
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # none, or a mere folder of that name, as W&B makes them
        raise UserError(f"{asked}: needs the package {name}; install it with: pip install {name}")


def say(line: str) -> None:
    """Prints a line on stderr; of several processes the first one speaks."""
    if os.environ.get("RANK", "0") == "0":
        print(line, file=sys.stderr, flush=True)


def lacks_memory(error: BaseException) -> bool:
    """Whether Python or torch, which raises a RuntimeError, got less memory than it asked for."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("out of memory", "can't allocate memory")
    )


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Turns a command's UserError, or Ctrl-C, into one line on stderr and exit status 1.

    A closed stdout, as after `| head`, ends the command in silence.
    """

    @wraps(main)
    def command(*args: Any) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")  # a terminal may not know every character
        try:
            status = main(*args)
            sys.stdout.flush()
            return status
        except (UserError, KeyboardInterrupt) as error:
            told = str(error) or "stopped"
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains as it exits
                return 1
            if error.filename is None:
                raise
            told = f"{error.filename}: cannot be read or written ({error.strerror})"
        except (MemoryError, RuntimeError) as error:
            if not lacks_memory(error):
                raise
            less = "a smaller train.batch_size, or a larger train.accumulation, may help"
            told = f"out of memory ({str(error) or 'MemoryError':.100}); {less}"
        say(f"error: {told}")
        return 1

    return command


def named_path(text: str) -> Path:
    """A path on a command line. Raises argparse's error for an empty one, as of a variable that is not set."""
    if not text.strip():
        raise argparse.ArgumentTypeError("'': must be the name of a file or folder")
    return Path(text)


class Parser(argparse.ArgumentParser):
    """argparse with one-line errors; an unknown option brings up the nearest known one."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        args, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            word = unknown[0].split("=")[0]
            if not word.startswith("-"):
                self.error(f"{word}: one word too many; each option takes one value")
            self.error(f"{word}: no such option{suggestion(word, self._option_string_actions)}; see --help")
        return args
