"""CSV with the columns of a row. Cells stay text: whoever uses them judges them, row by row."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Mapping

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
        All rows that are not blank; unknown columns are kept. A row with too few or too many cells has a
        ``problem``; one without ``id`` gets one of file and line.

    Raises
    ------
    InputError
        A needed column is missing, one stands there twice, the text is no CSV, or has no rows.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    rows: list[ResultRow] = []
    begun = 1
    try:
        for cells in reader:
            line, begun = begun, reader.line_num + 1
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip() for cell in cells]
                _check(source, header, given, line)
            else:
                rows.append(_row(header, cells, line, given, source))
    except csv.Error as error:
        raise source.wrong(f"no CSV ({error}). Is a quote missing?", line=begun) from None
    if not rows:
        raise source.wrong("a header and no rows.")
    return tuple(rows)


def _check(source: Source, header: list[str], given: Mapping[str, str], line: int) -> None:
    twice = next((name for i, name in enumerate(header) if name and name in header[:i]), "")
    if twice:
        raise source.wrong(f"column {twice!r} stands there twice. Remove one.", line=line)
    for name in _NEEDED:
        if name not in header and not given.get(name):
            near = difflib.get_close_matches(name, header, n=1, cutoff=0.6)
            hint = f"Nearest: {near[0]!r}. Rename it" if near else "Add it"
            raise source.wrong(f"no column {name!r}. {hint}, or give it: --set {name}=...", line=line)
    if not set(header) & set(MEASURED):
        some = "total_tput_per_gpu, mean_tpot_s or median_ttft_s"
        raise source.wrong(f"no column with something measured. Add one, as {some}.", line=line)


def _row(
    header: list[str], cells: list[str], line: int, given: Mapping[str, str], source: Source
) -> ResultRow:
    values = {name: cell.strip() for name, cell in zip(header, cells, strict=False) if name}
    values |= given
    values["id"] = values.get("id") or f"{source.stem}-{line}"
    problem = ""
    if len(cells) != len(header):
        problem = f"{len(cells)} cells instead of {len(header)}. Is the line cut off, or a comma not quoted?"
    return ResultRow(line=line, values=values, problem=problem)
