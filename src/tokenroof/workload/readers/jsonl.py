"""Objects of a file with one JSON object per line, and columns of numbers out of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NoReturn

import numpy as np

from tokenroof.workload.core import FloatArray, IntArray
from tokenroof.workload.readers.source import Source

_MOST = 2**62


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Objects:
    """Objects of a file, or parts of them.

    Attributes
    ----------
    source : Source
        The file.
    line : list of int
        Line of each, from 1.
    row : list of dict
        The objects.
    """

    source: Source
    line: list[int]
    row: list[dict[str, Any]]

    def has(self, key: str) -> bool:
        """Whether every object has a key.

        Raises
        ------
        InputError
            Some have it and some do not.
        """
        given = [key in row for row in self.row]
        if any(given) and not all(given):
            line = self.line[given.index(not given[0])]
            raise self.source.wrong(f"some objects have {key} and some have none.", line=line)
        return given[0]

    def numbers(self, key: str) -> FloatArray:
        """A finite number of every object, shape (num_objects,).

        Raises
        ------
        InputError
            One has it not or has something else there, with its line.
        """
        values: list[Any] = [row.get(key) for row in self.row]
        if set(map(type, values)) <= {int, float} and max(map(abs, values)) < _MOST:
            return np.array(values, dtype=np.float64)
        for line, row in zip(self.line, self.row, strict=True):
            if key not in row:
                what = f"no {key!r}, which is needed. Given: {', '.join(row)[:80]}."
                raise self.source.wrong(what, line=line)
            if type(row[key]) not in (int, float) or not abs(row[key]) < _MOST:
                what = f"{key} must be a number below 2**62, got {_short(row[key])}."
                raise self.source.wrong(what, line=line)
        raise AssertionError("one of them was no number")

    def whole_numbers(self, key: str) -> tuple[IntArray, IntArray]:
        """A list of whole numbers of every object: where each begins (and the end), and all of them.

        Raises
        ------
        InputError
            One has something else there, with its line.
        """
        lists = [row[key] for row in self.row]
        if set(map(type, lists)) <= {list}:
            flat = list(chain.from_iterable(lists))
            if set(map(type, flat)) <= {int} and (not flat or max(-min(flat), max(flat)) < _MOST):
                start = np.concatenate(([0], np.cumsum([len(one) for one in lists]))).astype(np.int64)
                return start, np.array(flat, dtype=np.int64)
        for line, one in zip(self.line, lists, strict=True):
            if not isinstance(one, list) or not all(type(v) is int and abs(v) < _MOST for v in one):
                what = f"{key} must be a list of whole numbers below 2**62, got {_short(one)}."
                raise self.source.wrong(what, line=line)
        raise AssertionError("one of them was no list of whole numbers")


def read_objects(source: Source) -> Objects:
    """Objects of all lines that are not blank.

    Raises
    ------
    InputError
        A line is no JSON object, with its number; the last one when the file has been cut off.
    """
    decoder = json.JSONDecoder(parse_constant=_no_number)
    texts: Sequence[str] = source.text().split("\n")
    lines: list[int] = []
    rows: list[dict[str, Any]] = []
    for line, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            value = decoder.decode(text)
        except (ValueError, RecursionError) as error:
            last = line == len(texts)
            hint = "The file ends in the middle of it: was it cut off?" if last else "One object per line."
            reason = getattr(error, "msg", None) or str(error) or type(error).__name__
            raise source.wrong(f"no JSON object ({reason}). {hint}", line=line) from None
        if not isinstance(value, dict):
            raise source.wrong(f"expected a JSON object, got {_short(value)}.", line=line)
        lines.append(line)
        rows.append(value)
    return Objects(source=source, line=lines, row=rows)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else text[:37] + "..."
