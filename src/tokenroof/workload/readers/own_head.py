"""What holds for a whole request file: classes with their SLOs, block size, closed loop, label and source."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tokenroof.errors import InputError
from tokenroof.workload.core import RequestClass, Requests, Slo
from tokenroof.workload.readers.source import Source

COMMENT = b"# tokenroof requests: "
"""How the first line of a CSV file begins that has a head."""
PARQUET_KEY = "tokenroof_requests"
"""Where a Parquet file keeps its head."""

_LIMITS = ("ttft_s", "tpot_s", "e2e_s")
_CLASS_FIELDS = {"name", "priority", *_LIMITS}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHead:
    """What the columns do not say.

    Attributes
    ----------
    classes : tuple of RequestClass
        Kinds of requests, each with a name of its own; empty when the columns say all.
    block_tokens, concurrency, label, source
        As in ``Prefixes`` and ``Requests``.
    """

    classes: tuple[RequestClass, ...] = ()
    block_tokens: int | None = None
    concurrency: int | None = None
    label: str = ""
    source: str = ""


def head_as_json(requests: Requests) -> str:
    """The head of these requests, on one line.

    Raises
    ------
    InputError
        Two classes have the same name, or one has none.
    """
    names = [kind.name for kind in requests.classes]
    if len(set(names)) < len(names) or "" in names:
        raise InputError(f"classes need names that differ to be written, got {', '.join(map(repr, names))}.")
    classes = []
    for kind in requests.classes:
        limits = {name: getattr(kind.slo, name) for name in _LIMITS}
        given = {name: value for name, value in limits.items() if value is not None}
        classes.append({"name": kind.name, "priority": kind.priority} | given)
    values = {
        "label": requests.label,
        "source": requests.source,
        "concurrency": requests.concurrency,
        "block_tokens": None if requests.prefixes is None else requests.prefixes.block_tokens,
        "classes": classes,
    }
    return json.dumps(values)


def head_of_csv(source: Source) -> FileHead:
    """Head on the first line of a CSV file; an empty one when there is none."""
    if not source.data.startswith(COMMENT):
        return FileHead()
    return head_from_json(source, source.data.partition(b"\n")[0][len(COMMENT) :].decode("utf-8"))


def head_from_json(source: Source, text: str) -> FileHead:
    """Head out of its line.

    Raises
    ------
    InputError
        It is no JSON object, or has fields that do not belong there.
    """
    try:
        values: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise source.wrong(f"the head is no JSON ({error}).", line=1) from None
    known = {"label": str, "source": str, "concurrency": int, "block_tokens": int, "classes": list}
    if not isinstance(values, dict) or not set(values) <= set(known):
        raise source.wrong(f"the head must be a JSON object of {', '.join(known)}.", line=1)
    given = {name: value for name, value in values.items() if value is not None}
    for name, value in given.items():
        if type(value) is not known[name] or (isinstance(value, int) and value < 1):
            raise source.wrong(f"{name} of the head cannot be {value!r}.", line=1)
    classes = tuple(_class(source, entry) for entry in given.pop("classes", []))
    if len({kind.name for kind in classes}) < len(classes):
        raise source.wrong("two classes of the head have the same name.", line=1)
    return FileHead(classes=classes, **given)


def _class(source: Source, entry: Any) -> RequestClass:
    if not isinstance(entry, dict) or not {"name"} <= set(entry) <= _CLASS_FIELDS:
        raise source.wrong(f"a class of the head is an object of {', '.join(sorted(_CLASS_FIELDS))}.", line=1)
    limits = {name: entry[name] for name in _LIMITS if name in entry}
    numbers = all(type(value) in (int, float) for value in limits.values())
    if not isinstance(entry["name"], str) or type(entry.get("priority", 0)) is not int or not numbers:
        raise source.wrong("a class of the head has a text for a name and numbers for the rest.", line=1)
    try:
        return RequestClass(name=entry["name"], priority=entry.get("priority", 0), slo=Slo(**limits))
    except InputError as error:
        raise source.wrong(str(error), line=1) from None
