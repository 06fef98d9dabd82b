"""Says in words what a declared hyperparameter allows, and formats its value as the built-in does.

Both come from the field's own declaration: its type, its constraints, its spelling.
"""

from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from sagemaker_ssd.errors import listed


@dataclass(frozen=True)
class Spelling:
    """How a field's value is written as a flat string: true, false, and not set."""

    true: str = "True"
    false: str = "False"
    not_set: str = ""


def allowed_values(field: FieldInfo) -> str:
    """Say what a field allows, so that it follows "must be"."""
    field = _without_none(field)
    kind = field.annotation
    if get_origin(kind) is Literal:
        words = [str(word) for word in get_args(kind)]
        return listed(words) if len(words) > 1 else f"{words[0]}, the only one in this version"
    if get_origin(kind) is tuple:
        each = allowed_values(FieldInfo.from_annotation(get_args(kind)[0]))
        return f"numbers separated by commas such as 10, 20, each {each}, and larger than the one before"
    if kind is bool:
        spelling = _spelling(field)
        return f"{spelling.true} or {spelling.false}"
    if kind is int:
        return f"a whole number{_range(field)}"
    if kind is float:
        return f"a number{_range(field)}"
    return "a regular expression"


def format_value(value: object, field: FieldInfo) -> str:
    """Format a value as a flat string, as the built-in's hyperparams.json has it."""
    spelling = _spelling(field)
    if value is None:
        return spelling.not_set
    if isinstance(value, bool):
        return spelling.true if value else spelling.false
    if isinstance(value, tuple):
        return ",".join(str(item) for item in value)
    return str(value)


def is_of_type(field: FieldInfo, kind: type) -> bool:
    """Say whether a field's value, where it is set, is a plain `kind`."""
    return _without_none(field).annotation is kind


def _without_none(field: FieldInfo) -> FieldInfo:
    """Return the declaration of X for `X | None`, with X's own constraints."""
    if get_origin(field.annotation) not in (Union, UnionType):
        return field
    (kind,) = (arg for arg in get_args(field.annotation) if arg is not NoneType)
    return FieldInfo.from_annotation(kind)


def _spelling(field: FieldInfo) -> Spelling:
    return next((part for part in field.metadata if isinstance(part, Spelling)), Spelling())


def _range(field: FieldInfo) -> str:
    limits = {
        name: limit
        for part in field.metadata
        for name in ("gt", "ge", "lt", "le")
        if (limit := getattr(part, name, None)) is not None
    }
    if {"ge", "le"} <= limits.keys():
        return f" from {limits['ge']} to {limits['le']}"
    words = {"gt": "above {}", "ge": "{} or more", "lt": "below {}", "le": "at most {}"}
    text = " and ".join(words[name].format(limit) for name, limit in limits.items())
    return f", {text}" if "ge" in limits else f" {text}"
