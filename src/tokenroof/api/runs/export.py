"""Tables of results for other programs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tokenroof.api.runs.files import table_file, unwritable, write_whole
from tokenroof.api.runs.reading import read_results, read_table
from tokenroof.report.json import plain

if TYPE_CHECKING:
    import polars as pl


class Form(StrEnum):
    """Of a file of a table."""

    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def export(run: Path, form: Form, directory: Path, names: Iterable[str] = ()) -> list[Path]:
    """Write tables of a complete run, a file each, named after the table.

    Parameters
    ----------
    run : Path
        Directory of the run.
    form : Form
        CSV has lists and structures as JSON text; JSON is a list of rows with null for what is not finite.
    directory : Path
        Where to; made if it is not there.
    names : iterable of str
        Which tables; all of them by default.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        The run is not complete or damaged, has no such table, or the directory cannot be written.
    """
    # Everything is read before anything is written.
    chosen = [(name, read_table(run, name)) for name in (tuple(names) or tuple(read_results(run)) or ("",))]
    written = []
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, frame in chosen:
            path = directory / f"{name}.{form}"
            content = (run / table_file(name)).read_bytes() if form is Form.PARQUET else as_bytes(frame, form)
            write_whole(path, content)
            written.append(path)
    except OSError as error:
        raise unwritable(directory, error) from None
    return written


def as_bytes(frame: pl.DataFrame, form: Form) -> bytes:
    """A data frame as CSV or JSON text."""
    if form is Form.JSON:
        return json.dumps(rows(frame), indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return _flat(frame).write_csv().encode()


def rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    """Plain rows; what is not finite is null."""
    return [plain(row) for row in frame.iter_rows(named=True)]


def _flat(frame: pl.DataFrame) -> pl.DataFrame:
    """With JSON text for what a cell cannot hold."""
    import polars as pl

    nested = [name for name, kind in frame.schema.items() if kind.is_nested()]
    return frame.with_columns(
        pl.Series(
            name,
            [
                None if each is None else json.dumps(plain(each), ensure_ascii=False)
                for each in frame[name].to_list()
            ],
            dtype=pl.String,
        )
        for name in nested
    )
