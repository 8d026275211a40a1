"""Where the time of a phase goes, by limiting resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.deploy.core import Estimate
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart, stacked
from tokenroof.report.human import human, limit_name, share
from tokenroof.report.labels import headline, short_names

_WIDTH, _BAR, _ROW = 560, 20, 30


def breakdown(estimates: Sequence[Estimate]) -> alt.VConcatChart:
    """One stacked bar per estimate, prefill above decode, each on its own axis. [ms]"""
    shown = [(n, e) for n, e in zip(short_names(estimates), estimates, strict=True) if e.phases]
    names = _ordered({name for _, e in shown for p in e.phases.values() for name in p.by_limit_s})
    colour = alt.Color(
        "resource:N",
        title="limited by",
        sort=[limit_name(name) for name in names],
        scale=alt.Scale(domain=[limit_name(name) for name in names], range=theme.limit_colours(names)),
        legend=alt.Legend(orient="top", direction="horizontal", columns=5, labelLimit=280),
    )
    titles = {
        "prefill": "Prefill of one prompt [ms]",
        "decode": "One decode step: a token for every sequence [ms]",
    }
    phases = dict.fromkeys(phase for _, e in shown for phase in e.phases)
    panels = [_panel(phase, titles.get(phase, phase), shown, names, colour) for phase in phases]
    title = alt.TitleParams(text="Where the time goes", subtitle=headline(estimates))
    return stacked(panels, spacing=22, title=title)


def _ordered(names: set[str]) -> list[str]:
    groups = ("compute", "memory", "network", "latency", "host")

    def rank(name: str) -> tuple[int, str]:
        group = name.partition(":")[0]
        return (groups.index(group) if group in groups else len(groups), name)

    return sorted(names, key=rank)


def _panel(
    phase: str, title: str, shown: Sequence[tuple[str, Estimate]], names: list[str], colour: alt.Color
) -> alt.LayerChart:
    rows: list[dict[str, Any]] = []
    totals: list[dict[str, Any]] = []
    for label, estimate in shown:
        if phase not in estimate.phases:
            continue
        found = estimate.phases[phase]
        end = 0.0
        for rank, name in enumerate(names):
            seconds = max(0.0, float(found.by_limit_s.get(name, 0.0)))
            if not seconds:
                continue
            rows.append(
                {
                    "label": label,
                    "resource": limit_name(name),
                    "rank": rank,
                    "from": end * 1e3,
                    "to": (end + seconds) * 1e3,
                    "time": human(seconds, "s"),
                    "share": share(seconds / found.time_s),
                }
            )
            end += seconds
        totals.append({"label": label, "to": end * 1e3, "text": human(found.time_s, "s")})
    order = [label for label, _ in shown]
    y = alt.Y("label:N", title=None, sort=order, axis=alt.Axis(labelLimit=220, ticks=False, domain=False))
    longest = max((row["to"] for row in totals), default=1.0)
    scale = alt.Scale(domain=[0, longest * 1.12], nice=False)
    x = alt.X(
        "from:Q",
        title=None,
        scale=scale,
        axis=alt.Axis(tickCount=6, domain=False),
    )
    bars = (
        rows_chart(rows)
        .mark_bar(height=_BAR, stroke=theme.PAPER, strokeWidth=0.6)
        .encode(
            x=x,
            x2="to:Q",
            y=y,
            color=colour,
            tooltip=["label:N", "resource:N", "time:N", "share:N"],
        )
    )
    text = (
        rows_chart(totals)
        .mark_text(align="left", dx=5, fontSize=11, color=theme.INK)
        .encode(x=alt.X("to:Q", scale=scale), y=y, text="text:N")
    )
    return layered(
        [bars, text],
        width=_WIDTH,
        height=_ROW * len(totals),
        title=alt.TitleParams(text=title, fontSize=12, fontWeight="normal", offset=4),
    )
