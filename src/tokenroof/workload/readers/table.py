"""Columns of a CSV file: parsed in bulk when every line is plain, else line by line to name the wrong one.

The line-by-line reading says what is right and what is wrong. The bulk reading (polars) is taken only when
nothing about the file can make the two differ: no quotes, as many cells on every line as in the header, no
blank line, every number readable.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tokenroof.workload.core import FloatArray, IntArray
from tokenroof.workload.readers.source import Source

if TYPE_CHECKING:
    import polars as pl

NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns of a file are read, and as what.

    Attributes
    ----------
    numbers : tuple of str
        A number on every line.
    gaps : tuple of str
        A number or nothing (nan).
    words : tuple of str
        Text on every line.
    remarks : tuple of str
        Text or nothing ("").
    """

    numbers: tuple[str, ...] = ()
    gaps: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.numbers + self.gaps + self.words + self.remarks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns that have been read, all of the same length.

    Attributes
    ----------
    line : IntArray
        Line of the file of each row, from 1.
    number : dict of str to FloatArray
        Columns read as numbers, nan where nothing is given.
    text : dict of str to polars.Series
        Columns read as text.
    """

    line: IntArray
    number: dict[str, FloatArray]
    text: dict[str, pl.Series]

    def codes(self, name: str) -> tuple[IntArray, tuple[str, ...]]:
        """A text column as numbers of its different values, in order of appearance, and those values."""
        column = self.text[name]
        values = column.unique(maintain_order=True)
        code = column.replace_strict(values, np.arange(len(values), dtype=np.int64))
        return code.to_numpy().astype(np.int64), tuple(values.to_list())


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Names of the columns, the line (from 1) they are on, and the byte after it."""

    names: list[str]
    line: int
    end: int


def header_of(source: Source) -> Header:
    """The header: the first line that is neither blank nor a comment (``#``).

    Raises
    ------
    InputError
        There is none, or a name appears twice.
    """
    source.check_text()
    start, line = 0, 0
    while start < len(source.data):
        end = source.data.find(b"\n", start)
        end = len(source.data) if end < 0 else end
        text = source.data[start:end].decode("utf-8").strip()
        start, line = end + 1, line + 1
        if text and not text.startswith("#"):
            try:
                names = [cell.strip() for cell in next(csv.reader([text], strict=True))]
            except csv.Error as error:
                raise source.wrong(f"no CSV header ({error}).", line=line) from None
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise source.wrong(f"column {twice[0]!r} appears twice in the header.", line=line)
            return Header(names=names, line=line, end=start)
    raise source.wrong("no header: the file has comments alone.")


def read_table(source: Source, columns: Columns, *, names: Sequence[str] | None = None) -> Table:
    """Columns of a CSV file.

    Parameters
    ----------
    source : Source
        The file.
    columns : Columns
        What to read of it; other columns are passed over.
    names : sequence of str, optional
        Names of all columns, for a file without a header.

    Raises
    ------
    InputError
        A column is missing, a line has another number of cells, a number is none; with the line.
    """
    source.check_text()
    header = header_of(source) if names is None else Header(names=list(names), line=0, end=0)
    _refuse_missing(source, columns, header.names)
    table = _in_bulk(source, columns, header)
    table = table if table is not None else _line_by_line(source, columns, header)
    if table.line.size == 0:
        raise source.wrong("a header and no requests.")
    return table


def table_of_frame(source: Source, frame: pl.DataFrame, columns: Columns) -> Table:
    """Columns of a Parquet file; rows count from 1.

    Raises
    ------
    InputError
        A column is missing, or a number is none; with the row.
    """
    import polars as pl

    _refuse_missing(source, columns, frame.columns)
    number: dict[str, FloatArray] = {}
    for name in columns.numbers + columns.gaps:
        try:
            value = frame[name].cast(pl.Float64, strict=False)
        except pl.exceptions.PolarsError:
            raise source.wrong(f"{name} must be a number, got {frame.schema[name]}.") from None
        wrong = (value.is_null() & (frame[name].is_not_null() | (name in columns.numbers))).to_numpy()
        if wrong.any():
            row = int(np.argmax(wrong))
            raise source.wrong(f"{name} must be a number, got {frame[name][row]!r}.", line=row + 1)
        number[name] = value.fill_null(float("nan")).to_numpy()
    text: dict[str, pl.Series] = {}
    for name in columns.words + columns.remarks:
        try:
            text[name] = frame[name].cast(pl.String).fill_null("")
        except pl.exceptions.PolarsError:
            raise source.wrong(f"{name} must be text, got {frame.schema[name]}.") from None
        if name in columns.words and (text[name] == "").any():
            row = int(np.argmax((text[name] == "").to_numpy()))
            raise source.wrong(f"{name} is blank.", line=row + 1)
    return Table(line=np.arange(1, frame.height + 1), number=number, text=text)


