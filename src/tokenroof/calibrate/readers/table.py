"""CSV with the columns of a row. Cells stay text: whoever uses them judges them, row by row."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from tokenroof.calibrate.readers.core import COLUMNS, MEASURED, ResultRow
from tokenroof.workload.readers.source import Source

_NEEDED = ("hardware", "model")


def is_table(text: str) -> bool:
    """Whether a text begins with a header of which at least two columns are known."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    try:
        cells = next(csv.reader([first]), [])
    except csv.Error:
        return False
    return len({cell.strip() for cell in cells} & set(COLUMNS)) >= 2


def read_table(source: Source, text: str, given: Mapping[str, str]) -> tuple[ResultRow, ...]:
    """Rows of a CSV file.

    Parameters
    ----------
    source : Source
        The file.
    text : str
        Its content.
    given : mapping of str to str
        Columns the user supplied; they replace those of the file.

    Returns
    -------
    tuple of ResultRow
        All rows that are not blank; unknown columns are kept. A row with too few or too many cells, with
        a quote that does not close, or without a needed column has a ``problem``; one without ``id`` gets
        one of file and line.

    Raises
    ------
    InputError
        A column stands there twice, the header is no CSV, or there are no rows.
    """
    records = [each for each in _records(text) if each.problem or any(cell.strip() for cell in each.cells)]
    head, *body = records
    if head.problem:
        raise source.wrong(head.problem, line=head.line)
    header = [cell.strip() for cell in head.cells]
    twice = next((name for i, name in enumerate(header) if name and name in header[:i]), "")
    if twice:
        raise source.wrong(f"column {twice!r} stands there twice. Remove one.", line=head.line)
    if not body:
        raise source.wrong("a header and no rows.")
    missing = _missing(header, given)
    return tuple(_row(header, each, given, source, missing) for each in body)


class _Record(NamedTuple):
    """Cells from a line on, or why they cannot be told apart."""

    line: int
    cells: Sequence[str]
    problem: str = ""


def _records(text: str) -> list[_Record]:
    """Cells of a text; line by line where a quote does not close, so that only its own line is lost."""
    try:
        return list(_strictly(text))
    except csv.Error:
        return [_alone(number, line) for number, line in enumerate(text.split("\n"), start=1)]


def _strictly(text: str) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    begun = 1
    for cells in reader:
        yield _Record(begun, cells)
        begun = reader.line_num + 1


def _alone(number: int, line: str) -> _Record:
    try:
        return _Record(number, next(csv.reader([line.rstrip("\r")], strict=True), []))
    except csv.Error as error:
        return _Record(number, [], f"no CSV ({error}). Is a quote missing?")


def _missing(header: list[str], given: Mapping[str, str]) -> str:
    """Which needed column is not there, and what to do; "" when all are."""
    for name in _NEEDED:
        if name not in header and not given.get(name):
            near = difflib.get_close_matches(name, header, n=1, cutoff=0.6)
            hint = f"Nearest: {near[0]!r}. Rename it" if near else "Add it"
            return f"no column {name!r}. {hint}, or give it: --set {name}=..."
    if not set(header) & set(MEASURED):
        some = "total_tput_per_gpu, mean_tpot_s or median_ttft_s"
        return f"no column with something measured. Add one, as {some}."
    return ""


def _row(
    header: list[str], record: _Record, given: Mapping[str, str], source: Source, missing: str
) -> ResultRow:
    values = {name: cell.strip() for name, cell in zip(header, record.cells, strict=False) if name}
    values |= given
    values["id"] = values.get("id") or f"{source.stem}-{record.line}"
    problem = record.problem or missing
    if not problem and len(record.cells) != len(header):
        cells = f"{len(record.cells)} cells instead of {len(header)}"
        problem = f"{cells}. Is the line cut off, or a comma not quoted?"
    return ResultRow(line=record.line, values=values, problem=problem)
