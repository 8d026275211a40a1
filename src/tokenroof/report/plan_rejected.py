"""Tables of what a plan did not take: by stage and reason, and the fewest chips that physics allows."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from tokenroof.report.human import digits
from tokenroof.report.plan_labels import STAGES, family_text, problem_numbers, readable, reason_text
from tokenroof.report.tables import grid
from tokenroof.search.core import LowerBound, PlanResult, Rejected

_DASH = "-"


def bounds(found: PlanResult, *, title: str = "Fewest chips that physics allows") -> Table:
    """By chip: at the peaks, without a queue or a latency."""
    table = grid(title)
    table.add_column("chip")
    table.add_column("formats")
    for column in ("chips", "memory [chips]", "arithmetic [chips]", "bandwidth [chips]"):
        table.add_column(Text(column), justify="right")
    table.add_column("binding")
    for bound in found.bounds:
        table.add_row(bound.chip, f"{bound.precision.weights}, kv {bound.precision.kv}", *_bound_cells(bound))
    return table


def _bound_cells(bound: LowerBound) -> tuple[str, ...]:
    parts = (bound.memory_chips, bound.compute_chips, bound.bandwidth_chips)
    return (f"{bound.chips:,}", *(digits(part) for part in parts), bound.binding)


def rejected(
    found: PlanResult, *, title: str = "Turned away", most: int | None = None, whole: bool = True
) -> Table:
    """By stage and reason, all chips together: how many, and the one that came nearest.

    Parameters
    ----------
    found : PlanResult
        What is shown.
    title : str
        Of the table.
    most : int, optional
        Lines; the rest is added up in one.
    whole : bool
        With what is needed and what there is in columns of their own.
    """
    groups = list(rejected_groups(found.rejected).items())
    table = grid(title)
    table.add_column("where")
    table.add_column("candidates", justify="right")
    table.add_column("chips", overflow="fold")
    for column in ("needed", "there is") if whole else ():
        table.add_column(column, justify="right")
    table.add_column("why, of the one that came nearest", overflow="fold")
    for (stage, _), rows in groups[:most]:
        nearest = rows[0]
        table.add_row(
            STAGES.get(stage, stage),
            f"{sum(row.count for row in rows):,}",
            Text(_families(rows)),
            *(problem_numbers(nearest.problem) if whole else ()),
            Text(readable(reason_text(nearest), found.question.targets)),
        )
    rest = groups[most:] if most is not None else []
    if rest:
        count = sum(row.count for _, rows in rest for row in rows)
        table.add_row("other", f"{count:,}", "", *([_DASH] * 2 if whole else ()), f"{len(rest)} more reasons")
    return table


def rejected_groups(rows: Sequence[Rejected]) -> dict[tuple[str, str], list[Rejected]]:
    """Rows by stage and reason, stages in order, frequent reasons first; the nearest row of each first."""
    found: dict[tuple[str, str], list[Rejected]] = {}
    for row in rows:
        found.setdefault((row.stage, row.reason), []).append(row)
    order = list(STAGES)

    def key(item: tuple[tuple[str, str], list[Rejected]]) -> tuple[int, int]:
        (stage, _), mine = item
        return order.index(stage) if stage in order else len(order), -sum(row.count for row in mine)

    for mine in found.values():
        mine.sort(key=lambda row: (row.problem.need is None, row.problem.need or 0.0))
    return dict(sorted(found.items(), key=key))


def _families(rows: Sequence[Rejected], most: int = 4) -> str:
    names = list(dict.fromkeys(row.family for row in sorted(rows, key=lambda row: -row.count)))
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def rejected_rows(found: PlanResult) -> Table:
    """Every row as it was counted, with its example."""
    table = grid("")
    for column in ("where", "chips"):
        table.add_column(column)
    table.add_column("candidates", justify="right")
    table.add_column("why")
    table.add_column("nearest")
    for row in found.rejected:
        table.add_row(
            STAGES.get(row.stage, row.stage),
            family_text(row.family),
            f"{row.count:,}",
            Text(readable(reason_text(row), found.question.targets)),
            Text(_DASH if row.example is None else row.example.label),
        )
    return table


def why_not(found: PlanResult, name: str) -> str:
    """Why no deployment of these chips is shown: of what got furthest, the most frequent reason."""
    rows = [row for row in found.rejected if row.family == name]
    if not rows:
        return "not among the candidates"
    furthest = max(_rank(row) for row in rows)
    row = max((each for each in rows if _rank(each) == furthest), key=lambda each: each.count)
    if row.stage == "bound":
        return "behind what is shown"
    return f"{STAGES.get(row.stage, row.stage)}: {readable(reason_text(row), found.question.targets)}"


def _rank(row: Rejected) -> int:
    """How far candidates of a row got."""
    order = ("layout", "memory", "screen", "limits", "simulated", "bound")
    return order.index(row.stage) if row.stage in order else -1
