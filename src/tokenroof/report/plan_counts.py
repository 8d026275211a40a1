"""Charts of a plan by chip: the best of each, and what was turned away where."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import altair as alt

from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart
from tokenroof.report.human import human, share
from tokenroof.report.plan_labels import (
    OBJECTIVE_LABELS,
    OBJECTIVE_UNITS,
    STAGES,
    best_by_family,
    chips_text,
    family_text,
    objective_text,
    pools_text,
    relative,
)
from tokenroof.search.core import PlanResult

_WIDTH, _BAR = 460, 25
_MOST = 14
_OTHERS = "other chips"
STAGE_COLOURS = {
    "layout": "#b3bac2",
    "memory": "#2f6fb3",
    "screen": "#d9730d",
    "limits": "#b0568f",
    "bound": "#1a9870",
    "simulated": "#8a6d1d",
    "kept": "#24292f",
}


def by_chip(found: PlanResult) -> alt.LayerChart:
    """The first objective of the best deployment of every kind of chips, the best first."""
    rows = by_chip_rows(found)
    name = found.question.objectives[0].name
    names = [row["chips_of"] for row in rows]
    highest = max(row["value"] for row in rows)
    money = OBJECTIVE_UNITS[name].startswith("USD")
    shown = ("$,.2f" if highest >= 0.2 else "$,.3f") if money else "~s"
    x = alt.X(
        "value:Q",
        title=f"{OBJECTIVE_LABELS[name]} [{OBJECTIVE_UNITS[name]}]",
        scale=alt.Scale(domain=[0.0, highest * 1.02], nice=False),
        axis=alt.Axis(tickCount=6, format=shown),
    )
    y = alt.Y(
        "chips_of:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=260, ticks=False, domain=False),
    )
    base = rows_chart(rows)
    bars = base.mark_bar(height={"band": 0.68}).encode(
        x=x,
        y=y,
        color=alt.Color("colour:N", scale=None, legend=None),
        description="text:N",
        tooltip=["text:N"],
    )
    text = base.mark_text(align="left", dx=6, fontSize=11, color=theme.INK).encode(x=x, y=y, text="beside:N")
    title = alt.TitleParams(text="Best of every chip", subtitle="Of deployments that keep the targets.")
    return layered([bars, text], width=_WIDTH, height=_BAR * len(rows), title=title)


def by_chip_rows(found: PlanResult) -> list[dict[str, Any]]:
    """A row per kind of chips with something that keeps the targets, the best first."""
    objective = found.question.objectives[0]
    shown = list(best_by_family(found).items())[:_MOST]
    known = [(name, each) for name, each in shown if math.isfinite(each.objectives[objective.name])]
    ours = known[0][1].objectives[objective.name] if known else math.nan
    rows = []
    for place, (name, choice) in enumerate(known):
        value = choice.objectives[objective.name]
        beside = f"{objective_text(objective.name, value)}, {chips_text(choice.chips)}"
        if place:
            beside += f", {relative(value, ours)}"
        rows.append(
            {
                "chips_of": family_text(name),
                "value": value,
                "beside": beside,
                "colour": theme.SERIES[0] if place == 0 else "#5fb0e5",
                "text": f"{family_text(name)}: {pools_text(choice)}, {beside}",
            }
        )
    return rows


def rejected(found: PlanResult) -> alt.LayerChart:
    """By kind of chips: which part of the candidates was turned away where."""
    rows = rejected_rows(found)
    names = list(dict.fromkeys(row["chips_of"] for row in rows))
    stages = [stage for stage in STAGES if any(row["stage"] == STAGES[stage] for row in rows)]
    x = alt.X(
        "from:Q",
        title="part of the candidates of these chips that were turned away",
        scale=alt.Scale(domain=[0, 1], nice=False),
        axis=alt.Axis(format=".0%", tickCount=5),
    )
    y = alt.Y(
        "chips_of:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names),
        axis=alt.Axis(labelLimit=260, ticks=False, domain=False),
    )
    colour = alt.Color(
        "stage:N",
        title=None,
        sort=[STAGES[stage] for stage in stages],
        scale=alt.Scale(
            domain=[STAGES[stage] for stage in stages], range=[STAGE_COLOURS[stage] for stage in stages]
        ),
        legend=alt.Legend(orient="top", labelLimit=220, symbolType="square"),
    )
    bars = (
        rows_chart(rows)
        .mark_bar(height={"band": 0.68})
        .encode(x=x, x2="to:Q", y=y, color=colour, description="text:N", tooltip=["text:N"])
    )
    sums = rows_chart([row for row in rows if row["total"]])
    text = sums.mark_text(align="left", x=_WIDTH + 6, fontSize=11, color=theme.INK).encode(
        y=y, text="total:N"
    )
    title = alt.TitleParams(text="Where candidates were turned away", subtitle="Numbers: how many.")
    return layered([bars, text], width=_WIDTH, height=_BAR * len(names), title=title)


def rejected_rows(found: PlanResult) -> list[dict[str, Any]]:
    """Stretches of the bars, chips with most candidates first; what has no bar of its own is added up."""
    totals: Counter[str] = Counter()
    counts: Counter[tuple[str, str]] = Counter()
    for row in found.rejected:
        totals[row.family] += row.count
    own = {name for name, _ in totals.most_common(_MOST)}
    for row in found.rejected:
        counts[row.family if row.family in own else _OTHERS, row.stage] += row.count
    rows: list[dict[str, Any]] = []
    for name in [*(name for name, _ in totals.most_common(_MOST)), _OTHERS]:
        whole = sum(count for (chips, _), count in counts.items() if chips == name)
        before = 0
        for stage in STAGES:
            count = counts[name, stage]
            if not count:
                continue
            shown = name if name == _OTHERS else family_text(name)
            rows.append(
                {
                    "chips_of": shown,
                    "stage": STAGES[stage],
                    "from": before / whole,
                    "to": (before + count) / whole,
                    "total": "" if before else f"{human(whole)}",
                    "text": f"{shown}: {count:,} {STAGES[stage]} ({share(count / whole)} of {whole:,})",
                }
            )
            before += count
    return rows
