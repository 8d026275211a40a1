"""``runs.duckdb``: all runs of a directory in one file that answers SQL.

It lies beside the runs and not in each of them: what people ask in SQL is about several runs, and a run
is complete without it. Nothing but ``tokenroof runs list`` writes it, from what the runs hold, under another
name and moved into place: runs that are going on never wait for it or for each other (DuckDB admits one
writing process per file), a kill leaves the file before, and removing it loses nothing. Its bytes are no
result.

Tables: ``runs``, one row each; of complete runs every table of results under its own name, with the column
``run`` first. The small ones are copied; large ones are views of the Parquet files, by their present path.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.runs.files import (
    HOLDER,
    IDENTITY,
    QUESTION,
    RECORDS,
    RESULTS,
    TIMES,
    table_file,
    unwritable,
)
from tokenroof.api.runs.reading import RUNS, Run, State, read_run, runs_in

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

INDEX = "runs.duckdb"
_FORM = "2"
"""Of the tables below; an index of another form is made again."""
_COPIED_ROWS = 10_000
_WATCHED = (IDENTITY, QUESTION, RESULTS, TIMES, RECORDS, HOLDER)
_RUNS = """CREATE TABLE runs (
    run VARCHAR PRIMARY KEY, state VARCHAR, kind VARCHAR, label VARCHAR, records BIGINT, began TIMESTAMPTZ,
    ended TIMESTAMPTZ, active_s DOUBLE, version VARCHAR, question VARCHAR, code VARCHAR, catalog VARCHAR,
    problem VARCHAR)"""


def refresh(directory: Path = RUNS) -> list[Run]:
    """Bring the index up to date, and say what it holds.

    Parameters
    ----------
    directory : Path
        Of runs; nothing is written where there are none.

    Returns
    -------
    list of Run
        By name.

    Raises
    ------
    InputError
        No such directory, or the index cannot be written.
    """
    paths = runs_in(directory)
    runs = [read_run(path) for path in paths]
    stamp = _stamp(runs)
    if runs and _stamp_of(directory / INDEX) != stamp:
        try:
            _write(directory, runs, stamp)
        except OSError as error:
            raise unwritable(directory / INDEX, error) from None
    return runs


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


def _stamp_of(index: Path) -> str:
    """What an index was made from; "" when there is none that can be read."""
    import duckdb

    if not index.is_file():
        return ""
    try:
        with duckdb.connect(str(index), read_only=True) as held:
            row = held.execute("SELECT stamp FROM made_from").fetchone()
    except duckdb.Error:  # half a file, another program's, or open elsewhere: it is made again
        return ""
    return str(row[0]) if row else ""


def _write(directory: Path, runs: Sequence[Run], stamp: str) -> None:
    import duckdb

    temporary = directory / f".{INDEX}.{os.getpid()}.tmp"
    temporary.unlink(missing_ok=True)
    try:
        with duckdb.connect(str(temporary)) as made:
            made.execute(_RUNS)
            made.executemany(f"INSERT INTO runs VALUES ({', '.join('?' * 13)})", [_row(run) for run in runs])
            _add_tables(made, [run for run in runs if run.state is State.COMPLETE])
            made.execute("CREATE TABLE made_from AS SELECT ? AS stamp", [stamp])
        temporary.replace(directory / INDEX)
    except duckdb.IOException as error:
        raise OSError(0, str(error).splitlines()[0]) from None
    finally:
        temporary.unlink(missing_ok=True)


def _row(run: Run) -> list[Any]:
    of = run.identity
    made_by = [of.version, of.question, of.code, of.catalog] if of is not None else [None] * 4
    when = [run.began or None, run.ended or None, run.active_s]
    return [run.name, run.state.value, run.kind, run.label, run.records, *when, *made_by, run.problem]


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
