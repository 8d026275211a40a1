"""Rows out of files, and the rows and figures that come with the repository."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from tokenroof.calibrate.readers import COLUMNS, read_results
from tokenroof.calibrate.validation.core import Row
from tokenroof.calibrate.validation.results import Reference
from tokenroof.errors import InputError

Read: TypeAlias = tuple[Row, str]
"""A row, and why it cannot be used ("" when it can be read)."""

SHIPPED = ("serving.csv", "throughput_tables.csv")
"""Measured servings of the repository; the second are published bests, without latencies."""

_DATA = Path(__file__).parents[1] / "data"
_DIRECTORY = Path(__file__).resolve().parents[4] / "calibration" / "validation"
_NO_REPOSITORY = (
    "the measured servings that come with the repository are not here: the package runs outside of it. "
    "Give a file of your own with --data (in Python: data=...), or run in a clone."
)
_AS_ABOVE = "as above"
_SHOWN = 8


def shipped_files() -> tuple[Path, ...]:
    """The files of the repository.

    Raises
    ------
    InputError
        The package runs outside the repository.
    """
    found = tuple(_DIRECTORY / name for name in SHIPPED)
    if not all(path.is_file() for path in found):
        raise InputError(_NO_REPOSITORY)
    return found


def read_rows(paths: Sequence[str | os.PathLike[str]], given: Mapping[str, str] = {}) -> tuple[Read, ...]:
    """The rows of result files, one file after the other.

    Parameters
    ----------
    paths : sequence of path
        What :func:`tokenroof.calibrate.readers.read_results` reads.
    given : mapping of str to str
        Columns that the files do not say; they replace what is there.

    Raises
    ------
    InputError
        A file cannot be read, or a column of ``given`` is unknown.
    """
    return tuple(
        (Row(line=found.line, texts=found.values), found.problem)
        for path in paths
        for found in read_results(path, given=given)
    )


def rows_from(records: Iterable[Mapping[str, object]], given: Mapping[str, str] = {}) -> tuple[Read, ...]:
    """Rows that are in memory already.

    Parameters
    ----------
    records : iterable of mapping
        Column to value, text or not; None is "not said".
    given : mapping of str to str
        Columns that replace what is there.
    """
    found = []
    for line, record in enumerate(records, start=1):
        if not isinstance(record, Mapping):
            raise InputError(f"row {line} must be a mapping of columns to values, got {record!r:.60}.")
        texts = {str(column): "" if value is None else str(value) for column, value in record.items()}
        found.append((Row(line=line, texts={**texts, **given}), ""))
    return tuple(found)


def columns_of(rows: Sequence[Read]) -> tuple[str, ...]:
    """Every column that any of the rows has."""
    return tuple(dict.fromkeys(column for row, _ in rows for column in row.texts))


def check_columns(names: Iterable[str], rows: Sequence[Read], *, option: str) -> None:
    """Refuse columns that no row has, unless they are known: then no row says what is in them.

    Raises
    ------
    InputError
        With the nearest ones there are.
    """
    known = tuple(dict.fromkeys((*columns_of(rows), *COLUMNS)))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.4)
            hint = f"Nearest: {', '.join(near)}." if near else f"There are: {', '.join(known[:_SHOWN])}, ..."
            raise InputError(f"{option}: no row has a column {name!r}. {hint}")


def only(rows: Sequence[Read], where: Mapping[str, Sequence[str]]) -> tuple[Read, ...]:
    """Rows that say one of the given things in every given column.

    Parameters
    ----------
    rows : sequence of Read
        All of them.
    where : mapping of str to sequence of str
        Column to what it may say, capitals or not.

    Raises
    ------
    InputError
        No row has such a column, or none is left.
    """
    check_columns(where, rows, option="where")
    left = rows
    for column, values in where.items():
        wanted = {value.strip().lower() for value in values}
        kept = tuple(each for each in left if each[0].text(column).lower() in wanted)
        if not kept:
            said = list(dict.fromkeys(row.text(column) or '""' for row, _ in left))
            more = ", ..." if len(said) > _SHOWN else ""
            raise InputError(
                f"where: no row has {column} {' or '.join(map(repr, values))}. "
                f"They have: {', '.join(said[:_SHOWN])}{more}."
            )
        left = kept
    return tuple(left)


def references() -> tuple[Reference, ...]:
    """Noise floor of measurements, and errors of other tools."""
    with (_DATA / "references.csv").open(encoding="utf-8", newline="") as file:
        found: list[Reference] = []
        for row in csv.DictReader(file):
            source = found[-1].source if row["source"] == _AS_ABOVE else row["source"]
            found.append(
                Reference(
                    kind=row["kind"],
                    name=row["name"],
                    metric=row["metric"],
                    median=row["median_percent"],
                    p90=row["p90_percent"],
                    source=source,
                )
            )
    return tuple(found)
