"""The reading side of a run: what a directory holds, whether or not somebody is writing to it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.runs.files import IDENTITY, QUESTION, RECORDS, RESULTS, RUNS, SCHEMA, TIMES, table_file
from tokenroof.api.runs.identity import Identity, question_hash
from tokenroof.api.runs.lock import Holder, held_by
from tokenroof.api.runs.stream import read_lines
from tokenroof.catalog.files import read_mapping
from tokenroof.errors import CatalogError, InputError, UnknownNameError

if TYPE_CHECKING:
    import polars as pl


class State(StrEnum):
    """How far a run is."""

    COMPLETE = "complete"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableNote:
    """What is noted of a table of results: ``rows``, ``columns`` and the ``sha256`` of its file."""

    rows: int
    columns: tuple[str, ...]
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as it lies on the disk.

    Attributes
    ----------
    path : Path
        Its directory.
    state : State
        Complete, running, interrupted (``--resume`` goes on) or damaged.
    problem : str
        What is damaged; else "".
    kind, label : str
        The command, and the question in a few words.
    identity : Identity or None
        What decided the results; None where that is what is damaged.
    records : int
        Finished simulations.
    began, ended : str
        Time of day, ISO 8601, UTC; "" while it is not known. It ended when it was complete, or stopped.
    active_s : float
        Time in which a process was at it, as far as it was noted. [s]
    holder : Holder or None
        Who runs in it now.
    tables : mapping
        What is noted of each table; empty before the run is complete.
    """

    path: Path
    state: State
    problem: str = ""
    kind: str = ""
    label: str = ""
    identity: Identity | None = None
    records: int = 0
    began: str = ""
    ended: str = ""
    active_s: float = 0.0
    holder: Holder | None = None
    tables: Mapping[str, TableNote]

    @property
    def name(self) -> str:
        """Of the directory."""
        return self.path.resolve().name


def is_run(path: Path) -> bool:
    """Whether a run was begun in a directory."""
    return (path / IDENTITY).is_file()


def runs_in(directory: Path) -> list[Path]:
    """Directories of runs in a directory, by name.

    Raises
    ------
    InputError
        It is none, or is a run itself.
    """
    if not directory.is_dir():
        raise InputError(
            f"no directory {str(directory)!r}. Give the one that runs are kept in; default: {str(RUNS)!r}."
        )
    if is_run(directory):
        raise InputError(
            f"{str(directory)!r} is a run, not a directory of runs. See it with 'tokenroof runs show'."
        )
    try:
        return sorted(path for path in directory.iterdir() if is_run(path))
    except OSError as error:
        raise InputError(f"cannot read {str(directory)!r}: {error.strerror}.") from None


def find_run(given: str, directory: Path = RUNS) -> Path:
    """A run by its path, or by its name in a directory of runs.

    Raises
    ------
    InputError
        There is none (the nearest names are said), or the directory is no run.
    """
    for path in (Path(given), directory / given):
        if is_run(path):
            return path
    for path in (Path(given), directory / given):
        if path.is_dir() and path.resolve() != directory.resolve():
            raise InputError(
                f"{str(path)!r} is not a run: it holds no {IDENTITY}. Give the directory of a run."
            )
    around = Path(given).parent if Path(given).parent != Path() else directory
    known = [path.name for path in runs_in(around)] if around.is_dir() and not is_run(around) else []
    if not known:
        raise InputError(f"no run {given!r}, and no runs in {str(around)!r}. Give a path, or --dir.")
    raise UnknownNameError("run", Path(given).name, known)


def read_run(path: Path) -> Run:
    """What is known of a run; damage is a state of it, not an exception."""
    try:
        told, identity = read_identity(path)
        read_question(path)
        times = read_lines(path / TIMES).values
        records = read_lines(path / RECORDS)
        tables = read_results(path)
        began, ended, active_s = _times(times)
    except InputError as error:
        return Run(path=path, state=State.DAMAGED, problem=str(error), tables={})
    holder = held_by(path)
    state = State.RUNNING if holder else State.COMPLETE if tables else State.INTERRUPTED
    return Run(
        path=path,
        state=state,
        kind=told["kind"],
        label=told["label"],
        identity=identity,
        records=len(records.values),
        began=began,
        ended=ended,
        active_s=active_s,
        holder=holder,
        tables=tables,
    )


def _times(events: tuple[Any, ...]) -> tuple[str, str, float]:
    """First and last event, and the time between each start and what was noted last before the next."""
    active_s, since, last = 0.0, "", ""
    for event in events:
        if event["event"] in ("began", "went on"):
            since = event["at"]
        elif since:
            active_s += (datetime.fromisoformat(event["at"]) - datetime.fromisoformat(since)).total_seconds()
            since, last = "", event["at"]
    return (events[0]["at"] if events else ""), last, active_s


def read_identity(path: Path) -> tuple[dict[str, Any], Identity]:
    """``run.json``: everything in it, and what decides the results.

    Raises
    ------
    InputError
        It is damaged, or of another form.
    """
    told = _read_json(path / IDENTITY)
    if told.get("schema") != SCHEMA:
        raise InputError(
            f"{path / IDENTITY}: form {told.get('schema')!r}, this version reads {SCHEMA!r}. "
            "Read it with the version that wrote it."
        )
    try:
        return told, Identity(**{field.name: told[field.name] for field in fields(Identity)})
    except KeyError as error:
        raise InputError(f"{path / IDENTITY}: damaged, {error} is missing. Begin another run.") from None


def read_question(path: Path) -> dict[str, Any]:
    """What was asked.

    Raises
    ------
    InputError
        The file is damaged, or was edited after the run began.
    """
    try:
        question = read_mapping(path / QUESTION)
    except CatalogError as error:
        raise InputError(str(error)) from None
    if question_hash(question) != read_identity(path)[1].question:
        raise InputError(
            f"{path / QUESTION}: not what this run was asked, it was edited. Put it back, or run anew."
        )
    return question


def read_results(path: Path) -> dict[str, TableNote]:
    """What is noted of each table; nothing before the run is complete.

    Raises
    ------
    InputError
        The note is damaged.
    """
    if not (path / RESULTS).is_file():
        return {}
    try:
        return {
            name: TableNote(rows=each["rows"], columns=tuple(each["columns"]), sha256=each["sha256"])
            for name, each in _read_json(path / RESULTS)["tables"].items()
        }
    except (KeyError, TypeError, AttributeError):
        raise _damaged(path / RESULTS) from None


def read_table(path: Path, name: str) -> pl.DataFrame:
    """A table of results.

    Raises
    ------
    InputError
        The run is not complete, has no such table, or its file is not what was written.
    """
    import polars as pl

    known = read_results(path)
    if not known:
        raise InputError(f"{str(path)!r} is not complete, it has no results yet. Go on with it by --resume.")
    if name not in known:
        raise UnknownNameError("table", name, known)
    file = path / table_file(name)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read {str(file)!r}: {error.strerror}. Resume the run to write it."
        ) from None
    if hashlib.sha256(content).hexdigest() != known[name].sha256:
        raise _damaged(file)
    return pl.read_parquet(BytesIO(content))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(f"{str(path.parent)!r} is not a run: it holds no {path.name}.") from None
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror}.") from None
    except ValueError:
        raise _damaged(path) from None
    if not isinstance(found, dict):
        raise _damaged(path)
    return found


def _damaged(path: Path) -> InputError:
    return InputError(
        f"{path}: damaged, it is not what was written. Remove it and resume the run to write it again."
        if path.name not in (IDENTITY, QUESTION)
        else f"{path}: damaged, it is not what was written. Begin another run."
    )
