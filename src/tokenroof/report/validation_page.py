"""Predicted against measured servings as one self-contained page: no scripts, no network."""

from __future__ import annotations

from collections.abc import Mapping

from tokenroof.calibrate.validation.results import Validation
from tokenroof.report import charts, theme, validation_tables
from tokenroof.report.charts.altair_types import AnyChart
from tokenroof.report.html_parts import bullets, figure, fold, paragraph, section, text, tidy_table
from tokenroof.report.html_style import STYLE
from tokenroof.report.validation import LABELS, cuts, headline, share_text
from tokenroof.report.validation_tables import Worst

_SCATTER = (
    "On the line a prediction is what was measured; dots above it are predicted too high. The inner band is "
    "10 % off, the outer one 25 %. Under the pointer: which row."
)
_HISTOGRAM = "The first and the last bar hold what is further off than they say."
_ERRORS = (
    "Error: (predicted - measured) / measured. Median, mean and p90 are of its size, bias is its mean with "
    "sign. Noise is how far repeated runs of one configuration differ: errors below it cannot be resolved."
)
_MARKED = "Red: a median error above 15 %. Bias is that of the first metric which the group has."


def page(found: Validation, worst: Worst, worst_by_metric: Mapping[str, Worst]) -> str:
    """The whole comparison as HTML text.

    Parameters
    ----------
    found : Validation
        What is shown.
    worst : Worst
        Rows furthest off in throughput or time per token.
    worst_by_metric : mapping of str to Worst
        Rows furthest off in one metric each.

    Returns
    -------
    str
        One document: styles and charts (SVG) inside, nothing loaded from anywhere.
    """
    parts = [
        "<header><h1>Predicted against measured <span>servings</span></h1>",
        paragraph(f"{headline(found)}."),
        "</header>",
        section("Errors", _errors(found)),
        *_charts(found),
        section("Groups", _groups(found)),
        section("Worst rows", _worst(worst, worst_by_metric)),
        section("Rows without a prediction", _unmapped(found)),
        section("What the figures mean", tidy_table(validation_tables.definitions(found))),
    ]
    sources = _sources(found)
    if sources:
        parts.append(section("Where the measurements are from", bullets(sources)))
    parts.append("<footer>Made by tokenroof: every row is simulated as its client sent it.</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<title>Predicted against measured servings</title>\n"
        f"<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _errors(found: Validation) -> str:
    body = tidy_table(validation_tables.errors(found, title=""), row_headings=True)
    body += paragraph(_ERRORS, "faint")
    noises = dict.fromkeys(each.source for each in found.references if each.kind == "noise")
    if noises:
        body += paragraph(f"Noise: {'; '.join(noises)}.", "faint")
    if any(each.kind == "tool" for each in found.references):
        body += "<h3>Median errors of other tools</h3>"
        body += tidy_table(validation_tables.tools(found.references), row_headings=True)
    return body


def _charts(found: Validation) -> list[str]:
    from tokenroof.report.validation_charts import histograms, panels, scatter

    if not panels(found):
        return []
    drawn = (
        ("Predicted against measured", scatter(found), _SCATTER, "scatter"),
        ("How the errors are spread", histograms(found), _HISTOGRAM, "errors"),
    )
    return [section(title, _figure(chart, caption, name)) for title, chart, caption, name in drawn]


def _figure(chart: AnyChart, caption: str, name: str) -> str:
    from altair import Undefined

    chart.config = theme.config()
    chart.title = Undefined
    return figure(charts.svg(chart), caption, name)


def _groups(found: Validation) -> str:
    joint, *single = cuts(found)
    body = f"<h3>By {text(', '.join(joint))}</h3>"
    body += tidy_table(validation_tables.groups(found, joint, title=""))
    body += paragraph(_MARKED, "faint")
    for by in single:
        table = validation_tables.groups(found, by, title="")
        body += fold(f"by {', '.join(by)}", tidy_table(table, row_headings=True))
    return body


def _worst(worst: Worst, by_metric: Mapping[str, Worst]) -> str:
    if not worst:
        return paragraph("No row has a throughput or a time per token to compare.")
    body = tidy_table(validation_tables.worst_rows(worst, title=""))
    for metric, rows in by_metric.items():
        if rows:
            table = validation_tables.worst_rows(rows, title="")
            body += fold(f"worst in {LABELS[metric]}", tidy_table(table))
    return body


def _unmapped(found: Validation) -> str:
    if not found.unmapped:
        return paragraph("There are none.")
    body = paragraph(share_text(len(found.unmapped), len(found.outcomes)))
    body += tidy_table(validation_tables.unmapped(found, title=""))
    return body + fold("each of them", tidy_table(validation_tables.all_unmapped(found)))


def _sources(found: Validation) -> list[str]:
    """Sources of the rows with their licences, and how many rows each has."""
    counts: dict[str, int] = {}
    for outcome in found.outcomes:
        name, licence = outcome.row.text("source"), outcome.row.text("license")
        if name:
            said = f"{name} ({licence})" if licence else name
            counts[said] = counts.get(said, 0) + 1
    return [f"{said}: {count} rows" for said, count in counts.items()]
