"""Targets of the deployments of a plan, with their intervals and limits."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from tokenroof.report.charts.altair_types import layered, panelled, rows_chart
from tokenroof.report.plan_charts import SECONDS, colours, decades, known, limit_line, ranked
from tokenroof.report.plan_labels import target_name, value_text
from tokenroof.search.core import PlanResult


def targets(found: PlanResult) -> alt.ConcatChart:
    """Every target of every deployment with its interval and its limit, a panel per target."""
    asked = found.question.targets
    panels = [_target_panel(found, index, first=index % 2 == 0) for index in range(len(asked))]
    title = alt.TitleParams(
        text="Targets",
        subtitle="Dots: simulated, with the needed replicas at the rate with headroom; lines: nine of ten.",
    )
    return panelled(panels, columns=2, spacing=26, title=title)


def target_rows(found: PlanResult, index: int) -> list[dict[str, Any]]:
    """A row per deployment: the value of one target, its ends and how it is read."""
    return [
        {
            "deployment": name,
            "value": check.value,
            "low": check.low,
            "high": check.high,
            "met": check.met,
            "text": f"{name}: {target_name(check.target)} {value_text(check)}",
        }
        for name, choice in ranked(found)
        if math.isfinite((check := choice.checks[index]).value)
    ]


def _target_panel(found: PlanResult, index: int, *, first: bool) -> alt.LayerChart:
    rows, target = target_rows(found, index), found.question.targets[index]
    names = [name for name, _ in ranked(found)]
    ends = [value for row in rows for value in (row["low"], row["value"], row["high"]) if value]
    ends.append(target.limit_s)
    low, high = min(ends) / 1.15, max(ends) * 1.3
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=decades(low, high), labelExpr=SECONDS)
    x = alt.X("value:Q", title=target_name(target), scale=scale, axis=axis)
    labels = alt.Axis(labelLimit=330, ticks=False, domain=False, grid=True) if first else None
    y = alt.Y("deployment:N", title=None, sort=names, scale=alt.Scale(domain=names), axis=labels)
    colour = colours(found, legend=False)
    across = known(rows, "low").mark_rule(strokeWidth=4, opacity=0.35)
    layers = [
        across.encode(
            y=y,
            x=alt.X("low:Q", scale=scale, axis=axis, title=target_name(target)),
            x2="high:Q",
            color=colour,
        ),
        *limit_line(target.limit_s, alt.X("limit:Q", scale=scale, axis=axis, title=target_name(target))),
        rows_chart(rows)
        .mark_circle(size=90, opacity=1)
        .encode(x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]),
    ]
    height = 26 * len(names) + 16
    return layered(layers, width=330, height=height, title=alt.TitleParams(text=""))
