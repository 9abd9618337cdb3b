"""Checked dataclass fields: typed values from text, with errors that name the field, the value and what is allowed."""

import argparse
import os
import sys
import typing
from collections.abc import Callable, Iterable
from dataclasses import field, fields
from difflib import get_close_matches
from functools import wraps
from typing import Any, NoReturn


class UserError(ValueError):
    """What the user gave cannot work. The message is one line: the field, its value, and what is allowed."""


def one_line_errors(main: Callable[..., int]) -> Callable[..., int]:
    """Makes of a command's UserError, or of Ctrl-C, one line on stderr and the exit status 1.

    Where nobody reads on, as after `| head`, it ends without a word.
    """

    @wraps(main)
    def command(*args: Any) -> int:
        try:
            status = main(*args)
            sys.stdout.flush()
            return status
        except (UserError, KeyboardInterrupt) as error:
            if os.environ.get("RANK", "0") == "0":  # of several processes one speaks
                print(f"error: {str(error) or 'stopped'}", file=sys.stderr)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more as it exits
        return 1

    return command


class Parser(argparse.ArgumentParser):
    """argparse, but an error is one line, and an unknown option brings the nearest known one to mind."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")

    def parse(self, argv: list[str] | None) -> argparse.Namespace:
        args, unknown = self.parse_known_intermixed_args(argv)
        if unknown:
            word = unknown[0].split("=")[0]
            self.error(f"{word}: no such option{suggestion(word, self._option_string_actions)}; see --help")
        return args


def option(default: Any, help: str) -> Any:
    """A config field with its default and the help text that the command line shows."""
    return field(default=default, metadata={"help": help})


def coerce(name: str, value: Any, kind: Any) -> Any:
    """`value` as `kind` (a bool, int, float, str or Literal type), also from text, e.g. "1e-3" or "true".

    Raises UserError, naming `name`, if the value is of another kind.
    """
    choices = typing.get_args(kind)
    if choices:
        if value in choices:
            return value
        hint = suggestion(str(value), choices)
        raise UserError(f"{name} = {value!r}: must be one of {', '.join(choices)}{hint}")
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str):
        return value
    if kind in (int, float) and not isinstance(value, bool):
        try:
            number = float(value)
            if kind is int and number == int(number):
                return int(value) if isinstance(value, int) else int(number)
            if kind is float and number == number and abs(number) != float("inf"):
                return number
        except (TypeError, ValueError, OverflowError):
            pass
    allowed = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}[kind]
    raise UserError(f"{name} = {value!r}: must be {allowed}")


def suggestion(word: str, known: Iterable[str]) -> str:
    """ "; did you mean …?" for the known word nearest to `word`, or nothing."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


class Section:
    """Base of the four parts of a RunConfig: checks the type of each field, then what `check` demands."""

    def __post_init__(self) -> None:
        kinds = typing.get_type_hints(type(self))
        for f in fields(self):
            value = coerce(f"{self.section()}.{f.name}", getattr(self, f.name), kinds[f.name])
            object.__setattr__(self, f.name, value)
        self.check()

    @classmethod
    def section(cls) -> str:
        return cls.__name__.removesuffix("Config").lower()

    def check(self) -> None: ...

    def require(self, condition: bool, field: str, allowed: str) -> None:
        if not condition:
            raise UserError(f"{self.section()}.{field} = {getattr(self, field)!r}: must be {allowed}")
