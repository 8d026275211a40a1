"""Charts of answers about a finished plan."""

from __future__ import annotations

import math
from typing import Any

import altair as alt

from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart
from tokenroof.report.human import digits, human, share
from tokenroof.report.plan_charts import decades
from tokenroof.report.plan_labels import chips_text, money, of_limit, target_name
from tokenroof.search.answers.core_result import FewerTable, SelfHost, Sensitivity

_WIDTH, _HEIGHT, _BAR = 560, 300, 25
_MOST = 8


def sensitivity_chart(found: Sensitivity) -> alt.LayerChart:
    """How often each deployment is the best, the most frequent first."""
    rows: list[dict[str, Any]] = [
        {
            "deployment": "nothing can serve" if each.candidate is None else each.candidate.label,
            "part": each.fraction,
            "text": share(each.fraction),
            "colour": theme.SERIES[0] if each.candidate == found.candidate else theme.GHOST,
        }
        for each in found.shares[:_MOST]
    ]
    names = [row["deployment"] for row in rows]
    x = alt.X(
        "part:Q",
        title="part of the draws",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    y = alt.Y(
        "deployment:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=520, ticks=False, domain=False),
    )
    base = rows_chart(rows)
    colour = alt.Color("colour:N", scale=None, legend=None)
    bars = base.mark_bar(height={"band": 0.68}).encode(x=x, y=y, color=colour, tooltip=["text:N"])
    text = base.mark_text(align="left", dx=6, fontSize=11, color=theme.INK).encode(x=x, y=y, text="text:N")
    title = alt.TitleParams(text="How sure the choice is")
    return layered([bars, text], width=380, height=_BAR * len(rows), title=title)


def self_host_chart(found: SelfHost) -> alt.LayerChart:
    """Cost of a million tokens over the load: an own deployment, the API."""
    ours, theirs = "own deployment", found.price.name
    rows: list[dict[str, Any]] = [
        {
            "who": who,
            "rate": row.rate_per_s,
            "cost": cost,
            "text": f"{who} at {digits(row.rate_per_s)} requests/s: {money(cost, 'USD/Mtok')}",
        }
        for row in (*found.rows, found.here)
        for who, cost in ((ours, row.usd_per_mtok), (theirs, row.api_usd_per_mtok))
    ]
    rates = [row["rate"] for row in rows]
    highest = max(row["cost"] for row in rows)
    x = alt.X(
        "rate:Q",
        title="requests/s",
        scale=alt.Scale(type="log", domain=[min(rates) / 1.1, max(rates) * 1.1], nice=False),
        axis=alt.Axis(values=decades(min(rates) / 1.1, max(rates) * 1.1), format="~s"),
    )
    y = alt.Y(
        "cost:Q",
        title="cost per million tokens",
        scale=alt.Scale(domain=[0.0, highest * 1.08], nice=False),
        axis=alt.Axis(tickCount=6, format="$,.2f" if highest >= 0.2 else "$,.3f"),
    )
    colour = alt.Color(
        "who:N",
        title=None,
        scale=alt.Scale(domain=[ours, theirs], range=list(theme.SERIES[:2])),
        legend=alt.Legend(orient="top", symbolType="stroke"),
    )
    base = rows_chart(rows)
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order=alt.Order("rate:Q"))
    dots = base.mark_circle(size=36, opacity=1).encode(
        x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]
    )
    here = rows_chart([{"rate": found.here.rate_per_s, "text": "asked load"}])
    rule = here.mark_rule(strokeDash=[5, 4], color=theme.INK).encode(x=x)
    said = here.mark_text(align="center", baseline="bottom", y=-4, fontSize=11, color=theme.INK)
    title = alt.TitleParams(text="Own deployment or an API")
    return layered(
        [rule, said.encode(x=x, text="text:N"), line, dots], width=_WIDTH, height=_HEIGHT, title=title
    )


def fewer_chart(found: FewerTable) -> alt.LayerChart | None:
    """Targets over their limits with fewer and fewer chips; None without a target."""
    pools = list(dict.fromkeys(row.pool for row in found.rows if row.pool)) or [""]
    rows: list[dict[str, Any]] = [
        {
            "target": target_name(check.target) + ("" if pool in ("", "both") else f", fewer {pool}"),
            "chips": row.chips,
            "part": of_limit(check),
            "text": f"{chips_text(row.chips)}: {target_name(check.target)} {human(check.value, 's')}",
        }
        for row in found.rows
        for pool in ([row.pool] if row.pool else pools)  # the choice itself begins the line of every pool
        for check in row.checks
        if math.isfinite(check.value) and check.value > 0.0
    ]
    if not rows:
        return None
    names = list(dict.fromkeys(row["target"] for row in rows))
    parts = [row["part"] for row in rows]
    x = alt.X(
        "chips:Q",
        title="chips",
        scale=alt.Scale(zero=False, padding=14),
        axis=alt.Axis(values=sorted({row["chips"] for row in rows}), format="d"),
    )
    low, high = min(*parts, 1.0) / 1.2, max(*parts, 1.0) * 1.2
    y = alt.Y(
        "part:Q",
        title="of the limit",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        axis=alt.Axis(
            values=decades(low, high), labelExpr="format(datum.value * 100, ',~r') + ' %'", labelOverlap=True
        ),
    )
    colour = alt.Color(
        "target:N",
        title=None,
        scale=alt.Scale(
            domain=names, range=[theme.SERIES[place % len(theme.SERIES)] for place in range(len(names))]
        ),
        legend=alt.Legend(orient="top", symbolType="stroke", labelLimit=240),
    )
    base = rows_chart(rows)
    limit = rows_chart([{"part": 1.0}]).mark_rule(strokeDash=[5, 4], color=theme.INK).encode(y=y)
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order=alt.Order("chips:Q"))
    dots = base.mark_circle(size=60, opacity=1).encode(
        x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]
    )
    title = alt.TitleParams(text="With fewer chips")
    return layered([limit, line, dots], width=_WIDTH, height=_HEIGHT, title=title)
