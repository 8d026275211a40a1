"""A plan as one self-contained page: the answer, why, charts, launch files; no scripts, no network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich.table import Table

from tokenroof.report import charts, plan_rejected, plan_tables, theme
from tokenroof.report.html_parts import bullets, figure, fold, paragraph, section, text, tidy_table
from tokenroof.report.html_style import STYLE
from tokenroof.report.launch.core import LaunchFile
from tokenroof.report.plan_labels import OBJECTIVE_LABELS, OBJECTIVE_UNITS
from tokenroof.report.plan_part import Part
from tokenroof.report.plan_words import (
    answer_lines,
    asked_line,
    bound_line,
    infeasible_lines,
    looked_line,
    wanted_line,
    why_lines,
)
from tokenroof.report.run_labels import run_label
from tokenroof.report.tables import grid
from tokenroof.search.core import Choice, PlanResult

if TYPE_CHECKING:
    from tokenroof.report.charts.altair_types import AnyChart

_PARETO = (
    "Every dot is a deployment that keeps the targets at the asked load, under its number in the table. Up "
    "is fewer chips, right is faster for the user. Lines: where nine of ten measured servings lie."
)
_COST = (
    "The cost of the whole deployment over prompt and answer tokens of the asked load, against the time to "
    "first token. Dashed: the limit. Lines: where nine of ten measured servings lie."
)
_TARGETS = (
    "Simulated with the replicas that keep the targets, at the rate with headroom. Lines: where nine of ten "
    "measured servings lie; one that crosses the dashed limit says that the target may be missed."
)
_BY_CHIP = "The best deployment that was simulated of every kind of chips, together and apart."
_REJECTED = (
    "What became of the candidates of every kind of chips. 'Cannot be better' keeps the targets as far as "
    "the closed form knows, and costs at least as much as another one does."
)
_BOUNDS = "At the peaks of the chip, without a queue, a latency or an engine: no deployment can have fewer."


def page(found: PlanResult, *, parts: Sequence[Part] = (), files: Sequence[LaunchFile] = ()) -> str:
    """The whole plan as HTML text.

    Parameters
    ----------
    found : PlanResult
        What was found; one that is infeasible has its reason and the nearest ask.
    parts : sequence of Part
        Further answers, each a section.
    files : sequence of LaunchFile
        Launch files of the best, which are shown as they are.

    Returns
    -------
    str
        One document: styles and charts (SVG) inside, nothing loaded from anywhere.
    """
    model, title = found.question.model.name, _title(found)
    shown = [
        f"<header><h1>{text(model)} <span>{text(title)}</span></h1>",
        paragraph(asked_line(found)),
        paragraph(wanted_line(found.question), "faint"),
        "</header>",
        *(_feasible(found) if found.best is not None else _infeasible(found)),
        *(_part(part) for part in parts),
        *_turned_away(found),
        *([section("Launch files", _files(files))] if files else []),
        *_meaning(found),
        "<footer>Made by tokenroof: screened in closed form, the best simulated under the asked traffic."
        "</footer>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(model)}: {text(title)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(shown)
        + "\n</main>\n</body>\n</html>\n"
    )


def _title(found: PlanResult) -> str:
    best = found.best
    if best is None:
        return "no deployment keeps this"
    return f"on {' and '.join(dict.fromkeys(pool.chip for pool in best.candidate.pools))}"


# --- sections ------------------------------------------------------------------------------------


def _feasible(found: PlanResult) -> list[str]:
    best = found.best
    assert best is not None, "an infeasible plan has a page of its own"
    first, *rest = answer_lines(found)
    head = f'<p class="lead">{text(first)}</p>' + "".join(paragraph(line) for line in rest)
    out = [
        section("The answer", head + tidy_table(plan_tables.details(best))),
        section("Why", bullets([*why_lines(found), *filter(None, [bound_line(found)])])),
    ]
    if best.checks:
        out.append(section("Targets", _targets(found, best)))
    out.append(section("Deployments that keep the targets", tidy_table(plan_tables.deployments(found))))
    return out + _charts(found) + _chips(found)


def _infeasible(found: PlanResult) -> list[str]:
    why, *nearest = infeasible_lines(found) or ("nothing was found",)
    body = f'<p class="bad">{text(why)}</p>' + "".join(paragraph(line) for line in nearest)
    out = [section("Infeasible", body)]
    if found.bounds:
        out.append(section("What physics allows", paragraph(bound_line(found)) + _bounds(found)))
    return out


def _targets(found: PlanResult, best: Choice) -> str:
    from tokenroof.report.plan_targets import targets

    return tidy_table(plan_tables.targets(best), row_headings=True) + _drawn(
        targets(found), _TARGETS, "targets"
    )


def _charts(found: PlanResult) -> list[str]:
    """Charts of the deployments that have something to draw, side by side where there is room."""
    from tokenroof.report.plan_charts import cost, cost_rows, pareto, pareto_rows

    kinds: tuple[tuple[str, object, Callable[[PlanResult], AnyChart], str, str], ...] = (
        ("Throughput against interactivity", pareto_rows(found), pareto, _PARETO, "pareto"),
        ("Cost against time to first token", cost_rows(found), cost, _COST, "cost"),
    )
    drawn = [
        f"<div><h3>{text(title)}</h3>{_drawn(draw(found), said, name)}</div>"
        for title, rows, draw, said, name in kinds
        if rows
    ]
    body = f'<div class="pair">{"".join(drawn)}</div>'
    return [section("Throughput, interactivity, cost", body)] if drawn else []


def _chips(found: PlanResult) -> list[str]:
    """The best of every chip, and the fewest that physics allows."""
    from tokenroof.report.plan_counts import by_chip, by_chip_rows

    body = tidy_table(plan_tables.by_chip(found), row_headings=True)
    if len(by_chip_rows(found)) > 1:
        body += _drawn(by_chip(found), _BY_CHIP, "by-chip")
    out = [section("Best of every chip", body)]
    if found.bounds:
        out.append(section("What physics allows", paragraph(bound_line(found)) + _bounds(found)))
    return out


def _bounds(found: PlanResult) -> str:
    return tidy_table(plan_rejected.bounds(found), row_headings=True) + paragraph(_BOUNDS, "faint")


def _turned_away(found: PlanResult) -> list[str]:
    from tokenroof.report.plan_counts import rejected

    if not found.rejected:
        return []
    body = paragraph(looked_line(found)) + tidy_table(plan_rejected.rejected(found))
    body += _drawn(rejected(found), _REJECTED, "rejected")
    body += fold("by chips, with the nearest of each", tidy_table(plan_rejected.rejected_rows(found)))
    return [section("Turned away", body)]


def _part(part: Part) -> str:
    body = "".join(paragraph(each) for each in part.sentences)
    body += "".join(tidy_table(each, row_headings=True) for each in part.tables)
    if part.chart is not None:
        body += _drawn(part.chart, part.caption, part.name)
    body += "".join(fold(title, tidy_table(each)) for title, each in part.folded)
    body += fold("what was assumed", bullets(part.notes)) if part.notes else ""
    return section(part.title, body)


def _files(files: Sequence[LaunchFile]) -> str:
    """Every file with what it does; one that cannot be written says why."""
    out = []
    for each in files:
        if each.written:
            content = f'<div class="wide"><pre>{text(each.text)}</pre></div>'
            out.append(fold(each.name, paragraph(each.note) + content))
    missing = [f"{each.name}: {each.note}" for each in files if not each.written]
    return "".join(out) + (f"<h3>Not written</h3>{bullets(missing)}" if missing else "")


def _meaning(found: PlanResult) -> list[str]:
    out = []
    if found.best is not None:
        out.append(section("What the figures mean", _definitions(found.best)))
    notes = [*found.notes, *(() if found.best is None else found.best.notes)]
    return [*out, section("Notes", bullets(notes))] if notes else out


def _definitions(best: Choice) -> str:
    """Objectives of the best, and everything that was simulated of it."""
    wanted = grid("")
    for column in ("objective", "name in files", "unit"):
        wanted.add_column(column)
    wanted.add_column("value", justify="right")
    for name, label in OBJECTIVE_LABELS.items():
        value = best.objectives.get(name, math.nan)
        wanted.add_row(label, name, OBJECTIVE_UNITS[name], plan_tables.objective_cell(name, value))
    return tidy_table(wanted) + fold("everything that was simulated of the best", tidy_table(_metrics(best)))


def _metrics(best: Choice) -> Table:
    table = grid("")
    for column in ("figure", "name in files"):
        table.add_column(column)
    for column in ("value", "nine of ten"):
        table.add_column(column, justify="right")
    table.add_column("definition")
    for name, metric in best.metrics.items():
        table.add_row(run_label(name), name, *plan_tables.metric_cells(name, metric), metric.definition)
    return table


def _drawn(chart: AnyChart, caption: str, name: str) -> str:
    """A chart without a title of its own, which the section has."""
    from altair import Undefined

    chart.config = theme.config()
    chart.title = Undefined
    return figure(charts.svg(chart), caption, name)
