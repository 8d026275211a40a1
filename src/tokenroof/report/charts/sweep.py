"""Throughput per chip against speed per user as the batch grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from tokenroof.deploy.core import Estimate
from tokenroof.report import theme
from tokenroof.report.charts.altair_types import layered, rows_chart
from tokenroof.report.human import human
from tokenroof.report.labels import common, metric_range, num_chips, short_name, with_range

_ROOM_X, _ROOM_Y = 0.045, 0.035  # of the plot: what a number takes
_X, _Y = "output_tokens_per_s_per_user", "output_tokens_per_s_per_chip"


def sweep(estimates: Sequence[Estimate]) -> alt.LayerChart:
    """One line per deployment through its batch sizes; up and to the right is better.

    Estimates of the same chips and layout that differ in concurrency make one line. [tokens/s]
    """
    rows = sweep_rows(estimates)
    names = list(dict.fromkeys(row["deployment"] for row in rows))
    palette = [theme.SERIES[i % len(theme.SERIES)] for i in range(len(names))]
    x = alt.X(
        "user:Q", title="output tokens/s per user", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=8)
    )
    y = alt.Y(
        "chip:Q", title="output tokens/s per chip", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=6)
    )
    colour = alt.Color(
        "deployment:N",
        title=None,
        sort=names,
        scale=alt.Scale(domain=names, range=palette),
        legend=alt.Legend(orient="right", symbolType="stroke", labelLimit=260),
    )
    base = rows_chart(rows)
    line = base.mark_line(strokeWidth=2).encode(x=x, y=y, color=colour, order="concurrency:Q")
    dots = base.mark_circle(size=42, opacity=1).encode(
        x=x,
        y=y,
        color=colour,
        tooltip=[
            "deployment:N",
            "concurrency:Q",
            alt.Tooltip("user:Q", format=",.1f", title="tokens/s per user"),
            alt.Tooltip("chip:Q", format=",.0f", title="tokens/s per chip"),
            alt.Tooltip("chip_range:N", title="nine of ten measured"),
            alt.Tooltip("tpot:N", title="time per output token"),
        ],
    )
    ends = rows_chart([row for row in rows if row["chip_low"] is not None])
    across = ends.mark_rule(strokeWidth=1, opacity=0.35).encode(
        x=x, y=alt.Y("chip_low:Q"), y2="chip_high:Q", color=alt.Color("deployment:N", legend=None)
    )
    labelled = rows_chart([row for row in rows if row["labelled"]])
    text = labelled.mark_text(fontSize=10, dx=6, dy=-7, align="left").encode(
        x=x, y=y, text="concurrency:Q", color=alt.Color("deployment:N", legend=None)
    )
    shape = common(f"{e.shape.isl_tokens:,} tokens in, {e.shape.osl_tokens:,} out" for e in estimates)
    model = common(e.deployment.model.name for e in estimates)
    return layered(
        [across, line, dots, text],
        width=620,
        height=400,
        title=alt.TitleParams(
            text="Throughput against interactivity",
            subtitle=f"{model}: {shape}. Numbers at the dots: sequences at once."
            + (" Thin lines: where nine of ten measured servings lie." if any(_ranged(rows)) else ""),
        ),
    )


def _ranged(rows: Sequence[dict[str, Any]]) -> list[bool]:
    return [row["chip_low"] is not None for row in rows]


def _tpot(estimate: Estimate) -> str:
    if "tpot_s" not in estimate.metrics:
        return "n/a"
    metric = estimate.metrics["tpot_s"]
    return with_range(human(metric.value, "s"), metric_range("tpot_s", metric))


def _line_name(estimate: Estimate) -> str:
    chips, name = num_chips(estimate), short_name(estimate)
    if f"{chips} x " in name:
        return name
    return f"{name}, {chips} chip{'s' if chips > 1 else ''}"


def sweep_rows(estimates: Sequence[Estimate]) -> list[dict[str, Any]]:
    """Points of the sweep, by deployment and concurrency; what does not fit is left out."""
    rows: list[dict[str, Any]] = [
        {
            "deployment": _line_name(estimate),
            "chips": num_chips(estimate),
            "concurrency": estimate.concurrency,
            "user": float(estimate.metrics[_X].value),
            "chip": float(estimate.metrics[_Y].value),
            "chip_low": estimate.metrics[_Y].low,
            "chip_high": estimate.metrics[_Y].high,
            "chip_range": metric_range(_Y, estimate.metrics[_Y]) or "n/a",
            "tpot": _tpot(estimate),
        }
        for estimate in estimates
        if _X in estimate.metrics and _Y in estimate.metrics
    ]
    for name in {row["deployment"] for row in rows}:
        mine = sorted((r for r in rows if r["deployment"] == name), key=lambda r: int(r["concurrency"]))
        for i, row in enumerate(mine):
            row["labelled"] = i in (0, len(mine) - 1)
    _spread(rows)
    return rows


def _spread(rows: list[dict[str, Any]]) -> None:
    """Leave out a number that would stand on another one."""
    taken: list[tuple[float, float]] = []
    widest, highest = (max((row[key] for row in rows), default=1.0) for key in ("user", "chip"))
    for row in rows:
        x, y = row["user"] / widest, row["chip"] / highest
        if row["labelled"]:
            row["labelled"] = all(abs(x - a) > _ROOM_X or abs(y - b) > _ROOM_Y for a, b in taken)
        if row["labelled"]:
            taken.append((x, y))
