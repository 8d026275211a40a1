"""One self-contained page: tables, charts, assumptions, definitions and sources; no scripts, no network."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tokenroof.deploy.core import Estimate
from tokenroof.report import charts, explain, runs, tables
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
from tokenroof.report.run_labels import run_label

_CAPTIONS = {
    "roofline": "Each dot is one operator of a step, placed by the flop it does per byte it moves and the "
    "flop/s it reaches on one chip. Below the slope bandwidth is the limit, below the ceiling arithmetic. "
    "Operators without arithmetic (norms that only move bytes, collectives) have no place here; they are in "
    "the tables.",
    "breakdown": "Each operator's whole time is given to the resource that needs most of it.",
    "memory": "One chip of the decoding pool. What is left after weights, scratch, graphs and the engine's "
    "own reserve is the cache; it decides how many sequences run at once.",
    "latency": "Of 100 requests, how many had their first token, a token, their last one within a time. "
    "Dots: 50, 90 and 99 of 100. Dashed: the limits that were asked for.",
    "timeline": "What the replicas did over the simulated time. Waiting that grows without end means that "
    "more is sent than can be served.",
    "goodput": "Requests that met every limit, against the rate at which they were sent; on the dotted line "
    "all of them did.",
    "sweep": "The same deployment at growing batch, up to what fits. Up is cheaper, right is faster for the "
    "user.",
}
_TITLES = {
    "roofline": "Roofline",
    "breakdown": "Where the time goes",
    "memory": "Where the memory goes",
    "sweep": "Throughput against interactivity",
    "latency": "Latency of requests",
    "timeline": "The run over time",
    "goodput": "Goodput against rate",
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
        *_warnings(estimates),
        section("In a sentence", "".join(paragraph(_summary(n, e)) for n, e in _named(estimates))),
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
    kind = "Simulated runs" if runs.simulated(estimates) else "Closed-form estimates"
    parts.append(f"<footer>Made by tokenroof. {kind}; see the assumptions.</footer>")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(models)} on {text(chips)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _warnings(estimates: Sequence[Estimate]) -> list[str]:
    """What makes the figures doubtful, before any of them."""
    said = runs.alerts(estimates)
    return [section("Beware", "".join(paragraph(line, "bad") for line in said))] if said else []


def _summary(name: str, estimate: Estimate) -> str:
    return runs.summary(name, estimate) if estimate.run is not None else explain.summary(name, estimate)


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
    if not runs.simulated(estimates):
        return tidy_table(tables.comparison(estimates), row_headings=True) + note + below
    waits = [
        f"<h3>{text(name)}</h3>" + tidy_table(runs.latencies(each), row_headings=True)
        for name, each in _named(estimates)
        if each.run is not None
    ]
    return "".join(waits) + tidy_table(runs.comparison(estimates), row_headings=True) + note + below


def _charts(estimates: Sequence[Estimate], sweep: Sequence[Estimate]) -> list[str]:
    drawn = []
    for kind in (*charts.SIMULATED_KINDS, *charts.KINDS):
        rows = sweep if kind == "sweep" else estimates
        feasible = [each for each in rows if each.feasible]
        if charts.drawable(feasible, kind) and (kind != "goodput" or len(feasible) > 1):
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
        label = run_label(key) if runs.simulated(estimates) else metric_label(key)
        table.add_row(label, key, metrics[key].unit, metrics[key].definition)
    return table
