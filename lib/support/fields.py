"""Checked config fields: typed values, also from text, and dotted names for the fields of nested sections."""

import math
import typing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any, Self

from lib.support.errors import UserError, shortened, suggestion

# of a class of configs: its fields' defaults by dotted name; and the fields' types
defaults: Callable[[type], dict[str, Any]] = cache(lambda of: of().flat())
type_hints: Callable[[type], dict[str, Any]] = cache(typing.get_type_hints)


def option(default: Any, help: str) -> Any:
    """A config field with its default and the help text that the command line shows."""
    return field(default=default, metadata={"help": help})


def coerce(name: str, value: Any, kind: Any) -> Any:
    """`value` as `kind` (a bool, int, float, str or Literal type), also from text, e.g. "1e-3" or "true".

    Raises UserError, naming `name`, if the value is of another kind.
    """
    if choices := typing.get_args(kind):
        if value in choices:
            return value
        hint = suggestion(str(value), choices)
        raise UserError(f"{name} = {shortened(value)}: must be one of {', '.join(choices)}{hint}")
    if kind is bool and str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    if kind is str and isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value):
        return value
    if kind in (int, float) and not isinstance(value, bool):
        with suppress(TypeError, ValueError, OverflowError):
            number = float(value)
            if kind is int and number == int(number):
                return int(value) if isinstance(value, int) else int(number)
            if kind is float and math.isfinite(number):
                return number
    allowed = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text in UTF-8"}[kind]
    raise UserError(f"{name} = {shortened(value)}: must be {allowed}")


@dataclass(frozen=True)
class Section:
    """Base of the four sections of a config: checks the type of each field, then what `check` demands."""

    def __post_init__(self) -> None:
        kinds = type_hints(type(self))
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default or type(value) is not type(f.default):
                object.__setattr__(self, f.name, coerce(f"{self.section()}.{f.name}", value, kinds[f.name]))
        self.check()

    @classmethod
    def section(cls) -> str:
        return cls.__name__.removesuffix("Config").lower()

    def check(self) -> None: ...

    def require(self, condition: bool, field: str, allowed: str) -> None:
        if not condition:
            raise UserError(f"{self.section()}.{field} = {shortened(getattr(self, field))}: must be {allowed}")


@dataclass(frozen=True)
class Nested:
    """Base of a config made of sections: each field has a dotted name, such as `optim.lr`."""

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if not is_dataclass(f.default):
                object.__setattr__(self, f.name, coerce(f.name, value, type_hints(type(self))[f.name]))
            elif not isinstance(value, type(f.default)):
                raise UserError(f"{f.name} = {value!r}: must be a {type(f.default).__name__}")

    @classmethod
    def options(cls) -> dict[str, str]:
        """Every field by its dotted name, with its help text, its choices, and its default."""
        sections = [(f"{f.name}.", fields(f.default)) if is_dataclass(f.default) else ("", (f,)) for f in fields(cls)]
        told = {}
        for prefix, f in ((prefix, f) for prefix, of_section in sections for f in of_section):
            choices = f"; one of {', '.join(typing.get_args(f.type))}" if typing.get_args(f.type) else ""
            default = str(f.default).lower() if isinstance(f.default, bool) else str(f.default)
            told[prefix + f.name] = f"{f.metadata['help']}{choices} (default: {default})"
        return told

    def flat(self) -> dict[str, Any]:
        """All fields by dotted name."""
        return flatten(self.to_dict())

    def override(self, changes: dict[str, Any]) -> Self:
        """A copy with fields set by dotted name, e.g. {"optim.lr": 3e-3, "seed": 1}; values may be text."""
        known = defaults(type(self))
        parts: dict[str, dict[str, Any]] = {}
        for name, value in changes.items():
            if name not in known:
                raise UserError(f"{name}: no such config field{suggestion(name, known)}")
            section, _, leaf = name.rpartition(".")
            parts.setdefault(section, {})[leaf] = value
        top = parts.pop("", {})
        return replace(self, **{name: replace(getattr(self, name), **part) for name, part in parts.items()}, **top)

    def to_dict(self) -> dict[str, Any]:
        return {name: dict(vars(value)) if is_dataclass(value) else value for name, value in vars(self).items()}

    @classmethod
    def from_dict(cls, stored: Any) -> Self:
        """The config of a `config.json`; raises UserError on unknown fields and bad values."""
        if not isinstance(stored, dict):
            raise UserError(f"config: must be an object with the fields {', '.join(f.name for f in fields(cls))}")
        return cls().override(flatten(stored))


def flatten(nested: dict[str, Any]) -> dict[str, Any]:
    """The values of a dictionary of dictionaries by dotted name."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= {f"{key}.{leaf}": v for leaf, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat
