"""The JSON objects of a file, whether one, one per line, appended to each other, or a list."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenroof.calibrate.readers.fields import Fields, short
from tokenroof.workload.readers.source import Source


def documents(source: Source, text: str) -> tuple[Fields, ...]:
    """Every object of a file, in order.

    Parameters
    ----------
    source : Source
        The file.
    text : str
        Its content.

    Returns
    -------
    tuple of Fields
        Objects with the line on which they begin, or their number (from 1) in a list.

    Raises
    ------
    InputError
        The file is no JSON, is cut off, or holds something else than objects; with the line.
    """
    decoder = json.JSONDecoder()
    found: list[Fields] = []
    line, counted, start = 1, 0, _past_space(text, 0)
    while start < len(text):
        line, counted = line + text.count("\n", counted, start), start
        try:
            value, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError) as error:
            raise _broken(source, text, error, line) from None
        if isinstance(value, list):
            found += [_object(source, one, i) for i, one in enumerate(value, start=1)]
        else:
            found.append(_object(source, value, line))
        start = _past_space(text, end)
    if not found:
        raise source.wrong("an empty list: it holds no results.")
    return tuple(found)


def _object(source: Source, value: Any, line: int) -> Fields:
    if not isinstance(value, Mapping):
        raise source.wrong(f"expected a JSON object, got {short(value)}.", line=line)
    return Fields(line=line, value=value)


def _broken(source: Source, text: str, error: Exception, line: int) -> Exception:
    if not isinstance(error, json.JSONDecodeError):
        reason = str(error).split(":")[0] or type(error).__name__
        return source.wrong(f"JSON that cannot be read ({reason}).", line=line)
    rest = text[error.pos :].strip()
    cut = not rest or error.msg.startswith(("Unterminated string", "Invalid \\u"))
    hint = "The file ends in the middle of it: was it cut off?" if cut else "Was it edited by hand?"
    return source.wrong(f"no JSON ({error.msg}). {hint}", line=error.lineno)


def _past_space(text: str, start: int) -> int:
    """Position of the next character that is no white space."""
    while start < len(text) and text[start].isspace():
        start += 1
    return start
