"""A further answer to a plan, as it is shown beside the deployments: sentences, tables, one chart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from tokenroof.report.charts.altair_types import AnyChart


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One further answer: a section of the page, a few lines and tables on a terminal.

    Attributes
    ----------
    name : str
        Identifier, letters and dashes: distinct within a plan.
    title : str
        Heading.
    sentences : sequence of str
        What it says, the conclusion first.
    notes : sequence of str
        What was assumed.
    tables : sequence of rich.table.Table
        Its figures, with units.
    folded : sequence of (str, rich.table.Table)
        Longer tables with their titles, for the page alone.
    chart : altair chart or None
        Its picture.
    caption : str
        What the picture shows.
    """

    name: str
    title: str
    sentences: Sequence[str] = ()
    notes: Sequence[str] = ()
    tables: Sequence[Table] = ()
    folded: Sequence[tuple[str, Table]] = ()
    chart: AnyChart | None = None
    caption: str = ""
