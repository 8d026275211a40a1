"""Pieces of the report page: text, tables from their rich counterparts, charts that follow the theme."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tokenroof.report import theme

# Colours of the charts that must follow a dark page; SVG attributes accept CSS variables.
_THEMED = {
    theme.INK: "var(--ink)",
    theme.FAINT_INK: "var(--faint)",
    theme.GRID: "var(--line)",
    theme.GHOST: "var(--ghost)",
    theme.PAPER: "var(--paper)",
}
_CLASSES = {"bold green": "best", "red": "bad", "bold": "head"}
_LABELLED = re.compile(r'<path aria-label="([^"]*)"([^>]*)/>')


def text(value: str) -> str:
    """Text with everything escaped that HTML would read as markup."""
    return html.escape(value, quote=True)


def paragraph(value: str, kind: str = "") -> str:
    """One paragraph; ``kind`` is its CSS class."""
    attribute = f' class="{kind}"' if kind else ""
    return f"<p{attribute}>{text(value)}</p>"


def section(title: str, body: str) -> str:
    """A heading and what follows it."""
    return f"<section><h2>{text(title)}</h2>{body}</section>"


def fold(title: str, body: str) -> str:
    """A part that is closed until it is asked for; open on paper."""
    return f"<details><summary>{text(title)}</summary>{body}</details>"


def bullets(lines: Sequence[str]) -> str:
    """A list."""
    return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>"


def tidy_table(table: Table, *, row_headings: bool = False) -> str:
    """An HTML table with the cells of a rich one.

    Parameters
    ----------
    table : rich.table.Table
        Cells are strings or ``Text``; its title is left to the caller.
    row_headings : bool
        The first column names its row.
    """
    columns = [list(column.cells) for column in table.columns]
    align = ["num" if column.justify == "right" else "" for column in table.columns]
    head = "".join(
        f"<th{_class(kind)}>{_broken(column.header)}</th>"
        for column, kind in zip(table.columns, align, strict=True)
    )
    rows = []
    for number, row in enumerate(table.rows):
        cells = []
        for place, (column, kind) in enumerate(zip(columns, align, strict=True)):
            cell = column[number]
            tag = "th" if row_headings and place == 0 else "td"
            style = _CLASSES.get(str(cell.style), "") if isinstance(cell, Text) else ""
            cells.append(f"<{tag}{_class(f'{kind} {style}'.strip())}>{_broken(cell)}</{tag}>")
        rows.append(f"<tr{_class('end') if row.end_section else ''}>{''.join(cells)}</tr>")
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )


def _class(name: str) -> str:
    return f' class="{name}"' if name else ""


def _broken(cell: RenderableType) -> str:
    return text(_plain(cell)).replace("\n", "<br>")


def _plain(cell: RenderableType) -> str:
    return cell.plain if isinstance(cell, Text) else str(cell)


def figure(svg: str, caption: str, name: str) -> str:
    """A chart inside the page: it follows the theme, scales, and says what is under the pointer.

    Parameters
    ----------
    svg : str
        A chart as SVG text.
    caption : str
        What the picture shows.
    name : str
        Prefix that keeps the identifiers of several pictures apart.
    """
    inner = svg
    for colour, variable in _THEMED.items():
        inner = inner.replace(f'"{colour}"', f'"{variable}"')
    inner = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', inner)
    inner = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", inner)
    inner = _LABELLED.sub(r"<path\2><title>\1</title></path>", inner)
    return f'<figure><div class="wide">{inner}</div><figcaption>{text(caption)}</figcaption></figure>'
