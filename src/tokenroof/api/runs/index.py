"""``runs.duckdb``: all runs of a directory in one file that answers SQL.

It lies beside the runs and not in each of them: what people ask in SQL is about several runs, and a run
is complete without it. Nothing but ``tokenroof runs list`` writes it, from what the runs hold, under another
name and moved into place: runs that are going on never wait for it or for each other (DuckDB admits one
writing process per file), a kill leaves the file before, and removing it loses nothing. Its bytes are no
result.

Tables: ``runs``, one row each, with the best choice of those that are complete; and every table of results
of complete runs under its own name, with the column ``run`` first. The small ones are copied; large ones are
views of the Parquet files, by their present path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.runs.comparison import answer_of
from tokenroof.api.runs.files import (
    HOLDER,
    IDENTITY,
    QUESTION,
    RECORDS,
    RESULTS,
    RUNS,
    TIMES,
    table_file,
)
from tokenroof.api.runs.reading import Run, State, read_run, runs_in
from tokenroof.errors import InputError

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INDEX = "runs.duckdb"
_FORM = "1"
"""Of the tables below; an index of another form is made again."""
_COPIED_ROWS = 10_000
_WATCHED = (IDENTITY, QUESTION, RESULTS, TIMES, RECORDS, HOLDER)
_RUNS = """CREATE TABLE runs (
    run VARCHAR PRIMARY KEY, state VARCHAR, kind VARCHAR, label VARCHAR, records BIGINT, began TIMESTAMPTZ,
    ended TIMESTAMPTZ, active_s DOUBLE, version VARCHAR, question VARCHAR, code VARCHAR, catalog VARCHAR,
    problem VARCHAR, answer VARCHAR, chips BIGINT, usd_per_million_tokens DOUBLE)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run in a list.

    Attributes
    ----------
    run : Run
        What it holds.
    answer : str or None
        Its best choice; None of a run that is not complete, or found none.
    chips : int or None
        Of that choice.
    usd_per_million_tokens : float or None
        Of that choice. [USD]
    """

    run: Run
    answer: str | None = None
    chips: int | None = None
    usd_per_million_tokens: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Runs of a directory, by name, and why they are not in the index; "" when they are."""

    entries: tuple[Entry, ...]
    unwritten: str = ""


def listing(directory: Path = RUNS) -> Listing:
    """What a directory of runs holds; the index is brought up to date where it can be written.

    Parameters
    ----------
    directory : Path
        Of runs; nothing is written where there are none.

    Raises
    ------
    InputError
        No such directory.
    """
    runs = [read_run(path) for path in runs_in(directory)]
    stamp = _stamp(runs)
    held = _read(directory / INDEX, stamp)
    if held is not None:
        return Listing(entries=tuple(Entry(run=run, **held[run.name]) for run in runs))
    entries = tuple(_entry(run) for run in runs)
    if entries:
        try:
            _write(directory, entries, stamp)
        except OSError as error:  # a directory that may only be read has runs all the same
            return Listing(entries=entries, unwritten=error.strerror or type(error).__name__)
    return Listing(entries=entries)


def _entry(run: Run) -> Entry:
    if run.state is not State.COMPLETE:
        return Entry(run=run)
    try:
        best = answer_of(run)
    except InputError as error:
        return Entry(run=replace(run, state=State.DAMAGED, problem=str(error)))
    return Entry(
        run=run,
        answer=best.get("label"),
        chips=best.get("chips"),
        usd_per_million_tokens=best.get("usd_per_million_tokens"),
    )


def _stamp(runs: Iterable[Run]) -> str:
    """Changes when a file of a run does, or a process dies."""
    found = hashlib.sha256(_FORM.encode())
    for run in runs:
        found.update(f"{run.path.resolve()}\0{run.state}\n".encode())
        for name in _WATCHED:
            with contextlib.suppress(FileNotFoundError):
                status = (run.path / name).stat()
                found.update(f"{name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return found.hexdigest()


def _read(index: Path, stamp: str) -> dict[str, dict[str, Any]] | None:
    """Answers by run; None when there is no index, or one of what was there before."""
    import duckdb

    if not index.is_file():
        return None
    try:
        with duckdb.connect(str(index), read_only=True) as held:
            if held.execute("SELECT stamp FROM made_from").fetchone() != (stamp,):
                return None
            found = held.execute("SELECT run, answer, chips, usd_per_million_tokens FROM runs").fetchall()
    except duckdb.Error:  # half a file, another program's, or open elsewhere: it is made again
        return None
    return {
        run: {"answer": answer, "chips": chips, "usd_per_million_tokens": usd}
        for run, answer, chips, usd in found
    }


def _write(directory: Path, entries: Sequence[Entry], stamp: str) -> None:
    import duckdb

    temporary = directory / f".{INDEX}.{os.getpid()}.tmp"
    try:
        temporary.unlink(missing_ok=True)
        with duckdb.connect(str(temporary)) as made:
            made.execute(_RUNS)
            made.executemany(
                f"INSERT INTO runs VALUES ({', '.join('?' * 16)})", [_row(entry) for entry in entries]
            )
            _add_tables(made, [entry.run for entry in entries if entry.run.state is State.COMPLETE])
            if not any(entry.run.state is State.DAMAGED for entry in entries):
                made.execute("CREATE TABLE made_from AS SELECT ? AS stamp", [stamp])
        temporary.replace(directory / INDEX)
    except duckdb.Error as error:  # no room, or two tables of one name that do not go together
        raise OSError(0, str(error).splitlines()[0]) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _row(entry: Entry) -> list[Any]:
    run, of = entry.run, entry.run.identity
    made_by = [of.version, of.question, of.code, of.catalog] if of is not None else [None] * 4
    when = [run.began or None, run.ended or None, run.active_s]
    best = [entry.answer, entry.chips, entry.usd_per_million_tokens]
    return [run.name, run.state.value, run.kind, run.label, run.records, *when, *made_by, run.problem, *best]


def _add_tables(made: DuckDBPyConnection, runs: Sequence[Run]) -> None:
    for name in dict.fromkeys(name for run in runs for name in run.tables):
        of = [run for run in runs if name in run.tables and (run.path / table_file(name)).is_file()]
        if not of or name in ("runs", "made_from"):
            continue
        small = sum(run.tables[name].rows for run in of) <= _COPIED_ROWS
        parts = (
            f"SELECT {_text(run.name)} AS run, * "
            f"FROM read_parquet({_text(str((run.path / table_file(name)).resolve()))})"
            for run in of
        )
        quoted = name.replace('"', '""')
        made.execute(
            f'CREATE {"TABLE" if small else "VIEW"} "{quoted}" AS {" UNION ALL BY NAME ".join(parts)}'
        )


def _text(value: str) -> str:
    """A text in SQL; a view takes no parameters."""
    return "'" + value.replace("'", "''") + "'"
