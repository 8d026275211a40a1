"""What is served well, against what is sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import altair as alt

from tokenroof.deploy.core import Estimate
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart, stacked
from tokenroof.report.human import digits, share
from tokenroof.report.labels import column_name, common, layouts_line, lengths_line, limits_line, num_chips

RATE, GOOD, SHARE = "request_rate_per_s", "goodput_requests_per_s", "good_fraction"
"""Metrics of the axes: sent, served within every limit, and the part of the one that is the other."""

_WIDTH, _HEIGHT, _LOW = 620, 280, 150


def goodput(estimates: Sequence[Estimate]) -> alt.VConcatChart:
    """Requests per second that meet every limit, and their share, over the rate at which they are sent.

    Estimates of one deployment at several rates make one line; its highest point has its number. On the
    dotted line every request is good. [1/s]
    """
    rows = goodput_rows(estimates)
    names = list(dict.fromkeys(row["deployment"] for row in rows))
    colour = alt.Color(
        "deployment:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=[theme.SERIES[i % len(theme.SERIES)] for i in range(len(names))]),
        legend=alt.Legend(orient="right", symbolType="stroke", labelLimit=260) if len(names) > 1 else None,
    )
    fastest = max(row["rate"] for row in rows) * 1.04
    highest = max(max(row["good"] for row in rows) * 1.15, 1e-9)
    x_scale = alt.Scale(domain=[0, fastest], nice=False)
    bare = alt.X("rate:Q", title=None, scale=x_scale, axis=alt.Axis(labels=False, ticks=False, tickCount=8))
    named = alt.X("rate:Q", title="requests/s sent", scale=x_scale, axis=alt.Axis(tickCount=8))
    good = alt.Y(
        "good:Q",
        title="good requests/s",
        scale=alt.Scale(domain=[0, highest], nice=False),
        axis=alt.Axis(tickCount=6, minExtent=40),
    )
    part = alt.Y(
        "share:Q",
        title="good, of those sent",
        scale=alt.Scale(domain=[0, 1.04], nice=False),
        axis=alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 0.9, 1], minExtent=40),
    )
    end = min(fastest, highest)
    all_good = rows_chart([{"rate": 0.0, "good": 0.0}, {"rate": end, "good": end}])
    reference = all_good.mark_line(strokeDash=[2, 4], strokeWidth=1.2, color=theme.FAINT_INK)
    best = rows_chart([row for row in rows if row["best"]])
    number = best.mark_text(fontSize=11, dy=-11, align="center").encode(
        x=bare, y=good, text="text:N", color=alt.Color("deployment:N", legend=None)
    )
    ends = rows_chart([row for row in rows if row["good_low"] is not None])
    across = ends.mark_rule(strokeWidth=1, opacity=0.35, clip=True).encode(
        x=bare, y=alt.Y("good_low:Q"), y2="good_high:Q", color=alt.Color("deployment:N", legend=None)
    )
    upper = [across, reference.encode(x=bare, y=good), *_lines(rows, bare, good, colour), number]
    quiet = alt.TitleParams(text="")
    panels = [
        layered(upper, width=_WIDTH, height=_HEIGHT, title=quiet),
        layered(_lines(rows, named, part, colour), width=_WIDTH, height=_LOW, title=quiet),
    ]
    limits = common(limits_line(e) for e in estimates if e.run is not None)
    shape = common(lengths_line(estimate) for estimate in estimates)
    model = common(estimate.deployment.model.name for estimate in estimates)
    subtitle = [f"{model}: {shape}", *([f"good: {limits}"] if limits else [])]
    return stacked(panels, spacing=14, title=alt.TitleParams(text="Goodput against rate", subtitle=subtitle))


def _lines(rows: list[dict[str, Any]], x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    base = rows_chart(rows)
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order=alt.Order("rate:Q"))
    dots = base.mark_circle(size=42, opacity=1).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            "deployment:N",
            alt.Tooltip("rate:Q", format=".3s", title="requests/s sent"),
            alt.Tooltip("good:Q", format=".3s", title="good requests/s"),
            alt.Tooltip("part:N", title="good, of those sent"),
        ],
    )
    return [line, dots]


def drawable(estimate: Estimate) -> bool:
    """Whether an estimate has a place in the chart."""
    return all(name in estimate.metrics for name in (RATE, GOOD, SHARE))


def _name(estimate: Estimate) -> str:
    """Chips, and their layout where it is more than one chip: rows of one deployment share it."""
    chips = column_name(replace(estimate, label=""))
    return f"{chips}, {layouts_line(estimate)}" if num_chips(estimate) > 1 else chips


def goodput_rows(estimates: Sequence[Estimate]) -> list[dict[str, Any]]:
    """Points by deployment and rate, the best of each deployment marked."""
    rows: list[dict[str, Any]] = [
        {
            "deployment": _name(estimate),
            "rate": float(estimate.metrics[RATE].value),
            "good": float(estimate.metrics[GOOD].value),
            "good_low": estimate.metrics[GOOD].low,
            "good_high": estimate.metrics[GOOD].high,
            "share": float(estimate.metrics[SHARE].value),
            "part": share(estimate.metrics[SHARE].value),
            "text": f"{digits(estimate.metrics[GOOD].value)}/s",
            "best": False,
        }
        for estimate in estimates
        if drawable(estimate)
    ]
    for name in {row["deployment"] for row in rows}:
        best = max((row for row in rows if row["deployment"] == name), key=lambda row: float(row["good"]))
        best["best"] = True
    return rows
