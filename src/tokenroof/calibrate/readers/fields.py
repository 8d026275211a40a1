"""Checked access to what stands in a JSON object that somebody else wrote."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_MOST = 2.0**62


class UnusableRunError(Exception):
    """A run that cannot be used; the message says why, without file and line."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fields:
    """A JSON object, or a part of one.

    Attributes
    ----------
    line : int
        Where it stands in the file.
    value : mapping of str to object
        The object.
    path : str
        How its keys are named in messages: "" or "metrics.request_latency.".
    above : Fields or None
        The object that holds the list this one stands in.
    """

    line: int
    value: Mapping[str, Any]
    path: str = ""
    above: Fields | None = None

    def has(self, *keys: str) -> bool:
        """Whether all keys are there."""
        return all(key in self.value for key in keys)

    def at(self, *keys: str) -> Fields:
        """Object under a key of a key; an empty one when there is none."""
        inner: Any = self.value
        for key in keys:
            inner = inner.get(key) if isinstance(inner, Mapping) else None
        path = self.path + "".join(f"{key}." for key in keys)
        inner = inner if isinstance(inner, Mapping) else {}
        return Fields(line=self.line, value=inner, path=path, above=self.above)

    def items(self, key: str) -> tuple[Fields, ...]:
        """Objects of the list under a key; none when there is no list."""
        inner = self.value.get(key)
        listed = inner if isinstance(inner, list) else []
        return tuple(
            Fields(line=self.line, value=one, path=f"{self.path}{key}[{i}].", above=self)
            for i, one in enumerate(listed)
            if isinstance(one, Mapping)
        )

    def text(self, key: str) -> str:
        """Text, number or truth value under a key as text; "" when there is none."""
        inner = self.value.get(key)
        if isinstance(inner, bool):
            return "true" if inner else "false"
        if isinstance(inner, str):
            return _one_line(inner)
        return number_text(inner) if isinstance(inner, (int, float)) and _fits(inner) else ""

    def first_text(self, key: str) -> str:
        """Like ``text``, or the first text of a list."""
        inner = self.value.get(key)
        if isinstance(inner, list) and inner and isinstance(inner[0], str):
            return _one_line(inner[0])
        return self.text(key)

    def number(self, key: str, *, scale: float = 1.0) -> float | None:
        """Finite number of at least 0 under a key, multiplied; None when there is none.

        Raises
        ------
        UnusableRunError
            Something else stands there.
        """
        inner = self.value.get(key)
        if inner is None:
            return None
        if isinstance(inner, bool) or not isinstance(inner, (int, float)) or not _fits(inner):
            raise UnusableRunError(f"{self.path}{key} must be a finite number, got {short(inner)}.")
        if inner < 0:
            raise UnusableRunError(f"{self.path}{key} must not be negative, got {short(inner)}.")
        return float(inner) * scale

    def count(self, key: str) -> int | None:
        """Whole number of at least 0 under a key; None when there is none.

        Raises
        ------
        UnusableRunError
            Something else stands there.
        """
        inner = self.number(key)
        if inner is not None and inner != int(inner):
            raise UnusableRunError(f"{self.path}{key} must be a whole number, got {short(inner)}.")
        return None if inner is None else int(inner)

    def numbers(self, key: str) -> list[float] | None:
        """List of finite numbers under a key; None when there is no list.

        Raises
        ------
        UnusableRunError
            One of them is none.
        """
        inner = self.value.get(key)
        if not isinstance(inner, list):
            return None
        return [self._listed(key, one) for one in inner]

    def sums(self, key: str) -> list[tuple[float, int]] | None:
        """Sum and length of each list of numbers under a key; None when there is no list.

        Raises
        ------
        UnusableRunError
            One of them is no list of numbers.
        """
        inner = self.value.get(key)
        if not isinstance(inner, list):
            return None
        if not all(isinstance(one, list) for one in inner):
            raise UnusableRunError(f"{self.path}{key} must be a list of lists.")
        return [(math.fsum(self._listed(key, gap) for gap in one), len(one)) for one in inner]

    def _listed(self, key: str, one: object) -> float:
        if isinstance(one, bool) or not isinstance(one, (int, float)) or not _fits(one):
            raise UnusableRunError(f"{self.path}{key} must hold finite numbers, got {short(one)}.")
        if one < 0:
            raise UnusableRunError(f"{self.path}{key} must hold no negative numbers, got {short(one)}.")
        return float(one)


def _one_line(text: str) -> str:
    """Text on one line, without what no file can hold (halves of characters that JSON can escape)."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())


def _fits(number: float) -> bool:
    """Whether it is finite and small enough for arithmetic in floats; false for nan."""
    return -_MOST < number < _MOST


def number_text(number: float | None) -> str:
    """Number as it stands in a row; "" for none.

    Raises
    ------
    UnusableRunError
        It is beyond any number: it was divided by next to nothing.
    """
    if number is None:
        return ""
    if not math.isfinite(number):
        raise UnusableRunError("a time or a rate in it is next to 0, so that others are beyond any number.")
    return str(int(number)) if number == int(number) else f"{number:.9g}"


def short(value: object) -> str:
    """Beginning of a value, for messages."""
    text = " ".join(json.dumps(value, ensure_ascii=True).split())
    return text if len(text) <= 40 else text[:37] + "..."
