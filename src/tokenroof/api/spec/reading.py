"""A spec from a file or a mapping; everything wrong with it is one line with its place."""

from __future__ import annotations

import difflib
import tomllib
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tokenroof.api.spec.core import Spec
from tokenroof.api.spec.traffic import LOADS
from tokenroof.catalog.files import read_mapping, read_text
from tokenroof.errors import CatalogError, InputError

SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_LONGEST_SHOWN = 60
Checked = TypeVar("Checked", bound=BaseModel)
_MISSING = {"traffic": "no load. Give rate, concurrency or trace"}


def read_spec(path: Path) -> dict[str, Any]:
    """What stands in a spec file, not checked yet.

    Raises
    ------
    InputError
        Another extension, a file that cannot be read, or one that is no YAML, TOML or JSON mapping.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"unknown kind of spec {str(path)!r}. Known: {', '.join(SUFFIXES)}.")
    try:
        if path.suffix.lower() != ".toml":
            return read_mapping(path)
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path}: not valid TOML ({error}).") from None
    except CatalogError as error:
        raise InputError(str(error)) from None


def spec_of(given: Mapping[str, Any] | Spec, *, where: str = "") -> Spec:
    """A checked spec.

    Parameters
    ----------
    given : mapping or Spec
        Sections by name.
    where : str
        File that it stands in, for errors.

    Raises
    ------
    InputError
        The first thing wrong, as ``section.key: what. What to do.``
    """
    return given if isinstance(given, Spec) else checked(Spec, given, where=where)


def checked(section: type[Checked], given: Mapping[str, Any], *, where: str = "") -> Checked:
    """A section of a user's file, checked; errors as of :func:`spec_of`."""
    try:
        return section.model_validate(dict(given))
    except ValidationError as error:
        _refuse(section, error.errors(include_url=False), f"{where}: " if where else "")


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``over`` laid over it, section by section.

    A load that is laid over another (``rate`` over ``concurrency``) takes its place.
    """
    result = dict(base)
    for name, value in over.items():
        held = result.get(name)
        if isinstance(value, Mapping) and isinstance(held, Mapping):
            result[name] = merged(_without_load(held, value) if name == "traffic" else held, value)
        elif isinstance(value, Mapping) and isinstance(held, str) and name in ("model", "engine"):
            result[name] = merged({"name": held}, value)
        else:
            result[name] = value
    if "chip" in over:
        result.pop("pools", None)
    elif "pools" in over:
        result.pop("chip", None)
    return result


def _without_load(held: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    groups = (set(LOADS), {"num_requests", "duration"})
    gone = {name for group in groups if group & over.keys() for name in group}
    return {name: value for name, value in held.items() if name not in gone}


def _refuse(root: type[BaseModel], found: list[ErrorDetails], where: str) -> NoReturn:
    # an unknown key first: it is usually the cause of the rest
    details = sorted(found, key=lambda each: each["type"] != "extra_forbidden")
    detail = details[0]
    names = [str(part) for part in detail["loc"]]
    path = ".".join(names)
    if detail["type"] == "extra_forbidden":
        known = _keys_at(root, detail["loc"][:-1])
        near = difflib.get_close_matches(names[-1], known, n=2, cutoff=0.4)
        hint = f"Nearest: {', '.join(near)}." if near else f"Known: {', '.join(known)}."
        raise InputError(f"{where}{path}: unknown. {hint}") from None
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    if detail["type"] == "missing":
        message = _MISSING.get(path, f"missing. Write '{names[-1]}: ...'")
    elif detail["type"] == "literal_error":
        message = f"unknown {detail['input']!r}. Known: {_listed(str(detail['ctx']['expected']))}"
    elif detail["type"] == "model_type":
        keys = ", ".join(_keys_at(root, detail["loc"]))
        message = f"must be a section, got {str(detail['input'])[:_LONGEST_SHOWN]!r}. It has: {keys}"
    elif detail["type"] != "value_error":
        message = f"{message[0].lower()}{message[1:]}, got {str(detail['input'])[:_LONGEST_SHOWN]!r}"
    more = len(details) - 1
    tail = f" ({more} more)" if more else ""
    raise InputError(f"{where}{path}{': ' if path else ''}{message}.{tail}") from None


def _listed(expected: str) -> str:
    """The names of a pydantic message, in the project's form."""
    return expected.replace("'", "").replace(" or ", ", ")


def _keys_at(section: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Keys that the section at ``place`` within a section has."""
    for part in place:
        if isinstance(part, int):
            continue
        inner = _section_in(section.model_fields[part].annotation) if part in section.model_fields else None
        if inner is None:
            break
        section = inner
    return list(section.model_fields)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that a field holds, one of several, or none."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) in (Union, types.UnionType, tuple):
        return next(filter(None, (_section_in(each) for each in get_args(annotation))), None)
    return None
