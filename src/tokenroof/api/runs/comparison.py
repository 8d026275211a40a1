"""Two runs beside each other: what was asked otherwise, what has changed below them, what came out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenroof.api.runs.differences import flat_differences
from tokenroof.api.runs.identity import differences
from tokenroof.api.runs.reading import Run, State, read_question, read_run, read_table
from tokenroof.errors import InputError

ANSWERS = ("choices", "front")
"""Tables whose first row is the answer of a run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A value of the answer in two runs; None where a run has none.

    ``fraction`` is (right - left) / left; None for what is no number.
    """

    name: str
    left: Any
    right: Any
    fraction: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What differs between two runs.

    Attributes
    ----------
    left, right : Run
        The two.
    question : tuple
        Key, value left, value right, as text.
    made_by : tuple of str
        Version, code, catalog, libraries, files.
    tables : dict
        By table of results: whether both are the same, byte for byte.
    answer : tuple of Change
        The best choice of each, value by value; those that are equal included.
    """

    left: Run
    right: Run
    question: tuple[tuple[str, str, str], ...]
    made_by: tuple[str, ...]
    tables: dict[str, bool]
    answer: tuple[Change, ...]


def compare(left: Path, right: Path) -> Comparison:
    """Compare two complete runs.

    Raises
    ------
    InputError
        One of them is not complete, or is damaged.
    """
    one, other = _complete(left), _complete(right)
    assert one.identity is not None
    assert other.identity is not None
    return Comparison(
        left=one,
        right=other,
        question=tuple(flat_differences(read_question(left), read_question(right))),
        made_by=differences(one.identity, other.identity),
        tables={
            name: name in one.tables
            and name in other.tables
            and one.tables[name].sha256 == other.tables[name].sha256
            for name in {**one.tables, **other.tables}
        },
        answer=_changes(answer_of(one), answer_of(other)),
    )


def answer_of(run: Run) -> dict[str, Any]:
    """The first row of the first table that has one; nothing where every choice was refused."""
    for name in ANSWERS:
        if name in run.tables and run.tables[name].rows:
            return read_table(run.path, name).row(0, named=True)
    return {}


def _complete(path: Path) -> Run:
    run = read_run(path)
    if run.state is State.DAMAGED:
        raise InputError(run.problem)
    if run.state is not State.COMPLETE:
        raise InputError(
            f"{str(path)!r} is {run.state}, with no results to compare. Let it end, or --resume."
        )
    return run


def _changes(left: dict[str, Any], right: dict[str, Any]) -> tuple[Change, ...]:
    return tuple(
        Change(
            name=name,
            left=left.get(name),
            right=right.get(name),
            fraction=_fraction(left.get(name), right.get(name)),
        )
        for name in {**left, **right}
    )


def _fraction(left: Any, right: Any) -> float | None:
    numbers = all(isinstance(each, int | float) and not isinstance(each, bool) for each in (left, right))
    if not numbers or not math.isfinite(left) or not math.isfinite(right) or left == 0:
        return None
    return float((right - left) / left)
