"""One self-contained page: tables, charts, assumptions, definitions and sources; no scripts, no network."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tokenroof.deploy.core import Estimate
from tokenroof.report import charts, explain, tables
from tokenroof.report.html_parts import bullets, figure, fold, paragraph, section, text, tidy_table
from tokenroof.report.html_style import STYLE
from tokenroof.report.human import human
from tokenroof.report.labels import (
    common,
    deployment_line,
    formats_line,
    headline,
    metric_ids,
    metric_label,
    short_names,
)

_CAPTIONS = {
    "roofline": "Each dot is one operator of a step, placed by the flop it does per byte it moves and the "
    "flop/s it reaches on one chip. Below the slope bandwidth is the limit, below the ceiling arithmetic. "
    "Operators without arithmetic (norms that only move bytes, collectives) have no place here; they are in "
    "the tables.",
    "breakdown": "Each operator's whole time is given to the resource that needs most of it.",
    "memory": "One chip of the decoding pool. What is left after weights, scratch, graphs and the engine's "
    "own reserve is the cache; it decides how many sequences run at once.",
    "sweep": "The same deployment at growing batch, up to what fits. Up is cheaper, right is faster for the "
    "user.",
}
_INTERACTIVITY = "output_tokens_per_s_per_user"  # undefined for a single output token
_TITLES = {
    "roofline": "Roofline",
    "breakdown": "Where the time goes",
    "memory": "Where the memory goes",
    "sweep": "Throughput against interactivity",
}


def page(estimates: Sequence[Estimate], *, sweep: Sequence[Estimate] = ()) -> str:
    """The whole report as HTML text.

    Parameters
    ----------
    estimates : sequence of Estimate
        What is compared; infeasible ones appear with their reason.
    sweep : sequence of Estimate
        The same deployments at other batch sizes, for the chart of throughput against interactivity.

    Returns
    -------
    str
        One document: styles and charts (SVG) inside, nothing loaded from anywhere.
    """
    chips = common(pool.chip.name for e in estimates for pool in e.deployment.pools).replace(";", ",")
    models = common(estimate.deployment.model.name for estimate in estimates)
    parts = [
        f"<header><h1>{text(models)} <span>on {text(chips)}</span></h1>",
        paragraph(headline(estimates)),
        paragraph(common(formats_line(estimate) for estimate in estimates), "faint"),
        "</header>",
        section("In a sentence", "".join(paragraph(explain.summary(n, e)) for n, e in _named(estimates))),
        section("Side by side", _side_by_side(estimates)),
        *_charts(estimates, sweep),
        section("Chip by chip", "".join(_details(n, e) for n, e in _named(estimates))),
        section("What the figures mean", tidy_table(_definitions(estimates))),
    ]
    for title, lines in (
        ("Assumptions", tables.assumptions(estimates)),
        ("Sources", tables.sources(estimates)),
    ):
        if lines:
            parts.append(section(title, bullets(lines)))
    parts.append("<footer>Made by tokenroof. Closed-form estimates; see the assumptions.</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(models)} on {text(chips)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _named(estimates: Sequence[Estimate]) -> list[tuple[str, Estimate]]:
    return list(zip(short_names(estimates), estimates, strict=True))


def _side_by_side(estimates: Sequence[Estimate]) -> str:
    problems = tables.infeasible(estimates)
    below = "" if problems is None else "<h3>Infeasible</h3>" + tidy_table(problems)
    note = (
        "<p class='faint'>Green: the best of the line, among columns whose operators were measured on that "
        "very chip. Definitions are below.</p>"
        if len(estimates) > 1
        else ""
    )
    return tidy_table(tables.comparison(estimates), row_headings=True) + note + below


def _charts(estimates: Sequence[Estimate], sweep: Sequence[Estimate]) -> list[str]:
    drawn = []
    for kind in charts.KINDS:
        rows = sweep if kind == "sweep" else estimates
        drawable = [e for e in rows if e.feasible and (kind != "sweep" or _INTERACTIVITY in e.metrics)]
        if drawable:
            picture = figure(charts.svg(charts.chart(rows, kind, titled=False)), _CAPTIONS[kind], kind)
            drawn.append(section(_TITLES[kind], picture))
    return drawn


def _details(name: str, estimate: Estimate) -> str:
    parts = [f"<h3>{text(name)}</h3>", paragraph(deployment_line(estimate), "faint")]
    parts += [paragraph(sentence) for sentence in explain.sentences(estimate)]
    for phase in estimate.phases.values():
        table = tables.operators(phase, title="")
        title = f"{phase.name}: {human(phase.time_s, 's')} by operator"
        parts.append(fold(title, tidy_table(table, row_headings=True)))
    slabs = tables.memory(estimate)
    if slabs is not None:
        parts.append(fold("memory of one chip", tidy_table(slabs)))
    return "<article>" + "".join(parts) + "</article>"


def _definitions(estimates: Sequence[Estimate]) -> Table:
    table = tables.grid("")
    for column in ("figure", "name in files", "unit", "definition"):
        table.add_column(column)
    metrics = {key: e.metrics[key] for e in reversed(estimates) for key in e.metrics}
    for key in metric_ids(estimates):
        table.add_row(metric_label(key), key, metrics[key].unit, metrics[key].definition)
    return table
