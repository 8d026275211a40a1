"""Writing to the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from tokenroof.errors import InputError

Cells = tuple[str, ...]

_PIPED_WIDTH = 140  # a pipe has no width of its own; five chips fit side by side


def console() -> Console:
    """Standard output: the terminal's own width, or a fixed one when it is none."""
    return Console(width=None if sys.stdout.isatty() else _PIPED_WIDTH, highlight=False)


def notes() -> Console:
    """Standard error, for what is said about the output rather than in it."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_table(headings: Cells, rows: Sequence[Cells], title: str = "") -> None:
    """A plain table, without a heading when all are empty; nothing when there are no rows."""
    from rich.text import Text as Plain

    from tokenroof.report.tables import grid

    if not rows:
        return
    table = grid(title)
    table.show_header = any(headings)
    for index, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Plain(cell) for cell in row))
    console().print(table)


def check_apart(outputs: Mapping[str, Path | None]) -> None:
    """Refuse two outputs that would overwrite each other.

    Raises
    ------
    InputError
        Two options name the same file.
    """
    taken: dict[str, str] = {}
    for option, path in outputs.items():
        if path is None:
            continue
        where = os.path.abspath(path)
        if where in taken:
            raise InputError(f"{taken[where]} and {option} both write {str(path)!r}. Give two files.")
        taken[where] = option


def pairs(option: str, texts: Sequence[str] | None) -> dict[str, str]:
    """Columns and their values, of an option that is repeated.

    Raises
    ------
    InputError
        A text is no COLUMN=VALUE, or a column is given twice.
    """
    found: dict[str, str] = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise InputError(f"{option} takes COLUMN=VALUE, got {text!r}.")
        if name.strip() in found:
            raise InputError(f"{option} gives {name.strip()} twice. Leave one out.")
        found[name.strip()] = value.strip()
    return found