def _refuse_missing(source: Source, columns: Columns, names: Sequence[str]) -> None:
    missing = [name for name in columns.names if name not in names]
    if missing:
        raise source.wrong(f"no column {missing[0]!r}, which is needed. It has: {', '.join(names)}.")


def _in_bulk(source: Source, columns: Columns, header: Header) -> Table | None:
    """All lines at once; None when something about the file wants a closer look."""
    import polars as pl

    data = source.data[header.end :] if header.end else source.data
    if b'"' in data or _last_line(data).count(b",") != len(header.names) - 1:
        return None
    schema = {
        f"column_{place}": pl.Float64 if name in columns.numbers else pl.String
        for place, name in enumerate(header.names, start=1)
    }
    try:
        frame = pl.read_csv(
            data,
            has_header=False,
            schema=schema,
            columns=[header.names.index(name) for name in columns.names],
            ignore_errors=True,
            quote_char=None,
        )
    except pl.exceptions.PolarsError:
        return None
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    if frame.height != lines:
        return None
    frame = frame.rename({f"column_{header.names.index(name) + 1}": name for name in columns.names})
    number: dict[str, FloatArray] = {}
    for name in columns.numbers:
        if frame[name].null_count():
            return None
        number[name] = frame[name].to_numpy()
    for name in columns.gaps:
        given = frame[name].str.strip_chars().replace("", None)
        value = given.cast(pl.Float64, strict=False)
        if value.null_count() != given.null_count():
            return None
        number[name] = value.fill_null(float("nan")).to_numpy()
    if any(frame[name].null_count() for name in columns.words):
        return None
    text = {name: frame[name].fill_null("") for name in columns.words + columns.remarks}
    line = np.arange(header.line + 1, header.line + 1 + frame.height, dtype=np.int64)
    return Table(line=line, number=number, text=text)


def _last_line(data: bytes) -> bytes:
    end = len(data)
    while end and data[end - 1] in b"\r\n":
        end -= 1
    return data[data.rfind(b"\n", 0, end) + 1 : end]


def _line_by_line(source: Source, columns: Columns, header: Header) -> Table:
    import polars as pl

    reader = csv.reader(io.StringIO(source.text(), newline=""), strict=True)
    place = {name: header.names.index(name) for name in columns.names}
    cells: dict[str, list[str]] = {name: [] for name in columns.names}
    lines: list[int] = []
    try:
        for row in reader:
            if reader.line_num <= header.line or not any(cell.strip() for cell in row):
                continue
            if len(row) != len(header.names):
                raise source.wrong(
                    f"{len(row)} cells instead of {len(header.names)}. Is the line cut off?",
                    line=reader.line_num,
                )
            lines.append(reader.line_num)
            for name, index in place.items():
                cells[name].append(row[index])
    except csv.Error as error:
        raise source.wrong(f"no CSV ({error}).", line=reader.line_num) from None
    number = {
        name: _numbers(source, name, cells[name], lines, blank=name in columns.gaps)
        for name in columns.numbers + columns.gaps
    }
    for name in columns.words:
        for line, cell in zip(lines, cells[name], strict=True):
            if not cell:
                raise source.wrong(f"{name} is blank.", line=line)
    text = {name: pl.Series(name, cells[name], dtype=pl.String) for name in columns.words + columns.remarks}
    return Table(line=np.array(lines, dtype=np.int64), number=number, text=text)


def _numbers(source: Source, name: str, cells: list[str], lines: list[int], *, blank: bool) -> FloatArray:
    values = np.empty(len(cells))
    for row, cell in enumerate(cells):
        text = cell.strip()
        if blank and not text:
            values[row] = np.nan
        elif NUMBER.fullmatch(text):
            values[row] = float(text)
        else:
            raise source.wrong(f"{name} must be a number, got {cell!r}.", line=lines[row])
    return values
