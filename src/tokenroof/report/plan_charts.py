"""Charts of the deployments of a plan: throughput against interactivity, cost against latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart
from tokenroof.report.human import human
from tokenroof.report.labels import metric_range, with_range
from tokenroof.report.plan_labels import (
    family,
    formats_text,
    objective_text,
    pools_text,
    target_name,
    value_text,
)
from tokenroof.search.core import Check, Choice, PlanResult

USER, CHIP = "output_tokens_per_s_per_user", "output_tokens_per_s_per_chip"
COST = "usd_per_million_tokens"

_WIDTH, _HEIGHT = 620, 380
_MOST = 12
_LONG = 44
SECONDS = (
    "datum.value < 0.0009995 ? format(datum.value * 1e6, '~g') + ' us' : "
    "datum.value < 0.9995 ? format(datum.value * 1e3, '~g') + ' ms' : format(datum.value, '~g') + ' s'"
)


def ranked(found: PlanResult) -> list[tuple[str, Choice]]:
    """Deployments that are drawn, under the number that they have in the table, the best first."""
    choices = (*found.front, *found.others)[:_MOST]
    return [
        (f"{place}: {pools_text(choice)}, {formats_text(choice)}", choice)
        for place, choice in enumerate(choices, start=1)
    ]


def colours(found: PlanResult, *, legend: bool = True) -> alt.Color:
    """One colour per kind of chips; the legend names every deployment by its number."""
    rows = ranked(found)
    families = list(dict.fromkeys(family(choice) for _, choice in rows))
    palette = {name: theme.SERIES[place % len(theme.SERIES)] for place, name in enumerate(families)}
    names = [name for name, _ in rows]
    named = alt.Legend(
        orient="bottom",
        direction="vertical",
        columns=1 if max(map(len, names)) > _LONG else 2,
        labelLimit=620,
        symbolType="circle",
        symbolOpacity=1.0,
    )
    return alt.Color(
        "deployment:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=[palette[family(choice)] for _, choice in rows]),
        legend=named if legend else None,
    )


def _dots(rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, colour: alt.Color) -> list[alt.Chart]:
    """Numbered dots, those on the front filled; what is under the pointer in words."""
    base = rows_chart(rows)
    disc = base.mark_circle(size=260, opacity=1).encode(
        x=x, y=y, color=colour, description="text:N", tooltip=["text:N"]
    )
    number = base.mark_text(fontSize=10, fontWeight="bold", color=theme.ON_BAR, dy=0.5).encode(
        x=x, y=y, text="number:N"
    )
    return [disc, number]


# --- throughput against interactivity ------------------------------------------------------------


def pareto(found: PlanResult) -> alt.LayerChart:
    """Output tokens/s per chip over output tokens/s per user, a dot per deployment with its intervals."""
    rows = pareto_rows(found)
    colour = colours(found)
    x = alt.X("user:Q", title="output tokens/s per user", scale=_from_zero(rows, "user"), axis=_ticks())
    y = alt.Y("chip:Q", title="output tokens/s per chip", scale=_from_zero(rows, "chip"), axis=_ticks())
    up = known(rows, "chip_low").mark_rule(strokeWidth=1.2, opacity=0.4)
    across = known(rows, "user_low").mark_rule(strokeWidth=1.2, opacity=0.4)
    layers = [
        up.encode(x=x, y=alt.Y("chip_low:Q"), y2="chip_high:Q", color=colour),
        across.encode(y=y, x=alt.X("user_low:Q"), x2="user_high:Q", color=colour),
        *_dots(rows, x, y, colour),
    ]
    title = alt.TitleParams(
        text="Throughput against interactivity",
        subtitle="At the asked load. Up is fewer chips, right is faster for the user; lines: nine of ten.",
    )
    return layered(layers, width=_WIDTH, height=_HEIGHT, title=title)


def pareto_rows(found: PlanResult) -> list[dict[str, Any]]:
    """A row per deployment that has both."""
    rows = []
    for place, (name, choice) in enumerate(ranked(found), start=1):
        user, chip = choice.metrics.get(USER), choice.metrics.get(CHIP)
        if user is None or chip is None:
            continue
        each = with_range(human(user.value), metric_range(USER, user))
        every = with_range(human(chip.value), metric_range(CHIP, chip))
        rows.append(
            {
                "deployment": name,
                "number": str(place),
                "user": user.value,
                "user_low": user.low,
                "user_high": user.high,
                "chip": chip.value,
                "chip_low": chip.low,
                "chip_high": chip.high,
                "text": f"{name}: {each} output tokens/s per user, {every} output tokens/s per chip",
            }
        )
    return rows


def known(rows: Sequence[dict[str, Any]], key: str) -> alt.Chart:
    """A chart over the rows that have a value."""
    return rows_chart([row for row in rows if row[key] is not None])


def _from_zero(rows: Sequence[dict[str, Any]], key: str) -> alt.Scale:
    highest = max(max(row[key], row.get(f"{key}_high") or 0.0) for row in rows)
    return alt.Scale(domain=[0.0, highest * 1.06], nice=False)


def _ticks() -> alt.Axis:
    return alt.Axis(tickCount=7, format=",~r")


# --- cost against time to first token ------------------------------------------------------------


def first_token(found: PlanResult) -> Check | None:
    """The target of the time to first token that is drawn, as the best keeps it."""
    checks = found.front[0].checks if found.front else ()
    return next((each for each in checks if each.target.latency == "ttft"), None)


def cost(found: PlanResult) -> alt.LayerChart:
    """Cost of a million tokens over the time to first token, with the limit that was asked for."""
    rows = cost_rows(found)
    colour = colours(found)
    asked = first_token(found)
    ends = [value for row in rows for value in (row["low"], row["wait"], row["high"]) if value]
    limit = None if asked is None else asked.target.limit_s
    low, high = min([*ends, limit or ends[0]]) / 1.2, max([*ends, limit or ends[0]]) * 1.2
    scale = alt.Scale(type="log", domain=[low, high], nice=False)
    axis = alt.Axis(values=decades(low, high), labelExpr=SECONDS)
    name = "time to first token, mean" if asked is None else target_name(asked.target)
    x = alt.X("wait:Q", title=name, scale=scale, axis=axis)
    cents = 2 if max(row["cost"] for row in rows) >= 0.2 else 3
    dollars = alt.Axis(tickCount=6, format=f"$,.{cents}f")
    y = alt.Y("cost:Q", title="cost per million tokens", scale=_from_zero(rows, "cost"), axis=dollars)
    layers = [
        known(rows, "low")
        .mark_rule(strokeWidth=1.2, opacity=0.4)
        .encode(y=y, x=alt.X("low:Q", scale=scale, axis=axis, title=name), x2="high:Q", color=colour)
    ]
    if limit is not None:
        layers += limit_line(limit, alt.X("limit:Q", scale=scale, axis=axis, title=name))
    layers += _dots(rows, x, y, colour)
    title = alt.TitleParams(
        text="Cost against time to first token",
        subtitle="Down is cheaper, left is faster; lines: where nine of ten measured servings lie.",
    )
    return layered(layers, width=_WIDTH, height=_HEIGHT, title=title)


def cost_rows(found: PlanResult) -> list[dict[str, Any]]:
    """A row per deployment whose price is known."""
    asked = first_token(found)
    rows = []
    for place, (name, choice) in enumerate(ranked(found), start=1):
        price = choice.objectives.get(COST, math.nan)
        check = None
        if asked is not None:
            check = next(each for each in choice.checks if each.target == asked.target)
        wait = choice.objectives.get("ttft_s", math.nan) if check is None else check.value
        if not (math.isfinite(price) and math.isfinite(wait) and wait > 0.0):
            continue
        waited = human(wait, "s") if check is None else value_text(check)
        rows.append(
            {
                "deployment": name,
                "number": str(place),
                "cost": price,
                "wait": wait,
                "low": None if check is None else check.low,
                "high": None if check is None else check.high,
                "text": f"{name}: {objective_text(COST, price)}, first token {waited}",
            }
        )
    return rows


def limit_line(limit_s: float, x: alt.X) -> list[alt.Chart]:
    """A dashed line at a limit, with its number on top."""
    base = rows_chart([{"limit": limit_s, "text": f"limit {human(limit_s, 's')}"}])
    line = base.mark_rule(strokeDash=[5, 4], strokeWidth=1.4, color=theme.INK).encode(x=x)
    text = base.mark_text(align="center", baseline="bottom", y=-4, fontSize=11, color=theme.INK)
    return [line, text.encode(x=x, text="text:N")]


def decades(low: float, high: float) -> list[float]:
    """Few round numbers of every decade between two ends; over many decades its first alone."""
    near = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if high / low < 8.0 else (1.0, 2.0, 5.0)
    steps = near if high / low < 500.0 else (1.0,)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
    return [value for value in values if low <= value <= high]
