"""Tables of predicted against measured servings, for a terminal and for the page."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Group as Stack
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from tokenroof.calibrate.validation.core import METRICS, Outcome
from tokenroof.calibrate.validation.results import Group, Reference, Score, Validation
from tokenroof.report.tables import grid, lines
from tokenroof.report.validation import (
    DASH,
    LABELS,
    NOT_SAID,
    SHORT,
    SHOWN,
    about,
    amount,
    cuts,
    headline,
    noise,
    percent,
    share_text,
)

Worst = Sequence[tuple[Outcome, str, float]]
"""Rows, the metric of each that is furthest off, and its error."""

_FEW_IDS = 4
_LONG_REMARK = 220
_WEAK = 0.15
"""Median errors above this are marked."""


def answer(found: Validation, worst: Worst) -> RenderableType:
    """What is printed: errors, groups, the worst rows, the rows without a prediction."""
    parts: list[RenderableType] = [errors(found)]
    parts += [groups(found, by) for by in cuts(found) if len(found.by) == 1 or by == found.by]
    if worst:
        parts.append(worst_rows(worst, remarks=False))
        parts.append(lines("What may explain them", _remarks(worst)).append("\n"))
    if found.reasons:
        parts.append(unmapped(found))
    return Stack(*parts)


def errors(found: Validation, *, title: str | None = None) -> Table:
    """Every metric, a line each; the noise floor beside its errors."""
    table = grid(f"Predicted against measured\n{headline(found)}" if title is None else title)
    table.add_column("", no_wrap=True)
    for name in ("rows", "median error", "mean", "p90", "bias", "in 90 % interval"):
        table.add_column(name, justify="right")
    for name in ("noise, median", "noise, p90"):
        table.add_column(name, justify="right")
    for metric, score in found.scores.items():
        if score.n:
            floor = noise(found.references, metric)
            floors = (DASH, DASH) if floor is None else (f"{floor.median} %", f"{floor.p90} %")
            table.add_row(LABELS[metric], str(score.n), *_errors(score), *floors)
    if not any(score.n for score in found.scores.values()):
        table.add_row("no row has a metric both measured and predicted", *[DASH] * 8)
    return table


def _errors(score: Score) -> list[Text]:
    return [
        _marked(score.median_fraction),
        Text(percent(score.mean_fraction)),
        Text(percent(score.p90_fraction)),
        Text(percent(score.bias_fraction, signed=True)),
        Text(percent(score.interval_fraction)),
    ]


def _marked(fraction: float | None) -> Text:
    return Text(percent(fraction), style="red" if fraction is not None and fraction > _WEAK else "")


def groups(found: Validation, by: tuple[str, ...], *, title: str | None = None) -> Table:
    """Median errors of groups of rows, and the bias of throughput."""
    members = cuts(found)[by]
    metrics = [name for name in SHOWN if any(group.scores[name].n for group in members)]
    table = grid(f"Median error by {', '.join(by)}" if title is None else title)
    for column in by:
        table.add_column(column, overflow="fold")
    for name in ("predicted", *(SHORT[metric].replace(" ", "\n") for metric in metrics), "bias"):
        table.add_column(name, justify="right", no_wrap=True)
    for group in members:
        cells = (_marked(group.scores[name].median_fraction) for name in metrics)
        counted = f"{group.predicted} of {group.rows}"
        key = (Text(part or NOT_SAID) for part in group.key)
        table.add_row(*key, counted, *cells, Text(_bias(group)))
    return table


def _bias(group: Group) -> str:
    """Of the first metric that the group has."""
    first = next((group.scores[name] for name in SHOWN if group.scores[name].n), None)
    return DASH if first is None else percent(first.bias_fraction, signed=True)


def _remarks(worst: Worst) -> list[str]:
    """What is known about the worst rows, those that say the same together."""
    ids: dict[str, list[str]] = {}
    for outcome, _, _ in worst:
        said = (textwrap.shorten(remark, _LONG_REMARK, placeholder=" ...") for remark in about(outcome))
        ids.setdefault("; ".join(said), []).append(outcome.row.id)
    return [f"{', '.join(rows)}: {said or 'nothing'}" for said, rows in ids.items()]


def worst_rows(worst: Worst, *, title: str | None = None, remarks: bool = True) -> Table:
    """Rows that are furthest off; with ``remarks`` what may explain it in a column."""
    table = grid("Worst rows" if title is None else title)
    for name in ("row", "what", "metric"):
        table.add_column(name, overflow="fold")
    for name in ("measured", "predicted", "error"):
        table.add_column(name, justify="right", no_wrap=True)
    if remarks:
        table.add_column("what may explain it", overflow="fold")
    for outcome, metric, off in worst:
        said = (Text("; ".join(about(outcome)) or DASH),) if remarks else ()
        table.add_row(
            Text(outcome.row.id),
            Text(what(outcome)),
            LABELS[metric],
            amount(metric, outcome.measured[metric]),
            amount(metric, outcome.predicted[metric]),
            percent(off, signed=True),
            *said,
        )
    return table


def what(outcome: Outcome) -> str:
    """Hardware, model, engine, layout and load of a row, as it says them."""
    row = outcome.row
    chips, tp = row.text("num_gpus"), row.text("tp")
    layout = f"{chips} x {row.text('hardware')}" if chips else row.text("hardware")
    lengths = "/".join(filter(None, (row.text("isl"), row.text("osl"))))
    parts = (layout, row.text("model"), row.text("framework"), tp and f"tp={tp}", lengths, row.text("load"))
    return ", ".join(filter(None, parts))


def unmapped(found: Validation, *, title: str | None = None) -> Table:
    """Why rows have no prediction, how many, and the first of them."""
    total = share_text(len(found.unmapped), len(found.outcomes))
    table = grid(f"Rows without a prediction: {total}" if title is None else title)
    table.add_column("rows", justify="right")
    table.add_column("why", overflow="fold")
    table.add_column("which", overflow="fold")
    by_text: dict[str, list[str]] = {}
    for outcome in found.unmapped:
        by_text.setdefault(outcome.reason, []).append(outcome.row.id)
    for reason, ids in sorted(by_text.items(), key=lambda item: (-len(item[1]), item[0])):
        more = f", and {len(ids) - _FEW_IDS} more" if len(ids) > _FEW_IDS else ""
        table.add_row(str(len(ids)), Text(reason), Text(", ".join(ids[:_FEW_IDS]) + more))
    return table


def all_unmapped(found: Validation) -> Table:
    """Every row without a prediction, with its reason."""
    table = grid("")
    for name in ("row", "what", "why"):
        table.add_column(name, overflow="fold")
    for outcome in found.unmapped:
        table.add_row(Text(outcome.row.id), Text(what(outcome)), Text(outcome.reason))
    return table


def tools(references: Sequence[Reference]) -> Table:
    """Errors of other tools, a line each, with where they are from."""
    metrics = [name for name in METRICS if any(r.kind == "tool" and r.metric == name for r in references)]
    table = grid("")
    table.add_column("tool")
    for name in metrics:
        table.add_column(f"{SHORT[name]}", justify="right")
    table.add_column("on what, from where", overflow="fold")
    names = dict.fromkeys(each.name for each in references if each.kind == "tool")
    for name in names:
        said = {each.metric: each for each in references if each.name == name}
        cells = (f"{said[metric].median} %" if metric in said else DASH for metric in metrics)
        table.add_row(name, *cells, "; ".join(dict.fromkeys(each.source for each in said.values())))
    return table


def definitions(found: Validation) -> Table:
    """What each metric is."""
    table = grid("")
    for name in ("figure", "name in files", "definition"):
        table.add_column(name)
    for metric, meaning in METRICS.items():
        if found.scores[metric].n:
            table.add_row(LABELS[metric], metric, meaning)
    return table
