"""Names of the files of a run, and writing them so that there is a whole file or none."""

from __future__ import annotations

import os
from pathlib import Path

from tokenroof.errors import InputError

QUESTION, IDENTITY, RESULTS = "question.yaml", "run.json", "results.json"
RECORDS, TIMES = "records.jsonl", "times.jsonl"
LOCK, HOLDER = "run.lock", "holder.json"
SCHEMA = "tokenroof-run/1"
RUNS = Path("runs")
"""Where runs are kept unless a directory is given."""


def table_file(name: str) -> str:
    """File of a table of results."""
    return f"{name}.parquet"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under another name, make it durable, and move it into place.

    Parameters
    ----------
    path : Path
        What it replaces; its directory exists.
    content : bytes
        All of it.

    Raises
    ------
    OSError
        What the system refuses; then ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make new names in a directory durable; Windows does that by itself and cannot open one."""
    if os.name == "nt":
        return
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def unwritable(path: Path, error: OSError) -> InputError:
    """What the system refused, as one line."""
    why = error.strerror or type(error).__name__
    return InputError(f"cannot write {str(path)!r}: {why}. Make room, or give another directory.")
