"""Reading catalog files from disk: every way in which a file can be bad is a one-line CatalogError."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import yaml

try:  # PyYAML built with libyaml parses ten times faster
    from yaml import CSafeLoader as SafeLoader
except ImportError:
    from yaml import SafeLoader  # type: ignore[assignment]

from tokenroof.errors import CatalogError

MAX_BYTES = 2_000_000  # the largest packaged file is 60 kB; more than this is not a catalog file
MAX_DEPTH = 20


class _Duplicate(Exception):  # noqa: N818 - internal signal, turned into CatalogError below
    pass


class _StrictLoader(SafeLoader):
    """YAML without silent overwriting: a key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = str(key_node.value)
            if key in seen:
                raise _Duplicate(f"{key!r} appears twice (line {key_node.start_mark.line + 1})")
            seen.add(key)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def _deepest_possible(text: str) -> int:
    """Upper bound on nesting: columns before the first word of a line, and brackets open at once."""
    block = max(len(match.group()) for match in re.finditer(r"^[ ?:-]*", text, re.MULTILINE))
    flow = opened = 0
    for match in re.finditer(r"[][{}]", text):
        opened += 1 if match.group() in "[{" else -1
        flow = max(flow, opened)
    return block + flow


def _check_depth(path: Path, text: str) -> None:
    """Refuse deep nesting before the parser recurses, in C, once per level."""
    if _deepest_possible(text) <= MAX_DEPTH:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_StrictLoader):
        if isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise CatalogError(f"{path}: nested deeper than {MAX_DEPTH} levels. Flatten it.")
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            depth -= 1


def read_text(path: Path) -> str:
    """The text of a catalog file.

    Raises
    ------
    CatalogError
        The file cannot be read, is empty, too large, or not UTF-8 text.
    """
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise CatalogError(
                f"{path}: {size} bytes, a catalog file has at most {MAX_BYTES}. Check the path."
            )
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read ({error.strerror}). Check path and rights.") from None
    except UnicodeDecodeError as error:
        raise CatalogError(f"{path}: not UTF-8 text (at byte {error.start}). Save it as UTF-8.") from None
    if not text.strip():
        raise CatalogError(f"{path}: empty. Write at least one field, for example 'extends: h200'.")
    if "\0" in text:
        raise CatalogError(f"{path}: not text (it holds zero bytes). Save it as UTF-8.")
    return text


def _read_yaml(path: Path, text: str) -> object:
    _check_depth(path, text)
    loaded: object = yaml.load(text, Loader=_StrictLoader)
    return loaded


def _read_json(text: str) -> object:
    loaded: object = json.loads(text, object_pairs_hook=_unique)
    return loaded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _Duplicate(f"{key!r} appears twice")
        found[key] = value
    return found


def read_mapping(path: Path) -> dict[str, Any]:
    """The top-level mapping of a YAML (or JSON) catalog file.

    Raises
    ------
    CatalogError
        As :func:`read_text`; or not YAML or JSON, a key twice, nested too deep, or not a mapping of names.
    """
    text = read_text(path)
    try:
        loaded = _read_json(text) if path.suffix == ".json" else _read_yaml(path, text)
    except _Duplicate as error:
        raise CatalogError(f"{path}: {error}. Keep one of the two.") from None
    except json.JSONDecodeError as error:
        raise CatalogError(f"{path}: not valid JSON (line {error.lineno}: {error.msg}).") from None
    except RecursionError:  # from the JSON parser; the depth of YAML is checked before parsing
        raise CatalogError(f"{path}: nested deeper than {MAX_DEPTH} levels. Flatten it.") from None
    except yaml.YAMLError as error:
        raise CatalogError(f"{path}: not valid YAML ({_yaml_problem(error)}).") from None
    except ValueError as error:  # an impossible date such as 2026-13-45
        raise CatalogError(f"{path}: not valid YAML ({error}).") from None
    if not isinstance(loaded, dict):
        raise CatalogError(f"{path}: expected 'field: value' lines, got {type(loaded).__name__}.")
    for key in loaded:
        if not isinstance(key, str):
            raise CatalogError(f"{path}: expected names as keys, got {key!r}. Put it in quotes.")
    return loaded


def _yaml_problem(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"line {error.problem_mark.line + 1}: {error.problem}"
    return " ".join(str(error).split())[:160]


def normal_name(name: str) -> str:
    """A name as the catalog spells it: lower case, dashes ("H100_SXM" -> "h100-sxm")."""
    return name.strip().lower().replace("_", "-").replace(" ", "-")


def named_files(directory: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Files of a folder by catalog name (their stem), empty when the folder is not there.

    Raises
    ------
    CatalogError
        Two files have the same name.
    """
    found: dict[str, Path] = {}
    if not directory.is_dir():
        return found
    wanted = tuple(suffixes)
    for path in sorted(directory.iterdir()):
        if path.suffix not in wanted or path.name.startswith("."):
            continue
        name = normal_name(path.stem)
        if name in found:
            raise CatalogError(f"{path}: also defined by {found[name].name}. Keep one of the two.")
        found[name] = path
    return found


def nearest(given: str, known: Iterable[str], *, n: int = 3) -> tuple[str, ...]:
    """The known names that look most like the given one, best first."""
    return tuple(difflib.get_close_matches(given, sorted(known), n=n, cutoff=0.5))


def _is_branch(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping) and "value" not in value


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with the differences of ``change``: mappings merge, None removes, all else replaces.

    A mapping with a ``value`` key is one quantity: it replaces as a whole, so that a new figure never
    keeps the source of the old one.
    """
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif _is_branch(value) and _is_branch(old):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged
